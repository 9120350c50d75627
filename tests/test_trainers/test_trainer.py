"""The loop: it equals a plain torch loop, calls callbacks in order, and evaluates without side effects."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hebbian import Backprop, diagnostics
from hebbian.registry import build
from hebbian.rule import Rule
from tests.helpers import samples
from trainers import Batches, Clip, Schedule, Trainer, accuracy, predict
from trainers.errors import DivergenceError


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh()), nn.Linear(5, 3))


def data(n=20):
    return samples(n, 6, 3)


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


def test_evaluate_uses_the_held_out_data():
    model = net()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model))
    trainer.fit(Batches(*data(), 10), 1)
    assert trainer.evaluate() == {}
    x, _ = data()
    always_right = predict(trainer.rule, x).argmax(1)
    trainer.fit(Batches(*data(), 10), 0, held_out=(x, always_right))
    assert trainer.evaluate() == {"accuracy": 1.0}
    wrong_at_odd_places = torch.where(torch.arange(len(x)) % 2 == 1, (1 + always_right) % 3, always_right)
    trainer.fit(Batches(*data(), 10), 0, held_out=(x, wrong_at_odd_places))
    assert trainer.evaluate() == trainer.evaluate(most=len(x)) == {"accuracy": 0.5}
    assert trainer.evaluate(most=len(x) // 2) == {"accuracy": 1.0}


class Counting(Backprop):
    """Counts the samples that it scores."""

    def __init__(self, *args):
        super().__init__(*args)
        self.scored = 0

    def predict(self, x):
        self.scored += len(x)
        return 2 * super().predict(x)


def test_held_out_inputs_are_scored_once_between_two_steps():
    model, (x, y) = net(), data()
    trainer = Trainer(Counting(model, F.cross_entropy), sgd(model))
    with pytest.raises(ValueError, match="no held-out data"):
        trainer.scores()
    with pytest.raises(ValueError, match="no held-out data"):
        trainer.activities(3)
    for _ in range(2):
        trainer.fit(Batches(x, y, 10), 1, held_out=(x, y))
        trainer.rule.scored = 0
        trainer.activities(3)  # this rule's scores are not the outputs of its model
        model.eval()
        # every third of 20, then every fifth, of which 0 and 15 are scored already, then the others
        for most, stride, scored in ((7, 3, 7), (4, 5, 9), (None, 1, 20), (4, 5, 20)):
            expected = accuracy(model(x[::stride]), y[::stride])
            assert trainer.evaluate(most) == {"accuracy": pytest.approx(expected)}
            assert trainer.rule.scored == scored
        torch.testing.assert_close(trainer.scores(), 2 * model(x).detach())
    trainer.fit(Batches(x, y, 10), 0, held_out=(x, None))
    assert trainer.evaluate() == {}


def test_the_pass_that_shows_activities_gives_the_scores_of_a_model():
    model, (x, y) = net(), data()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model))
    trainer.fit(Batches(x, y, 10), 1, held_out=(x, y))
    passes = []
    model.register_forward_hook(lambda model, args, out: passes.append(len(out)))
    few = trainer.activities(6)
    scores = trainer.scores()
    assert passes == [6, 14]
    rows = torch.arange(6) * 20 // 6
    for path, activity in diagnostics.activities(model, x[rows]).items():
        assert torch.equal(few[path], activity)
    torch.testing.assert_close(scores, predict(trainer.rule, x))


def test_accuracy_of_one_logit_and_of_many():
    assert (
        accuracy(torch.tensor([[-1.0], [2.0], [3.0], [0.5]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]]))
        == 0.75
    )
    assert accuracy(torch.tensor([[0.0, 1.0, 2.0], [5.0, 1.0, 2.0]]), torch.tensor([2, 1])) == 0.5


@pytest.mark.parametrize("name", ["kolen-pollack", "mono-forward"])
def test_an_optimizer_without_what_the_rule_itself_learns_is_refused(name):
    model, (x, y) = net(), data()
    rule = build(name, model, F.cross_entropy, example=x, classes=3)
    before = [p.clone() for p in rule.parameters()]
    with pytest.raises(ValueError, match=rf"of {type(rule).__name__} learns and is not in the optimizer"):
        Trainer(rule, sgd(model)).fit([(x, y)], 1)
    assert all(torch.equal(p, was) for p, was in zip(rule.parameters(), before, strict=True))
    Trainer(rule, sgd(rule)).fit([(x, y)], 1)


def test_an_optimizer_of_another_model_is_refused_and_one_of_a_part_is_not():
    rule = Backprop(net(), F.cross_entropy)
    with pytest.raises(ValueError, match=r"'model\.0\.0\.weight' of Backprop learns and is not in the"):
        Trainer(rule, sgd(net())).fit([data()], 1)
    Trainer(rule, sgd(rule.model[1])).fit([data()], 1)


def test_an_optimizer_with_a_closure_is_refused():
    model = net()
    with pytest.raises(TypeError, match="LBFGS"):
        Trainer(Backprop(model, F.cross_entropy), torch.optim.LBFGS(model.parameters()))


# ---- torch's own objects ------------------------------------------------------------------------


def small(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(5, 3)).to(dtype)


def fitted(rule, loader, optimizer=None, **settings):
    """Return the parameters of the rule after two epochs."""
    optimizer = optimizer or torch.optim.SGD(rule.parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(rule, optimizer, **settings)
    trainer.fit(loader, 2)
    return torch.cat([p.detach().flatten() for p in trainer.rule.parameters()])


@pytest.mark.parametrize("name", ["backprop", "dfa", "oja"])
def test_accumulated_batches_are_one_large_batch_also_at_the_end_of_an_epoch(name):
    """22 samples: groups of 4 + 4 + 4, then 4 + 4 + 2."""
    x, y = (part.double() if part.is_floating_point() else part for part in data(22))

    def rule():
        torch.manual_seed(1)
        return build(name, small(torch.float64), F.cross_entropy, example=x, classes=3)

    diary = Diary()
    a = fitted(rule(), Batches(x, y, 4), accumulate=3, callbacks=[diary])
    b = fitted(rule(), Batches(x, y, 12))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert [event for event in diary.events if event[0] == "step"] == [
        ("step", n // 2, n + 1) for n in range(4)
    ]


def test_a_gradient_scaler_changes_no_step_and_callbacks_see_gradients_without_its_factor():
    class Norms(list):
        def on_gradients(self, trainer, objective):
            self.append([p.grad.norm().item() for p in trainer.rule.parameters()])

    x, y = data()
    scaler, plain, scaled = torch.amp.GradScaler("cpu", init_scale=2.0**10), Norms(), Norms()
    a = fitted(Backprop(small(), F.cross_entropy), Batches(x, y, 8), callbacks=[plain])
    b = fitted(Backprop(small(), F.cross_entropy), Batches(x, y, 8), callbacks=[scaled], scaler=scaler)
    assert torch.equal(a, b)  # a power of two costs no digit
    assert plain == scaled


def test_a_step_that_overflows_is_skipped_and_the_scale_reduced():
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38)
    rule = Backprop(small(), lambda scores, y: 1e6 * F.cross_entropy(scores, y))
    before = [p.clone() for p in rule.parameters()]
    Trainer(rule, torch.optim.SGD(rule.parameters(), lr=0.1), scaler=scaler).fit(Batches(*data(), 20), 1)
    assert all(torch.equal(p, q) for p, q in zip(before, rule.parameters(), strict=True))
    assert scaler.get_scale() == pytest.approx(5e37)


def test_autocast_covers_the_rule_and_leaves_parameters_in_full_precision():
    seen = []

    def criterion(scores, y):
        seen.append(scores.dtype)
        return F.cross_entropy(scores.float(), y)

    fitted(Backprop(small(), criterion), Batches(*data(), 10), autocast=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}
    exact = fitted(Backprop(small(), F.cross_entropy), Batches(*data(), 10))
    rough = fitted(Backprop(small(), F.cross_entropy), Batches(*data(), 10), autocast=torch.bfloat16)
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0, atol=0.02)


@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated")  # dynamo itself does
@pytest.mark.parametrize("name", ["backprop", "softhebb"])
def test_a_compiled_rule_learns_the_same_and_callbacks_see_the_rule_itself(name):
    torch._dynamo.reset()
    x, y = data(16)

    def rule():
        return build(name, small(), F.cross_entropy, example=x, classes=3)

    compiled = torch.compile(rule(), backend="aot_eager", fullgraph=True)
    trainer = Trainer(compiled, torch.optim.SGD(compiled.parameters(), lr=0.1))
    assert isinstance(trainer.rule, Rule)
    torch.testing.assert_close(fitted(compiled, Batches(x, y, 8)), fitted(rule(), Batches(x, y, 8)))


def test_other_modules_than_rules_are_refused():
    with pytest.raises(TypeError, match=r"needs a hebbian\.Rule, got Sequential"):
        Trainer(small(), sgd(small()))


def test_each_layer_has_its_rate_and_its_schedule():
    """Plain SGD, written out: the second layer's rate halves after every step."""
    model, other = small(torch.float64), small(torch.float64)
    x, y = data(16)
    x = x.double()
    groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[1].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    halving = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda n: 1.0, lambda n: 0.5**n])
    fitted(Backprop(model, F.cross_entropy), Batches(x, y, 8), optimizer, callbacks=[Schedule(halving)])
    for n, start in enumerate((0, 8, 0, 8)):
        loss = F.cross_entropy(other(x[start : start + 8]), y[start : start + 8])
        parameters = list(other.parameters())
        with torch.no_grad():
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                p -= (0.3 if p.shape[0] == 5 else 0.1 * 0.5**n) * g
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu", init_scale=1024.0)])
def test_a_clipped_step_keeps_its_direction_and_is_no_longer_than_allowed(scaler):
    def step(max_norm):
        model = small(torch.float64)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        x, y = data()
        trainer = Trainer(Backprop(model, F.cross_entropy), optimizer, [Clip(max_norm)], scaler=scaler)
        trainer.fit(Batches(x.double(), y, 20), 1)
        return torch.cat(
            [(q - p).flatten() for p, q in zip(before, model.parameters(), strict=True)]
        ).detach()

    free = step(1e9)
    assert free.norm() > 0.1
    torch.testing.assert_close(step(0.1), 0.1 * free / free.norm(), rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(step(2 * free.norm().item()), free)


def test_a_loader_of_torch_works():
    x, y = data()
    loader = DataLoader(TensorDataset(x, y), 8)
    a = fitted(Backprop(small(), F.cross_entropy), loader)
    assert torch.equal(a, fitted(Backprop(small(), F.cross_entropy), Batches(x, y, 8)))


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader([{"image": torch.zeros(6), "label": 0}] * 4, 2),
        DataLoader([(torch.zeros(6), 0, 7)] * 4, 2),
        [torch.zeros(4, 6)],
        [(torch.zeros(4, 6).numpy(), torch.zeros(4, dtype=torch.long))],
    ],
    ids=["dict", "triples", "inputs alone", "arrays"],
)
def test_batches_that_are_not_pairs_of_tensors_are_refused(loader):
    model = net()
    with pytest.raises(TypeError, match=r"expected a pair of tensors \(x, y\)"):
        Trainer(Backprop(model, F.cross_entropy), sgd(model)).fit(loader, 1)


