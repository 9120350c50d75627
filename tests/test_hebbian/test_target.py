"""Difference target propagation: targets of exact inverses, reconstruction, any shape of block."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop
from hebbian.target import DifferenceTarget
from tests.test_hebbian.helpers import half_squares


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
