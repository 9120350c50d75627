"""The loop: it is a plain torch loop, tells its callbacks in order, and judges without a trace."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop
from trainers import Batches, Trainer, accuracy, predict


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 3))


def data(n=20):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=g), torch.randint(0, 3, (n,), generator=g)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class Diary:
    def __init__(self):
        self.events = []

    def on_gradients(self, trainer, objective):
        assert not objective.requires_grad
        self.events.append(("gradients", trainer.epoch, trainer.step))

    def on_step(self, trainer):
        self.events.append(("step", trainer.epoch, trainer.step))

    def on_epoch(self, trainer):
        self.events.append(("epoch", trainer.epoch, trainer.step))

    def on_phase(self, trainer):
        self.events.append(("phase", trainer.epoch, trainer.step))


def test_fit_is_the_plain_loop():
    x, y = data()
    ours, theirs = net(), net()
    Trainer(Backprop(ours, F.cross_entropy), sgd(ours)).fit(Batches(x, y, 8), 3)
    optimizer = sgd(theirs)
    for _ in range(3):
        for start in (0, 8, 16):
            optimizer.zero_grad()
            F.cross_entropy(theirs(x[start : start + 8]), y[start : start + 8]).backward()
            optimizer.step()
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_events_come_in_order():
    model, diary = net(), Diary()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model), [diary, object()])
    trainer.fit(Batches(*data(4), 2), 2)
    assert diary.events == [
        ("gradients", 0, 0),
        ("step", 0, 1),
        ("gradients", 0, 1),
        ("step", 0, 2),
        ("epoch", 1, 2),
        ("gradients", 1, 2),
        ("step", 1, 3),
        ("gradients", 1, 3),
        ("step", 1, 4),
        ("epoch", 2, 4),
        ("phase", 2, 4),
    ]
    assert trainer.goal == trainer.step


def test_a_callback_can_stop_training_after_the_epoch():
    class Impatient:
        def on_step(self, trainer):
            trainer.stop = True

    model, diary = net(), Diary()
    Trainer(Backprop(model, F.cross_entropy), sgd(model), [Impatient(), diary]).fit(Batches(*data(4), 2), 5)
    assert diary.events[-2:] == [("epoch", 1, 2), ("phase", 1, 2)]


def test_training_is_in_train_mode_and_prediction_in_eval_mode():
    model = net()
    norm = model[0][1]
    norm.eval()
    rule = Backprop(model, F.cross_entropy)
    modes = [m.training for m in rule.modules()]
    before = norm.running_mean.clone()
    scores = predict(rule, data()[0], batch=7)
    assert [m.training for m in rule.modules()] == modes
    assert torch.equal(norm.running_mean, before)
    assert not scores.requires_grad
    torch.testing.assert_close(scores, model.eval()(data()[0]).detach())

    rule.eval()
    Trainer(rule, sgd(model)).fit(Batches(*data(), 10), 1)
    assert not torch.equal(norm.running_mean, before)


def test_evaluate_looks_at_the_held_out_data():
    model = net()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model))
    trainer.fit(Batches(*data(), 10), 1)
    assert trainer.evaluate() == {}
    x, _ = data()
    always_right = predict(trainer.rule, x).argmax(1)
    trainer.fit(Batches(*data(), 10), 0, held=(x, always_right))
    assert trainer.evaluate() == {"accuracy": 1.0}
    wrong_at_odd_places = torch.where(torch.arange(len(x)) % 2 == 1, 1 - always_right, always_right)
    trainer.fit(Batches(*data(), 10), 0, held=(x, wrong_at_odd_places))
    assert trainer.evaluate() == trainer.evaluate(most=len(x)) == {"accuracy": 0.5}
    assert trainer.evaluate(most=len(x) // 2) == {"accuracy": 1.0}


def test_held_out_inputs_are_scored_once_between_two_steps():
    class Counting(Backprop):
        calls = 0

        def predict(self, x):
            Counting.calls += 1
            return super().predict(x)

    model, (x, y) = net(), data()
    trainer = Trainer(Counting(model, F.cross_entropy), sgd(model))
    with pytest.raises(ValueError, match="no held-out data"):
        trainer.scores()
    for epochs in (1, 1):
        trainer.fit(Batches(x, y, 10), epochs, held=(x, y))
        trainer.evaluate()
        torch.testing.assert_close(trainer.scores(), model.eval()(x).detach())
        assert trainer.evaluate()["accuracy"] == accuracy(trainer.scores(), y)
    assert Counting.calls == 2
    trainer.fit(Batches(x, y, 10), 0, held=(x, None))
    assert trainer.evaluate() == {}


def test_accuracy_of_one_logit_and_of_many():
    assert (
        accuracy(torch.tensor([[-1.0], [2.0], [3.0], [0.5]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]]))
        == 0.75
    )
    assert accuracy(torch.tensor([[0.0, 1.0, 2.0], [5.0, 1.0, 2.0]]), torch.tensor([2, 1])) == 0.5


def test_an_optimizer_with_a_closure_is_refused():
    model = net()
    with pytest.raises(TypeError, match="LBFGS"):
        Trainer(Backprop(model, F.cross_entropy), torch.optim.LBFGS(model.parameters()))
