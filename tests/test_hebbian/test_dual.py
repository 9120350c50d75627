"""Dual propagation against its equations written out, and against backprop, which it approaches."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DualPropagation
from tests.test_hebbian.helpers import assert_same, batch, grads, half_squares, mlp

BETAS = (0.3, 0.1, 0.03)


def gap(model, x, y, beta, alpha=0.5, steps=1):
    """Return the relative distance of all gradients from those of backprop."""
    rules = DualPropagation(model, F.cross_entropy, beta, alpha, steps), Backprop(model, F.cross_entropy)
    a, b = (torch.cat([g.flatten() for g in grads(rule, x, y).values()]) for rule in rules)
    return ((a - b).norm() / b.norm()).item()


def written_out(weights, x, y, beta, alpha, sweeps):
    """Return minus the update of each matrix of a tanh chain, whose loss is half the squared error."""
    total = [np.zeros_like(w) for w in weights]
    hidden = range(len(weights) - 1)
    for start, target in zip(x, y, strict=True):
        b = [np.zeros(len(weights[k])) for k in hidden]
        for _ in range(sweeps):
            s, a = [start], []
            for k in hidden:
                a.append(weights[k] @ s[k])
                plus, minus = np.tanh(a[k] + (1 - alpha) * b[k]), np.tanh(a[k] - alpha * b[k])
                s.append(alpha * plus + (1 - alpha) * minus)
            difference = [None] * len(weights)
            difference[-1] = -beta * (weights[-1] @ s[-1] - target)
            for k in reversed(hidden):
                b[k] = weights[k + 1].T @ difference[k + 1]
                plus, minus = np.tanh(a[k] + (1 - alpha) * b[k]), np.tanh(a[k] - alpha * b[k])
                difference[k] = plus - minus
                s[k + 1] = alpha * plus + (1 - alpha) * minus
        for k, w in enumerate(weights):
            for i in range(w.shape[0]):
                for j in range(w.shape[1]):
                    total[k][i, j] -= difference[k][i] * s[k][j] / beta / len(x)
    return total


@pytest.mark.oracle("dual-propagation")
@pytest.mark.parametrize(("alpha", "steps"), [(0.5, 1), (0.5, 3), (0.2, 2), (1.0, 2)])
def test_the_update_is_that_written_out_at_a_large_nudge(alpha, steps):
    torch.manual_seed(0)
    layers = [nn.Linear(a, b, bias=False) for a, b in ((4, 5), (5, 3), (3, 2))]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2]).double()
    x, y = torch.randn(3, 4).double(), torch.randn(3, 2).double()
    found = grads(DualPropagation(model, half_squares, 0.8, alpha, steps), x, y)
    expected = written_out(
        [w.weight.detach().numpy() for w in layers], x.numpy(), y.numpy(), 0.8, alpha, steps
    )
    for layer, value in zip((0, 2, 4), expected, strict=True):
        torch.testing.assert_close(
            found[f"model.{layer}.weight"], torch.from_numpy(value), rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize(("alpha", "order"), [(0.5, 2), (0.2, 1), (1.0, 1)])
@pytest.mark.parametrize("steps", [1, 4])
def test_the_error_against_backprop_falls_with_beta(alpha, order, steps):
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)
    errors = [gap(model, x, y, beta, alpha, steps) for beta in BETAS]
    slope = math.log(errors[0] / errors[-1]) / math.log(BETAS[0] / BETAS[-1])
    assert slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_it_is_backprop_where_no_unit_crosses_its_kink(alpha):
    model, (x, y) = mlp(20, 16, 12, 9, 4, activation=nn.ReLU), batch(8, 20)
    assert gap(model, x, y, 1e-5, alpha, steps=2) < 1e-9
    assert gap(model, x, y, 10.0, alpha) > 1e-2
    linear = mlp(20, 16, 12, 9, 4, activation=nn.Identity)
    assert gap(linear, x, y, 10.0, alpha, steps=2) < 1e-10


def test_convolutions_pooling_and_norms_send_back_what_backprop_does():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.LeakyReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 6, 2), nn.AvgPool2d(2, 1, 1), nn.ReLU(inplace=True), nn.Dropout()),
        nn.Sequential(nn.Flatten(), nn.Linear(24, 4), nn.ReLU()),
    ).double()
    x, y = batch(8, 2, 8, 8)
    assert gap(model.eval(), x, y, 1e-6) < 1e-8
    rule = DualPropagation(model.train(), F.cross_entropy)
    assert [len(link) for link in rule.links] == [2, 1, 3, 3, 0]
    rule(x, y).backward()
    assert model[0][1].num_batches_tracked == 1
    assert all(m.training for m in model.modules())


def test_an_activation_before_the_first_weights_passes_the_input():
    model, (x, y) = mlp(20, 16, 4, activation=nn.ReLU), batch(8, 20)
    first = nn.Sequential(nn.ReLU(), *model)
    found, expected = (DualPropagation(m, F.cross_entropy) for m in (first, model))
    before, after = grads(found, x, y), grads(expected, x.relu(), y)
    assert_same(dict(enumerate(before.values())), dict(enumerate(after.values())))


def test_a_layer_that_occurs_twice_in_a_block_is_used_twice():
    torch.manual_seed(0)
    tanh = nn.Tanh()
    model = nn.Sequential(
        nn.Sequential(nn.Linear(20, 6), tanh, nn.AvgPool1d(3, 1, 1), tanh), nn.Linear(6, 4)
    ).double()
    assert gap(model, *batch(8, 20), 1e-4) < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, "beta must be positive, got 0"),
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DualPropagation(mlp(20, 16, 4), F.cross_entropy, **settings)


def test_targets_are_required_and_unknown_layers_refused():
    with pytest.raises(ValueError, match="needs targets"):
        DualPropagation(mlp(20, 16, 4), F.cross_entropy)(batch(8, 20)[0])
    with pytest.raises(TypeError, match="cannot use LayerNorm"):
        DualPropagation(
            nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)), F.cross_entropy
        )
