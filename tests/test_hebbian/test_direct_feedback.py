"""Backprop is autograd, and direct feedback is its formula written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DirectFeedback
from tests.test_hebbian.every_rule import data, grads, net


@pytest.mark.oracle("backprop")
def test_backprop_is_autograd():
    model = net()
    x, y = data()
    found = grads(Backprop(model, F.cross_entropy), x, y)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    for k, p in model.named_parameters():
        assert torch.equal(found[f"model.{k}"], p.grad)


def test_direct_feedback_written_out():
    model = net().double()
    x, y = data(dtype=torch.float64)
    rule = DirectFeedback(model, F.cross_entropy, x)
    found = grads(rule, x, y)
    h0 = torch.tanh(x @ model[0][0].weight.T + model[0][0].bias).detach()
    h1 = torch.tanh(h0 @ model[1][0].weight.T + model[1][0].bias).detach()
    error = (model(x).softmax(1) - F.one_hot(y, 4)).detach() / len(x)
    delta0 = (error @ rule.feedback.get_buffer("0")) * (1 - h0**2)
    delta1 = (error @ rule.feedback.get_buffer("1")) * (1 - h1**2)
    torch.testing.assert_close(found["model.0.0.weight"], delta0.T @ x)
    torch.testing.assert_close(found["model.1.0.weight"], delta1.T @ h0)
    torch.testing.assert_close(found["model.2.weight"], error.T @ h1)


def test_direct_feedback_with_the_transposed_readout_is_backprop_for_one_hidden_block():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 9), nn.Tanh()), nn.Linear(9, 4)).double()
    x, y = data(dtype=torch.float64)
    rule = DirectFeedback(model, F.cross_entropy, x)
    rule.feedback.get_buffer("0").copy_(model[1].weight.detach())
    a, b = grads(rule, x, y), grads(Backprop(model, F.cross_entropy), x, y)
    for k in b:
        torch.testing.assert_close(a[k], b[k], rtol=1e-10, atol=1e-14)


def test_direct_feedback_on_one_logit_and_convolutions():
    model = nn.Sequential(
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 8, 1)),
    )
    x, y = torch.randn(6, 3, 10), torch.randint(0, 2, (6, 1)).float()
    found = grads(DirectFeedback(model, nn.BCEWithLogitsLoss(), x), x, y)
    assert found["model.0.0.weight"].abs().sum() > 0


def test_the_error_of_direct_feedback_passes_no_forward_weight():
    c = torch.randn(8, 4, generator=torch.Generator().manual_seed(2))
    rule = DirectFeedback(net(), lambda scores, y: (scores * c).mean(), data()[0])  # a fixed error c
    x, y = data()
    before = grads(rule, x, y)["model.0.0.weight"]
    rule.model[1][0].weight.data.mul_(-3)
    rule.model[2].weight.data.mul_(-3)
    assert torch.equal(grads(rule, x, y)["model.0.0.weight"], before)
