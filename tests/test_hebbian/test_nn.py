"""Layers that the papers use: their formulas, and slopes that stay finite."""

import numpy as np
import pytest
import torch

from hebbian.nn import HalfDropout, RePU, Triangle


def test_repu_is_the_power_of_the_positive_part():
    u = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    torch.testing.assert_close(RePU(4.5)(u), torch.tensor([0.0, 0.0, 0.5**4.5, 3.0**4.5]))
    with pytest.raises(ValueError, match="n must be positive, got 0"):
        RePU(0)


@pytest.mark.parametrize("shape", [(5, 7), (2, 4, 3), (2, 4, 3, 3)])
@pytest.mark.parametrize("power", [0.7, 1.0, 1.4])
def test_triangle_is_what_exceeds_the_mean_over_channels(shape, power):
    u = np.random.default_rng(0).normal(size=shape)
    expected = np.maximum(u - u.mean(1, keepdims=True), 0) ** power
    np.testing.assert_allclose(Triangle(power)(torch.from_numpy(u)), expected, rtol=1e-12)


def test_triangle_of_tokens_is_over_the_features():
    u = torch.randn(2, 4, 3)
    torch.testing.assert_close(Triangle(0.7, dim=-1)(u), Triangle(0.7)(u.mT).mT)


@pytest.mark.parametrize("n", [0.7, 1.0, 1.4])
def test_repu_is_the_same_with_a_gradient_and_its_slope_is_finite(n):
    u = torch.tensor([-1.0, 0.0, 0.25, 2.0], requires_grad=True)
    torch.testing.assert_close(RePU(n)(u.detach()), RePU(n)(u).detach())
    RePU(n)(u).sum().backward()
    torch.testing.assert_close(u.grad, n * torch.tensor([0.0, 0.0, 0.25 ** (n - 1), 2.0 ** (n - 1)]))


@pytest.mark.parametrize("power", [0.7, 1.0, 1.4])
def test_the_slope_of_triangle_is_finite_where_a_unit_is_off(power):
    u = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.0]], requires_grad=True)
    Triangle(power)(u).sum().backward()
    # only the unit at 1 is on: slope p times (1 - 1/3, -1/3, -1/3)
    torch.testing.assert_close(u.grad, power * torch.tensor([[0.0, 0, 0], [2 / 3, -1 / 3, -1 / 3]]))


def test_triangle_refuses_powers_that_are_not_positive():
    with pytest.raises(ValueError, match="power must be positive, got 0"):
        Triangle(0)


@pytest.mark.parametrize("shape", [(16, 40), (5, 3, 7)])
def test_half_dropout_drops_each_value_in_half_of_the_masks(shape):
    torch.manual_seed(0)
    dropout, x = HalfDropout(), torch.rand(shape) + 1
    masks = torch.stack([dropout(x) / x for _ in range(400)])
    assert torch.equal(masks.unique(), torch.tensor([0.0, 2.0]))
    signs = masks.flatten(1) - 1  # independent, of mean 0: 5 standard errors are 1/4
    assert signs.mean(0).abs().max() < 0.25
    together = (signs.T @ signs / 400).fill_diagonal_(0)
    assert together.abs().max() < 0.3
    assert torch.equal(dropout.eval()(x), x)


def test_half_dropout_passes_the_slope_of_what_remains():
    x = torch.ones(3, 5, requires_grad=True)
    y = HalfDropout()(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
