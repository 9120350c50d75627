"""Forward gradients against gradients of activities by reverse mode."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, ForwardGradient
from hebbian.synapse import randn_like
from tests.test_hebbian.helpers import assert_same, batch, grads, mlp

CRITERIA = {
    "mean": F.cross_entropy,
    "class weights": nn.CrossEntropyLoss(weight=torch.tensor([0.1, 5.0, 1.0, 0.2], dtype=torch.float64)),
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "ignored class": nn.CrossEntropyLoss(ignore_index=0),
    "samples together": lambda scores, y: F.cross_entropy(scores - scores.mean(0), y),
}


def activity_gradients(model, x, y, criterion=F.cross_entropy):
    """Return the gradient of the criterion with respect to the outputs of the two hidden blocks."""
    h0 = model[0](x)
    h1 = model[1](h0)
    return torch.autograd.grad(criterion(model[2](h1), y), (h0, h1))


@pytest.mark.oracle("forward-gradient")
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_one_direction_written_out(criterion):
    model, (x, y) = mlp(6, 5, 7, 4), batch(9, 6)
    found = grads(ForwardGradient(model, criterion), x, y, seed=3)
    torch.manual_seed(3)
    h0 = model[0](x).detach()
    h1 = model[1](h0).detach()
    v0, v1 = randn_like(h0), randn_like(h1)
    g0, g1 = activity_gradients(model, x, y, criterion)
    slope = (g0 * v0).sum(1) + (g1 * v1).sum(1)
    delta0 = slope[:, None] * v0 * (1 - h0**2)
    delta1 = slope[:, None] * v1 * (1 - h1**2)
    expected = grads(Backprop(model, criterion), x, y)  # of the readout
    expected |= {"model.0.0.weight": delta0.T @ x, "model.0.0.bias": delta0.sum(0)}
    expected |= {"model.1.0.weight": delta1.T @ h0, "model.1.0.bias": delta1.sum(0)}
    assert_same(found, expected)


def test_one_direction_at_the_output_of_a_convolution_with_pooling():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GroupNorm(3, 3), nn.Tanh(), nn.MaxPool2d(2))
    model = nn.Sequential(block, nn.Sequential(nn.Flatten(), nn.Linear(12, 4))).double()
    x, y = batch(5, 1, 6, 6)
    found = grads(ForwardGradient(model, F.cross_entropy), x, y, seed=3)
    h = block(x)
    torch.manual_seed(3)
    v = randn_like(h)
    (g,) = torch.autograd.grad(F.cross_entropy(model[1](h), y), h, retain_graph=True)
    slope = (g * v).sum((1, 2, 3), keepdim=True)
    expected = torch.autograd.grad(h, [*block.parameters()], slope * v)
    for (name, _), update in zip(block.named_parameters(), expected, strict=True):
        torch.testing.assert_close(found[f"model.0.{name}"], update)


def test_the_mean_over_all_signs_at_once_is_the_gradient():
    """Signs have the variances of N(0, 1), and their mean is exact: no block biases another."""
    model, (x, y) = mlp(6, 3, 3, 4), batch(9, 6)
    rule = ForwardGradient(model, F.cross_entropy)
    hidden = [model[0](x).detach(), model[:2](x).detach()]
    found = torch.zeros(9, 6, dtype=torch.float64)
    for signs in product((-1.0, 1.0), repeat=6):
        v = torch.tensor(signs, dtype=torch.float64).expand(9, 6)
        found += rule.slopes(hidden, [v[:, :3], v[:, 3:]], y)[:, None] * v / 2**6
    torch.testing.assert_close(found, torch.cat(activity_gradients(model, x, y), 1))


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


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, error):
        return error


class Steps(nn.Module):
    def forward(self, x):
        return Step.apply(x)


def test_an_operation_without_a_derivative_in_forward_mode_is_refused_by_its_block():
    hidden = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
    model = nn.Sequential(hidden, nn.Sequential(nn.Linear(5, 5), Steps()), nn.Linear(5, 4)).double()
    with pytest.raises(RuntimeError) as refusal:
        ForwardGradient(model, F.cross_entropy)(*batch(9, 6))
    assert any("raised in block '1' of the chain" in note for note in refusal.value.__notes__)
