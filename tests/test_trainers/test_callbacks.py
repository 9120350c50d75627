"""Step hooks, verified by explicit arithmetic; the progress bar and the schedulers, by their counts."""

import copy
import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from hebbian import Backprop, Hebbian, SpikeTiming, hebb, oja
from trainers import Batches, Progress, Schedule, Trainer, callbacks, max_normalise, unit_norm


def layers():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(*s, dtype=torch.float64)) for s in ((4, 3), (2, 3, 5))]


def set_gradients(parameters, scale=(1e-3, 1e3)):
    g = torch.Generator().manual_seed(1)
    for p, s in zip(parameters, scale, strict=True):
        p.grad = s * torch.randn(p.shape, generator=g, dtype=p.dtype)


def plastic(p):
    p.is_plastic = True
    return p


@pytest.mark.parametrize("hook", [unit_norm, max_normalise])
@pytest.mark.parametrize("bias", [True, False])
def test_hooks_leave_the_readout_alone(hook, bias):
    """The readout is that of a training without the hook; the plastic layer is not."""

    def trained(hook):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8, bias=bias), nn.ReLU(), nn.Linear(8, 3, bias=bias))
        rule = Hebbian(model, {"0": hebb}, F.cross_entropy)
        still = {"params": model[0].parameters(), "lr": 0.0}
        optimizer = torch.optim.SGD([{"params": model[2].parameters()}, still], lr=0.1)
        hook(optimizer)
        rule(torch.ones(2, 6), torch.tensor([0, 1])).backward()
        before = model[0].weight.grad.clone()
        optimizer.step()
        return model, before

    free, _ = trained(lambda optimizer: None)
    model, gradient = trained(hook)
    assert all(torch.equal(p, q) for p, q in zip(model[2].parameters(), free[2].parameters(), strict=True))
    if hook is unit_norm:
        torch.testing.assert_close(model[0].weight.norm(dim=1), torch.ones(8))
    else:
        torch.testing.assert_close(model[0].weight.grad, gradient / gradient.abs().max())


def test_hooks_refuse_an_optimizer_without_plastic_weights():
    for hook in (unit_norm, max_normalise):
        with pytest.raises(ValueError, match="no weight at which a plasticity acts; build the rule before"):
            hook(torch.optim.SGD(layers(), lr=0.1))


def test_the_largest_entry_of_a_max_normalised_step_is_the_rate():
    parameters = [plastic(p) for p in layers()]
    optimizer = torch.optim.SGD(parameters, lr=0.02)
    max_normalise(optimizer)
    set_gradients(parameters)
    expected = []
    for p in parameters:
        w, g = p.detach().numpy().copy(), p.grad.numpy()
        largest = max(abs(value) for value in g.ravel())
        expected.append(w - 0.02 * g / largest)
    optimizer.step()
    for p, w in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12)


def test_a_gradient_of_zeros_makes_no_step():
    p = plastic(nn.Parameter(torch.ones(2, 2)))
    optimizer = torch.optim.SGD([p, nn.Parameter(torch.ones(1))], lr=1.0)
    max_normalise(optimizer)
    p.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(p, torch.ones(2, 2))


def test_unit_norm_holds_for_every_unit_after_the_step():
    parameters = [plastic(p) for p in layers()]
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    unit_norm(optimizer)
    set_gradients(parameters)
    moved = [(p - 0.5 * p.grad).detach().numpy() for p in parameters]
    optimizer.step()
    for p, w in zip(parameters, moved, strict=True):
        for unit, row in zip(p.detach().numpy(), w, strict=True):
            np.testing.assert_allclose(unit, row / np.sqrt((row**2).sum()), rtol=1e-12)


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def renewed(rule):
    rule.model[0].weight = nn.Parameter(torch.rand(8, 6))
    rule(torch.ones(2, 6))
    return rule


@pytest.mark.parametrize("make", [lambda m: Hebbian(m, {"0": oja}), lambda m: SpikeTiming(m, ["0"])])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda rule: pickle.loads(pickle.dumps(rule)), renewed])
def test_hooks_act_at_the_weights_of_a_copied_rule_and_at_new_weights(make, copied):
    rule = copied(make(two_layers()))
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.01)
    unit_norm(optimizer)
    rule(torch.ones(2, 6)).backward()
    optimizer.step()
    torch.testing.assert_close(rule.model[0].weight.norm(dim=1), torch.ones(8))


@pytest.mark.parametrize("hook", [unit_norm, max_normalise])
def test_hooks_refuse_weights_that_are_computed_from_parameters(hook):
    rule = Hebbian(two_layers(), {"0": oja})
    parametrizations.weight_norm(rule.model[0])
    rule(torch.ones(2, 6))
    with pytest.raises(ValueError, match="parametrize computes that of a plastic layer"):
        hook(torch.optim.SGD(rule.parameters(), lr=0.1))


def test_a_weight_that_a_hook_computes_since_the_rule_was_built_is_refused():
    rule = Hebbian(two_layers(), {"0": oja}, F.cross_entropy)
    prune.identity(rule.model[0], "weight")
    with pytest.raises(TypeError, match="the weight of layer '0' is set by a hook"):
        rule(torch.ones(2, 6), torch.tensor([0, 1]))


class Bar:
    made: ClassVar[list["Bar"]] = []

    def __init__(self, **settings):
        self.settings, self.count, self.shown, self.closed = settings, 0, [], False
        self.made.append(self)

    def update(self):
        self.count += 1

    def set_postfix(self, **shown):
        self.shown.append(shown)

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(callbacks, "tqdm", Bar)
    return Bar.made


def fit(rule, riders, epochs=3):
    x, y = torch.randn(10, 4), torch.randint(0, 2, (10,))
    optimizer = torch.optim.SGD(rule.parameters(), lr=1.0)
    riders = [make(optimizer) for make in riders]
    Trainer(rule, optimizer, riders, "reading").fit(Batches(x, y, 5), epochs)
    return optimizer.param_groups[0]["lr"]


def test_one_bar_a_phase_counts_batches_and_shows_the_objective_of_a_loss(bars):
    progress = Progress()
    fit(Backprop(nn.Linear(4, 2), F.cross_entropy), [lambda _: progress])
    fit(Hebbian(nn.Linear(4, 2), {"": oja}), [lambda _: progress])
    assert [(b.settings["total"], b.settings["desc"], b.count, b.closed) for b in bars] == [
        (6, "reading", 6, True)
    ] * 2
    assert [set(s) for s in bars[0].shown] == [{"objective"}] * 3
    assert bars[1].shown == []


@pytest.mark.parametrize(("per_epoch", "steps"), [(False, 6), (True, 3)])
def test_a_scheduler_is_stepped_each_batch_or_each_epoch(per_epoch, steps):
    def halving(optimizer):
        return Schedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), per_epoch)

    assert fit(Backprop(nn.Linear(4, 2), F.cross_entropy), [halving]) == pytest.approx(0.5**steps)
