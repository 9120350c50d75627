"""Equilibrium propagation against the gradient of the equilibrium itself, by backprop through time."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian.equilibrium import EquilibriumPropagation

BETAS = (0.1, 0.03, 0.01)


def data(*shape, classes=3):
    g = torch.Generator().manual_seed(1)
    x = torch.rand(6, *shape, generator=g, dtype=torch.float64)
    return x, torch.randint(0, classes, (6,), generator=g)


def shrink(model):
    """Put the states well inside (0, 1), where the clip has a gradient."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.weight.data.mul_(0.4)
            layer.bias.data.fill_(0.5)
    return model.double()


def linear_net():
    torch.manual_seed(0)
    return shrink(
        nn.Sequential(
            nn.Sequential(nn.Linear(6, 8), nn.Tanh()),
            nn.Sequential(nn.Linear(8, 5), nn.ReLU()),
            nn.Linear(5, 3),
        )
    )


def conv_net():
    torch.manual_seed(0)
    return shrink(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(3, 4, 2), nn.MaxPool2d(2), nn.Sigmoid()),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.AvgPool2d(2, stride=1)),
            nn.Sequential(nn.Flatten(), nn.Linear(4, 3)),
        )
    )


@pytest.mark.parametrize(("make", "shape"), [(linear_net, (6,)), (conv_net, (2, 10, 10))])
def test_states_in_inference_mode_are_those_outside(make, shape):
    rule, (x, _) = EquilibriumPropagation(make(), data(*shape)[0]), data(*shape)
    expected = rule.predict(x)
    assert ((expected > 0) & (expected < 1)).all()
    with torch.inference_mode():
        torch.testing.assert_close(rule.predict(x.clone()), expected, rtol=0, atol=0)


def loss_through_time(links, x, y, steps=120):
    """Squared error at the free equilibrium, written out so that autograd records every step."""
    s = []
    for link in links:
        s.append(link(s[-1] if s else x).clamp(0, 1))
    for _ in range(steps):
        leaves = [a.clone() for a in s]
        harmony = sum((a * f(b)).sum() for a, f, b in zip(leaves, links, [x, *leaves], strict=False))
        s = [u.clamp(0, 1) for u in torch.autograd.grad(harmony, leaves, create_graph=True)]
    return (F.one_hot(y, 3) - s[-1]).square().sum() / (2 * len(x)), s


def flat(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def gap(model, x, y, nudge, beta, steps=(120, 120)):
    model.zero_grad()
    rule = EquilibriumPropagation(model, x, beta, steps, nudge)
    rule(x, y).backward()
    found = flat(model)
    model.zero_grad()
    loss, s = loss_through_time(rule.links, x, y)
    assert all(((a > 0) & (a < 1)).all() for a in s)
    loss.backward()
    return ((found - flat(model)).norm() / flat(model).norm()).item()


def slope(errors):
    return math.log(errors[0] / errors[-1]) / math.log(BETAS[0] / BETAS[-1])


@pytest.mark.oracle("eqprop")
@pytest.mark.parametrize(
    ("make", "shape", "nudge", "order"),
    [
        (linear_net, (6,), "one-sided", 1),
        (linear_net, (6,), "random-sign", 1),
        (linear_net, (6,), "symmetric", 2),
        (conv_net, (2, 10, 10), "symmetric", 2),
        pytest.param(conv_net, (2, 10, 10), "one-sided", 1, marks=pytest.mark.slow),
        pytest.param(conv_net, (2, 10, 10), "random-sign", 1, marks=pytest.mark.slow),
    ],
)
def test_the_error_against_backprop_through_time_falls_with_beta(make, shape, nudge, order):
    model, (x, y) = make(), data(*shape)
    torch.manual_seed(0)
    errors = [gap(model, x, y, nudge, beta) for beta in BETAS]
    assert slope(errors) == pytest.approx(order, abs=0.1)
    assert errors[-1] < (0.02 if order == 1 else 5e-4)


@pytest.mark.parametrize(("make", "shape"), [(linear_net, (6,)), (conv_net, (2, 10, 10))])
def test_the_pull_is_the_gradient_of_the_harmony(make, shape):
    x, _ = data(*shape)
    rule = EquilibriumPropagation(make(), x)
    drive, s = rule.drive(x)
    s = [torch.rand_like(a).requires_grad_() for a in s]
    expected = torch.autograd.grad(rule.harmony(drive, s), s)
    torch.testing.assert_close(rule.pull(drive, s), [*expected])


def test_random_signs_are_both_drawn():
    torch.manual_seed(0)
    rule = EquilibriumPropagation(linear_net(), data(6)[0], nudge="random-sign")
    assert {float(rule.nudges()[1]) for _ in range(20)} == {-0.5, 0.5}


def test_prediction_is_where_the_states_stay():
    model, (x, _) = linear_net(), data(6)
    rule = EquilibriumPropagation(model, x, steps=(100, 1))
    s = [torch.rand(6, n, dtype=torch.float64) for n in (8, 5, 3)]  # another start, the same end
    first, second, third = (link[0] for link in rule.links)
    for _ in range(100):
        s = [
            (first(x) + s[1] @ second.weight).clamp(0, 1),
            (second(s[0]) + s[2] @ third.weight).clamp(0, 1),
            third(s[1]).clamp(0, 1),
        ]
    torch.testing.assert_close(rule.predict(x), s[-1], rtol=1e-9, atol=1e-9)
    assert not rule.predict(x).requires_grad


def test_normalisation_gathers_in_the_first_sweep_and_settles_with_what_it_has():
    model = nn.Sequential(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 8), nn.Dropout()), nn.Linear(8, 3))
    x, y = data(6)
    rule = EquilibriumPropagation(model.double(), x)
    rule(x, y).backward()
    assert model[0][0].num_batches_tracked == 1
    assert all(m.training for m in model.modules())


@pytest.mark.parametrize(
    ("error", "last", "settings", "message"),
    [
        (ValueError, nn.Linear(5, 1), {}, "one unit a class"),
        (ValueError, nn.Linear(5, 3), {"beta": 0}, "beta must be positive"),
        (ValueError, nn.Linear(5, 3), {"steps": (20, 0)}, "steps must be at least 1"),
        (ValueError, nn.Linear(5, 3), {"nudge": "both"}, "'one-sided', 'symmetric' or 'random-sign'"),
        (TypeError, nn.Sequential(nn.Linear(5, 3), nn.Softmax(1)), {}, "cannot use Softmax"),
    ],
)
def test_errors_state_the_cause(error, last, settings, message):
    with pytest.raises(error, match=message):
        EquilibriumPropagation(nn.Sequential(nn.Linear(6, 5), last), torch.zeros(2, 6), **settings)


def test_targets_are_asked_for():
    with pytest.raises(ValueError, match="needs targets"):
        EquilibriumPropagation(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), torch.zeros(2, 6))(
            torch.zeros(2, 6)
        )
