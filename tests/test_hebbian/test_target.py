"""Difference target propagation: targets of exact inverses, reconstruction, any shape of block."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, target
from hebbian.target import DifferenceTarget, LocalDifferenceReconstruction
from tests.test_hebbian.helpers import batch, grads, half_squares, mlp


def linear_chain(draw):
    """Return a linear net with square hidden layers drawn by ``draw``, and a rule with exact inverses."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(6, 6) for _ in range(4)]).double()
    for layer in model:
        draw(layer.weight)
    x, y = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    rule = DifferenceTarget(model, half_squares, x)
    for g, layer in zip(rule.feedback, list(model)[1:-1], strict=True):
        g[1].weight.data = torch.linalg.inv(layer.weight.detach())
    return rule, x, y


def weight_gradients(rule, x, y):
    rule.zero_grad()
    rule(x, y).backward()
    return [layer.weight.grad.clone() for layer in rule.model]


def test_with_exact_inverses_the_step_of_each_target_is_the_inverse_of_the_one_above():
    rule, x, y = linear_chain(lambda w: w)
    a, b, c, readout = rule.model
    h = [a(x), b(a(x)), c(b(a(x)))]
    found = rule.targets([v.detach() for v in h], y)
    step = (readout(h[2]) - y) @ readout.weight
    for v, t, above in ((h[2], found[2], None), (h[1], found[1], c), (h[0], found[0], b)):
        if above is not None:
            step = step @ torch.linalg.inv(above.weight).T
        torch.testing.assert_close(v - t, step, rtol=1e-9, atol=1e-10)


@pytest.mark.oracle("dtp")
def test_it_is_backprop_for_orthogonal_weights_and_not_for_others():
    rule, x, y = linear_chain(nn.init.orthogonal_)
    for found, expected in zip(
        weight_gradients(rule, x, y), weight_gradients(Backprop(rule.model, half_squares), x, y), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    rule, x, y = linear_chain(lambda w: w)
    found = weight_gradients(rule, x, y)[0]
    expected = weight_gradients(Backprop(rule.model, half_squares), x, y)[0]
    assert F.cosine_similarity(found.flatten(), expected.flatten(), dim=0) < 0.9


def test_reconstruction_teaches_the_inverse():
    rule, x, y = linear_chain(nn.init.orthogonal_)
    nn.init.normal_(rule.feedback[0][1].weight, std=0.4)
    rule.noise = 1.0
    optimizer = torch.optim.SGD(rule.feedback.parameters(), lr=0.2)
    torch.manual_seed(0)
    for _ in range(300):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    inverse = torch.linalg.inv(rule.model[1].weight.detach())
    assert (rule.feedback[0][1].weight - inverse).abs().max() < 0.01


def test_the_forward_weights_get_nothing_from_the_reconstruction():
    rule, x, y = linear_chain(lambda w: w)
    torch.manual_seed(1)
    first = weight_gradients(rule, x, y)
    rule.noise = 5.0
    for a, b in zip(first, weight_gradients(rule, x, y), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_feedback_fits_convolutions_with_stride_padding_and_pooling_and_one_logit(make):
    space = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[make]
    pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[space]
    model = nn.Sequential(
        nn.Sequential(make(2, 4, 3, stride=2), nn.ReLU()),
        nn.Sequential(make(4, 6, 3, padding=1), nn.Tanh(), pool(2, ceil_mode=True)),
        nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.Tanh()),
        nn.Linear(5, 1),
    )
    x, y = torch.randn(3, 2, *[9] * space), torch.ones(3, 1)
    model(x)
    rule = DifferenceTarget(model, nn.BCEWithLogitsLoss(), x)
    rule(x, y).backward()
    assert all(p.grad.abs().sum() > 0 for p in rule.parameters())


def test_feedback_is_drawn_from_the_generator_and_targets_are_required():
    x = torch.randn(3, 6)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 2))
    a, b = (
        DifferenceTarget(model, half_squares, x, generator=torch.Generator().manual_seed(s)) for s in (0, 0)
    )
    assert torch.equal(a.feedback[0][1].weight, b.feedback[0][1].weight)
    with pytest.raises(ValueError, match="needs targets"):
        a(x)


# ---- the local difference reconstruction loss --------------------------------------------------------------


