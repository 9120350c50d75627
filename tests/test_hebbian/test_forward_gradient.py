"""Forward gradients against gradients of each sample by reverse mode."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, ForwardGradient
from hebbian.synapse import randn_like
from tests.test_hebbian.helpers import assert_same, batch, grads, mlp


def activity_gradients(model, x, y):
    """Return the gradient of each sample's loss with respect to the outputs of the two hidden blocks."""
    h0 = model[0](x)
    h1 = model[1](h0)
    loss = F.cross_entropy(model[2](h1), y, reduction="sum")
    return torch.autograd.grad(loss, (h0, h1))


@pytest.mark.oracle("forward-gradient")
def test_one_direction_written_out():
    model, (x, y) = mlp(6, 5, 7, 4), batch(9, 6)
    found = grads(ForwardGradient(model, F.cross_entropy), x, y, seed=3)
    torch.manual_seed(3)
    h0 = model[0](x).detach()
    h1 = model[1](h0).detach()
    v0, v1 = randn_like(h0), randn_like(h1)
    g0, g1 = activity_gradients(model, x, y)
    slope = (g0 * v0).sum(1) + (g1 * v1).sum(1)
    delta0 = slope[:, None] * v0 * (1 - h0**2) / len(x)
    delta1 = slope[:, None] * v1 * (1 - h1**2) / len(x)
    expected = grads(Backprop(model, F.cross_entropy), x, y)  # of the readout
    expected |= {"model.0.0.weight": delta0.T @ x, "model.0.0.bias": delta0.sum(0)}
    expected |= {"model.1.0.weight": delta1.T @ h0, "model.1.0.bias": delta1.sum(0)}
    assert_same(found, expected)


def test_the_sum_over_a_basis_of_directions_is_the_gradient():
    model, (x, y) = mlp(6, 5, 7, 4), batch(9, 6)
    rule = ForwardGradient(model, F.cross_entropy)
    hidden = [model[0](x).detach(), model[:2](x).detach()]
    for block, expected in enumerate(activity_gradients(model, x, y)):
        found = torch.zeros_like(expected)
        for unit in range(expected.shape[1]):
            directions = [torch.zeros_like(h) for h in hidden]
            directions[block][:, unit] = 1
            found += rule.slopes(hidden, directions, y)[:, None] * directions[block]
        torch.testing.assert_close(found, expected)


def test_the_relative_error_is_that_of_the_number_of_activities():
    model, (x, y) = mlp(6, 5, 7, 4), batch(1, 6)
    h0, h1 = model[0](x).detach(), model[:2](x).detach()
    gradient = torch.cat(activity_gradients(model, x, y), 1)
    rule, squares = ForwardGradient(model, F.cross_entropy), []
    torch.manual_seed(0)
    for _ in range(1000):
        v0, v1 = torch.randn_like(h0), torch.randn_like(h1)
        estimate = rule.slopes([h0, h1], [v0, v1], y)[:, None] * torch.cat([v0, v1], 1)
        squares.append((estimate - gradient).square().sum())
    ratio = torch.stack(squares).mean() / gradient.square().sum()
    assert ratio == pytest.approx(12 + 1, rel=0.25)  # of 12 activities; 5 standard deviations of the mean


def test_with_batch_norm_slopes_are_those_in_eval_mode():
    torch.manual_seed(0)
    norm = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())
    model = nn.Sequential(norm, nn.Sequential(nn.Linear(5, 5), nn.Tanh()), nn.Linear(5, 4)).double()
    x, y = batch(9, 6)
    rule = ForwardGradient(model, F.cross_entropy).train()
    assert all(g.isfinite().all() for g in grads(rule, x, y).values())
    assert norm[1].num_batches_tracked == 1
