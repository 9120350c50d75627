"""Predictive coding against backprop and against the equilibrium of linear nets in closed form."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop
from hebbian.chain import block_outputs
from hebbian.predictive import FixedPrediction, PredictiveCoding
from tests.test_hebbian.helpers import batch, grads, half_squares, mlp


def gap(rule, reference, x, y):
    """Return the relative distance of all gradients of ``rule`` from those of ``reference``."""
    a, b = grads(rule, x, y), grads(reference, x, y)
    a, b = (torch.cat([g[k].flatten() for k in sorted(g)]) for g in (a, b))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.oracle("pc-fixed")
def test_fixed_prediction_is_backprop_after_one_step_a_hidden_block():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)
    assert gap(FixedPrediction(model, F.cross_entropy), Backprop(model, F.cross_entropy), x, y) < 1e-10
    assert gap(FixedPrediction(model, F.cross_entropy, 2), Backprop(model, F.cross_entropy), x, y) > 1e-3
    slow = FixedPrediction(model, F.cross_entropy, steps=150, rate=0.3)
    assert gap(slow, Backprop(model, F.cross_entropy), x, y) < 1e-10


def test_fixed_prediction_is_backprop_on_convolutions_and_one_logit():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="reflect"), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Tanh(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(24, 1)),
    ).double()
    x, y = torch.randn(5, 2, 8, 8, dtype=torch.float64), torch.randint(0, 2, (5, 1)).double()
    bce = nn.BCEWithLogitsLoss()
    assert gap(FixedPrediction(model, bce), Backprop(model, bce), x, y) < 1e-10
    strict = PredictiveCoding(model, bce, precision=1e-6, steps=200, rate=0.1)
    assert gap(strict, Backprop(model, bce), x, y) < 1e-4


@pytest.mark.parametrize("precision", [1.0, 0.2])
def test_strict_coding_of_a_linear_net_settles_at_the_closed_form(precision):
    torch.manual_seed(0)
    sizes = [7, 6, 5, 3]
    model = nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)])
    model = model.double()
    x, y = torch.randn(4, 7, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    found = PredictiveCoding(model, half_squares, precision, steps=400, rate=0.4)(x, y)
    found.backward()

    weights = [layer.weight.detach().clone().requires_grad_() for layer in model]
    w1, w2, w3 = weights
    r = y - x @ (w3 @ w2 @ w1).T
    s = torch.eye(3, dtype=torch.float64) / precision + w3 @ w3.T + w3 @ w2 @ (w3 @ w2).T
    closed = (r * torch.linalg.solve(s, r.T).T).sum() / (2 * len(x) * precision)
    closed.backward()

    assert found.item() == pytest.approx(closed.item(), rel=1e-10)
    for layer, w in zip(model, weights, strict=True):
        torch.testing.assert_close(layer.weight.grad, w.grad, rtol=1e-8, atol=1e-10)


def test_the_slope_is_the_gradient_of_the_energy():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)
    rule = PredictiveCoding(model, F.cross_entropy, precision=0.3)
    first, *rest = (torch.rand_like(h) for h in block_outputs(rule.blocks[:-1], x))
    z = [h.requires_grad_() for h in (torch.rand_like(first), *rest)]
    expected = torch.autograd.grad(rule.energy(first, z, y), z)
    torch.testing.assert_close(rule.slope(first, z, y), [*expected])


def stretching(s):
    """Return a linear chain of which every block stretches every activity by ``s``, and its data."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(6, 6, bias=False) for _ in range(4)]).double()
    for layer in model:
        nn.init.orthogonal_(layer.weight, gain=s)
    return model, torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)


def after(rule, x, y):
    """Return F at the feed-forward sweep and once it has settled."""
    z = block_outputs(list(rule.model)[:-1], x)
    return rule.energy(z[0], z, y).item(), rule.energy(z[0], rule.settle(z[0], z, y), y).item()


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_settling_falls_below_two_over_the_largest_curvature_and_blows_up_above(share):
    model, x, y = stretching(1.5)
    lower = torch.eye(18, dtype=torch.float64)  # F = |A z - b|² / 2 for the 3 hidden blocks and the output
    lower[6:12, :6], lower[12:, 6:12] = -model[1].weight.detach(), -model[2].weight.detach()
    readout = torch.cat([torch.zeros(6, 12).double(), -model[3].weight.detach()], 1)
    curvature = torch.linalg.matrix_norm(torch.cat([lower, readout]), 2).item() ** 2
    assert curvature <= (1 + 1.5) ** 2
    rule = PredictiveCoding(model, half_squares, steps=2000, rate=2 * share / curvature)
    sweep, settled = after(rule, x, y)
    assert (settled < sweep) == (share < 1)


@pytest.mark.parametrize(("rate", "falls"), [(None, True), (0.1, False)])
def test_the_default_rate_is_safe_where_blocks_stretch_fivefold(rate, falls):
    model, x, y = stretching(5.0)
    rule = PredictiveCoding(model, half_squares, **({} if rate is None else {"rate": rate}))
    sweep, settled = after(rule, x, y)
    assert (settled < sweep) == falls


@pytest.mark.oracle("pc")
def test_strict_coding_nears_backprop_as_the_output_weighs_less_and_only_then():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)

    def distance(precision, criterion=F.cross_entropy):
        rule = PredictiveCoding(model, criterion, precision, steps=300, rate=0.1)
        return gap(rule, Backprop(model, criterion), x, y)

    assert distance(0.01) / distance(0.001) == pytest.approx(10, abs=1)
    assert distance(0.001) < 0.01

    # A small error at the output does not help where the output is fully clamped.
    near = mlp(20, 16, 12, 9, 4)(x).detach()
    for scale in (1e-1, 1e-3):
        y = near + scale
        rule = PredictiveCoding(model, half_squares, steps=300, rate=0.1)
        assert gap(rule, Backprop(model, half_squares), x, y) > 0.1


@pytest.mark.parametrize("rule", [PredictiveCoding, FixedPrediction])
def test_a_call_gathers_running_statistics_once_and_leaves_the_modes(rule):
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6), nn.Dropout()), nn.Linear(6, 4))
    model[0][2].eval()
    x, y = batch(8, 20)
    rule(model, F.cross_entropy)(x, y).backward()
    assert model[0][1].num_batches_tracked == 1
    assert [m.training for m in model.modules()] == [True, True, True, True, False, True]


def test_errors_state_the_cause():
    with pytest.raises(ValueError, match="precision must be positive"):
        PredictiveCoding(mlp(20, 16, 12, 9, 4), F.cross_entropy, precision=0)
    with pytest.raises(ValueError, match="rate must be above 0"):
        FixedPrediction(mlp(20, 16, 12, 9, 4), F.cross_entropy, rate=2)
    for rule in (PredictiveCoding, FixedPrediction):
        with pytest.raises(TypeError, match="at least two blocks with weights, got 1 in Linear"):
            rule(nn.Linear(2, 2), F.cross_entropy)
        with pytest.raises(ValueError, match="needs targets"):
            rule(mlp(20, 16, 12, 9, 4), F.cross_entropy)(batch(8, 20)[0])