def narrowing(noise=0.1):
    """Return a linear net of layers 9, 7, 6, 5 and 3, and L-DRL on it, with inputs and targets."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 7), nn.Linear(7, 6), nn.Linear(6, 5), nn.Linear(5, 3)).double()
    x, y = torch.randn(14, 9, dtype=torch.float64), torch.randn(14, 3, dtype=torch.float64)
    return (
        LocalDifferenceReconstruction(model, half_squares, x, noise, torch.Generator().manual_seed(1)),
        x,
        y,
    )


def with_feedback_of_all_directions(monkeypatch):
    """Make noise whose products have their expectation, (1/N) sum n nᵀ = 1, in each batch of at least n."""

    def directions(h):
        torch.manual_seed(len(drawn))
        drawn.append(torch.linalg.qr(torch.randn(len(h), h.shape[1], dtype=h.dtype))[0] * len(h) ** 0.5)
        return drawn[-1]

    drawn = []
    monkeypatch.setattr(target, "randn_like", directions)


def test_the_gradient_of_the_local_difference_is_that_written_out():
    rule, x, y = narrowing(noise=0.3)
    found = grads(rule, x, y, seed=5)
    torch.manual_seed(5)
    h = [rule.model[:1](x), rule.model[:2](x), rule.model[:3](x)]
    for k, (layer, g) in enumerate(zip(rule.model[1:3], rule.feedback, strict=True)):
        n, m = (0.3 * torch.randn_like(v) for v in (h[k], h[k + 1]))
        expected = torch.zeros_like(g[1].weight)
        for below, above in zip(n, m, strict=True):
            expected += torch.outer(g[1].weight @ above, above) - torch.outer(below, layer.weight @ below)
        torch.testing.assert_close(found[f"feedback.{k}.1.weight"], expected / len(x), rtol=1e-10, atol=1e-12)


@pytest.mark.oracle("ldrl")
def test_one_step_at_rate_1_by_variance_of_the_noise_reaches_the_transpose_and_then_it_is_backprop(
    monkeypatch,
):
    """In expectation the gradient is variance (G - Wᵀ), from any G."""
    with_feedback_of_all_directions(monkeypatch)
    rule, x, y = narrowing(noise=0.3)
    optimizer = torch.optim.SGD(rule.feedback.parameters(), lr=1 / 0.3**2)
    rule(x, y).backward()
    optimizer.step()
    for layer, g in zip(rule.model[1:3], rule.feedback, strict=True):
        torch.testing.assert_close(g[1].weight, layer.weight.T, rtol=1e-10, atol=1e-12)
    for found, expected in zip(
        weight_gradients(rule, x, y), weight_gradients(Backprop(rule.model, half_squares), x, y), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_the_feedback_of_a_block_that_is_not_linear_is_the_mean_of_its_transposed_jacobians(monkeypatch):
    with_feedback_of_all_directions(monkeypatch)
    model, (x, y) = mlp(20, 6, 5, 4), batch(3, 20)
    noise = 1e-4
    rule = LocalDifferenceReconstruction(model, F.cross_entropy, x[:1], noise)
    jacobians = []
    for sample, label in zip(x, y, strict=True):  # 8 directions at each sample
        rule(sample.repeat(8, 1), label.repeat(8)).backward()
        below = model[0](sample)
        jacobians.append(torch.autograd.functional.jacobian(model[1], below))
    weight = rule.feedback[0][1].weight
    reached = weight - weight.grad / len(x) / noise**2
    torch.testing.assert_close(reached, torch.stack(jacobians).mean(0).T, rtol=1e-3, atol=1e-4)


def test_feedback_turns_to_the_transpose_by_noise_alone():
    rule, x, y = narrowing()
    optimizer = torch.optim.SGD(rule.feedback.parameters(), lr=1.0)
    torch.manual_seed(0)
    for _ in range(800):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    for layer, g in zip(rule.model[1:3], rule.feedback, strict=True):
        assert F.cosine_similarity(g[1].weight.flatten(), layer.weight.T.flatten(), dim=0) > 0.99


def test_without_noise_the_local_difference_is_refused():
    with pytest.raises(ValueError, match="noise must be positive, got 0"):
        narrowing(noise=0.0)