def test_a_loader_without_length_or_batches_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(*data(), strict=True))

    model = net()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model))
    for loader in (DataLoader(Stream(), 4), zip(*data(), strict=True)):
        with pytest.raises(TypeError, match="has no length"):
            trainer.fit(loader, 1)
    x, y = data()
    for loader in (Batches(x[:0], y[:0], 8), DataLoader(TensorDataset(x[:4], y[:4]), 8, drop_last=True), []):
        with pytest.raises(ValueError, match="no batches"):
            trainer.fit(loader, 1)


def test_a_training_that_was_stopped_can_go_on():
    class Stop:
        def on_epoch(self, trainer):
            trainer.stop = trainer.epoch == 2

    model = net()
    trainer = Trainer(Backprop(model, F.cross_entropy), sgd(model), [Stop()])
    trainer.fit(Batches(*data(), 10), 5)
    trainer.fit(Batches(*data(), 10), 5)
    assert trainer.epoch == 7


def test_targets_that_are_not_classes_have_no_accuracy():
    scores = torch.zeros(4, 3)
    for y in (torch.eye(4, 3), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, -100, 1]), torch.rand(4, 1)):
        with pytest.raises(ValueError, match="have no accuracy"):
            accuracy(scores, y)
    with pytest.raises(ValueError, match="have no accuracy"):
        accuracy(torch.zeros(4, 1), torch.rand(4, 1))
    with pytest.raises(ValueError, match="have no accuracy"):
        accuracy(torch.zeros(4, 3, 2, 2), torch.zeros(4, 2, 2, dtype=torch.long))


