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
    strict = PredictiveCoding(model, bce, precision=1e-6)
    assert gap(strict, Backprop(model, bce), x, y) < 1e-4


def linear_chain(*sizes):
    """Return a chain of linear blocks without biases, and inputs and targets for it."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)]).double()
    return model, torch.randn(4, sizes[0]).double(), torch.randn(4, sizes[-1]).double()


def at_equilibrium(model, x, y, precision):
    """Return F / precision of a linear chain, mean over the batch, and its gradients, in closed form."""
    weights = [layer.weight.detach().clone().requires_grad_() for layer in model]
    variance, product = torch.eye(y.shape[1], dtype=x.dtype) / precision, torch.eye(y.shape[1], dtype=x.dtype)
    for w in weights[:0:-1]:
        product = product @ w
        variance = variance + product @ product.T
    r = y - x @ (product @ weights[0]).T
    closed = (r * torch.linalg.solve(variance, r.T).T).sum() / (2 * len(x) * precision)
    closed.backward()
    return closed.item(), torch.cat([w.grad.flatten() for w in weights])


@pytest.mark.parametrize("settings", [{}, {"rate": 0.4}, {"rate": 0.4, "solver": "states"}])
@pytest.mark.parametrize("precision", [1.0, 0.2])
def test_strict_coding_of_a_linear_net_settles_at_the_closed_form(precision, settings):
    model, x, y = linear_chain(7, 6, 5, 3)
    rule = PredictiveCoding(model, half_squares, precision, steps=400, tolerance=1e-11, **settings)
    objective, expected = at_equilibrium(model, x, y, precision)
    assert rule(x, y).item() == pytest.approx(objective, rel=1e-10)
    found = torch.cat([g.flatten() for g in grads(rule, x, y).values()])
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def counted(rule):
    """Return a list that grows by one with each slope that the solver of ``rule`` evaluates."""
    name, calls = "error_slope" if rule.solver == "errors" else "slope", []
    slope = getattr(rule, name)
    setattr(rule, name, lambda *values: calls.append(None) or slope(*values))
    return calls


@pytest.mark.parametrize("gain", [None, 1.0])
def test_at_depth_20_errors_need_a_fiftieth_of_the_steps_of_states(gain):
    """Steps to the gradient of each block at the equilibrium, to 1e-8."""
    model, x, y = linear_chain(*[12] * 20, 5)
    for layer in model:
        if gain:
            nn.init.orthogonal_(layer.weight, gain)
    _, joined = at_equilibrium(model, x, y, 1.0)
    expected = joined.split([layer.weight.numel() for layer in model])

    def worst_error(solver, steps):
        rule = PredictiveCoding(model, half_squares, steps=steps, solver=solver, tolerance=0.0)
        found = grads(rule, x, y).values()
        return max((g.flatten() - e).norm() / e.norm() for g, e in zip(found, expected, strict=True))

    assert worst_error("errors", 20) < 1e-8
    assert worst_error("states", 50 * 20) > 1e-2


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_the_default_settles_and_leaves_the_first_of_four_blocks_its_update(activation):
    model, (x, y) = mlp(20, *[64] * 4, 10, activation=activation), batch(32, 20, classes=10)
    rule = PredictiveCoding(model, F.cross_entropy)
    calls = counted(rule)
    found = grads(rule, x, y)
    assert len(calls) < rule.steps
    slow = PredictiveCoding(model, F.cross_entropy, solver="states", steps=20_000, tolerance=1e-8)
    for name, expected in grads(slow, x, y).items():
        assert (found[name] - expected).norm() < 0.01 * expected.norm()


def test_a_sample_settles_by_itself_to_its_tolerance():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)
    rule = PredictiveCoding(model, F.cross_entropy, tolerance=1e-2, solver="states")
    sweep = block_outputs(rule.blocks[:-1], x)
    z = rule.settle(sweep[0], sweep, y)

    def sizes(z):
        return torch.cat(rule.slope(sweep[0], z, y), 1).norm(dim=1)

    ratio = sizes(z) / sizes(sweep)
    assert (ratio <= 1e-2).all()
    assert (ratio > 0.9e-2).all()  # a step of 0.05 changes little
    alone = rule.settle(sweep[0][:1], [h[:1] for h in sweep], y[:1])
    for a, b in zip(alone, z, strict=True):
        torch.testing.assert_close(a, b[:1])


@pytest.mark.filterwarnings("error")
def test_a_warning_is_given_if_the_energy_has_risen():
    model, x, y = stretching(5.0)
    PredictiveCoding(model, half_squares)(x, y)
    with pytest.warns(RuntimeWarning, match=r"raised the energy .*; use weights that stretch less"):
        PredictiveCoding(model, half_squares, rate=0.05)(x, y)


def test_a_norm_in_the_readout_gathers_statistics():
    readout = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4))
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 6), nn.Tanh()), readout).double()
    x, y = batch(8, 20)
    PredictiveCoding(model, F.cross_entropy)(x, y).backward()
    assert readout[0].num_batches_tracked == 1
    torch.testing.assert_close(readout[0].running_mean, 0.1 * model[0](x).mean(0))


def test_a_slope_is_the_gradient_of_the_energy():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)
    rule = PredictiveCoding(model, F.cross_entropy, precision=0.3)
    first, *rest = (torch.rand_like(h) for h in block_outputs(rule.blocks[:-1], x))
    z = [h.requires_grad_() for h in (torch.rand_like(first), *rest)]
    expected = torch.autograd.grad(rule.energy(first, z, y), z)
    torch.testing.assert_close(rule.slope(first, z, y), [*expected])
    e = [torch.randn_like(h).requires_grad_() for h in z]
    expected = torch.autograd.grad(rule.energy(first, rule.sweep(first, e), y), e)
    torch.testing.assert_close(rule.error_slope(first, e, y), [*expected])


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
    rule = PredictiveCoding(model, half_squares, rate=2 * share / curvature, solver="states")
    sweep, settled = after(rule, x, y)
    assert (settled < sweep) == (share < 1)


@pytest.mark.parametrize(("rate", "falls"), [(None, True), (0.1, False)])
def test_the_default_rate_is_safe_where_blocks_stretch_fivefold(rate, falls):
    model, x, y = stretching(5.0)
    rule = PredictiveCoding(model, half_squares, rate=rate, solver="states")
    sweep, settled = after(rule, x, y)
    assert (settled < sweep) == falls


@pytest.mark.oracle("pc")
def test_strict_coding_nears_backprop_as_the_output_weighs_less_and_only_then():
    model, (x, y) = mlp(20, 16, 12, 9, 4), batch(8, 20)

    def distance(precision, criterion=F.cross_entropy):
        rule = PredictiveCoding(model, criterion, precision, tolerance=1e-6)
        return gap(rule, Backprop(model, criterion), x, y)

    assert distance(0.01) / distance(0.001) == pytest.approx(10, abs=1)
    assert distance(0.001) < 0.01

    # A small error at the output does not help where the output is fully clamped.
    near = mlp(20, 16, 12, 9, 4)(x).detach()
    for scale in (1e-1, 1e-3):
        y = near + scale
        rule = PredictiveCoding(model, half_squares)
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
    with pytest.raises(ValueError, match="solver must be 'errors' or 'states', got 'newton'"):
        PredictiveCoding(mlp(20, 16, 12, 9, 4), F.cross_entropy, solver="newton")
    with pytest.raises(ValueError, match="tolerance must be at least 0, got -1"):
        PredictiveCoding(mlp(20, 16, 12, 9, 4), F.cross_entropy, tolerance=-1)
    with pytest.raises(ValueError, match="rate must be above 0"):
        FixedPrediction(mlp(20, 16, 12, 9, 4), F.cross_entropy, rate=2)
    for rule in (PredictiveCoding, FixedPrediction):
        with pytest.raises(TypeError, match="at least two blocks with weights, got 1 in Linear"):
            rule(nn.Linear(2, 2), F.cross_entropy)
        with pytest.raises(ValueError, match="needs targets"):
            rule(mlp(20, 16, 12, 9, 4), F.cross_entropy)(batch(8, 20)[0])