@pytest.mark.parametrize(
    ("criterion", "has_accuracy"),
    [
        (F.binary_cross_entropy_with_logits, True),
        (partial(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(2.0)), True),
        (nn.BCEWithLogitsLoss(), True),
        (F.mse_loss, False),
        (nn.L1Loss(), False),
    ],
)
def test_floats_0_and_1_are_classes_of_binary_cross_entropy_only(criterion, has_accuracy):
    x, y = data()
    y = (y[:, None] > 0).float()
    rule = Backprop(nn.Linear(6, 1), criterion)
    trainer = Trainer(rule, sgd(rule))
    trainer.fit(Batches(x, y, 10), 1, (x, y))
    assert trainer.evaluate() == ({"accuracy": accuracy(predict(rule, x), y)} if has_accuracy else {})
    trainer.fit(Batches(x, y, 10), 0, (x, y.long()))
    assert "accuracy" in trainer.evaluate()  # integers are classes


class Overwrite:
    """Set the first weight of a layer before the step of number 100."""

    def __init__(self, layer, value):
        self.layer, self.value = layer, value

    def on_gradients(self, trainer, objective):
        if trainer.step == 99:
            with torch.no_grad():
                trainer.rule.model[self.layer][0].weight[0, 0] = self.value


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e5])
def test_weights_that_diverge_stop_the_training_at_the_next_check_and_are_named(value):
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 5)), nn.Sequential(nn.Linear(5, 3)))
    trainer = Trainer(Backprop(model, lambda s, y: 0 * s.sum()), sgd(model), [Overwrite(1, value)])
    with pytest.raises(DivergenceError) as error:
        trainer.fit(Batches(*data(), 1), 50)
    assert trainer.step == 100
    assert str(error.value).startswith(
        "Backprop, phase train, by step 100: the weight of layer 1.0 has diverged"
    )
    assert "lower learning rate" in str(error.value)


def test_large_biases_weights_that_were_large_and_masks_do_not_stop_a_training():
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    model.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    with torch.no_grad():
        model[0].weight.fill_(1e7)
        model[1].bias.fill_(1e7)
    trainer = Trainer(Backprop(model, lambda s, y: 0 * s.sum()), sgd(model))
    trainer.fit(Batches(*data(), 10), 1)
    assert trainer.step == 2


def test_an_objective_that_is_not_finite_stops_a_training():
    model = net()
    trainer = Trainer(Backprop(model, lambda s, y: 0 * s.sum() + math.inf), sgd(model))
    with pytest.raises(DivergenceError, match="the objective is not finite"):
        trainer.fit(Batches(*data(), 10), 1)


@pytest.mark.parametrize("bad", ["x", "y"])
def test_numbers_of_a_batch_that_are_not_finite_are_blamed_on_the_data(bad):
    x, y = data()
    y = torch.zeros(20, 3)
    {"x": x, "y": y}[bad][11, 2] = math.inf
    model = net()
    trainer = Trainer(Backprop(model, F.mse_loss), sgd(model))
    with pytest.raises(DivergenceError, match=rf"phase train, by step 1: {bad}: sample 1 \(from 0\) is inf"):
        trainer.fit(DataLoader(TensorDataset(x, y), 10), 1)


@pytest.mark.parametrize(
    ("compiled", "message"), [(False, "x: sample 1"), (True, "a batch contains NaN or infinite values")]
)
def test_infinite_inputs_are_refused_that_the_objective_does_not_show(compiled, message):
    x, y = data()
    x[11, 2] = math.inf
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].weight.fill_(-1.0)  # infinity is cut off
    rule = Backprop(model, F.cross_entropy)
    rule = torch.compile(rule, backend="eager") if compiled else rule
    trainer = Trainer(rule, torch.optim.SGD(model[2].parameters(), lr=0.1))
    with pytest.raises(DivergenceError, match=message):
        trainer.fit(DataLoader(TensorDataset(x, y), 10), 1)


def test_weights_that_are_not_finite_before_the_training_are_refused():
    model = net()
    with torch.no_grad():
        model[1].weight[0] = math.nan
    with pytest.raises(DivergenceError, match="the weight of layer 1 is not finite before the training"):
        Trainer(Backprop(model, F.cross_entropy), sgd(model)).fit(Batches(*data(), 10), 1)
