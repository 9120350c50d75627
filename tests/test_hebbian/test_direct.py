"""Projections of targets and errors, written out."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import DirectTarget, Pepita
from tests.test_hebbian.helpers import assert_same, batch, grads, mlp


@pytest.mark.oracle("drtp")
def test_direct_targets_written_out():
    model, (x, y) = mlp(6, 5, 7, 4), batch(9, 6)
    rule = DirectTarget(model, F.cross_entropy, x)
    found = grads(rule, x, y)
    targets = F.one_hot(y, 4).double() / len(x)
    h0 = model[0](x).detach()
    h1 = model[1](h0).detach()
    delta0 = targets @ rule.feedback.get_buffer("0") * (1 - h0**2)
    delta1 = targets @ rule.feedback.get_buffer("1") * (1 - h1**2)
    error = (model[2](h1).softmax(1) / len(x) - targets).detach()
    expected = {
        "model.0.0.weight": -delta0.T @ x,
        "model.0.0.bias": -delta0.sum(0),
        "model.1.0.weight": -delta1.T @ h0,
        "model.1.0.bias": -delta1.sum(0),
        "model.2.weight": error.T @ h1,
        "model.2.bias": error.sum(0),
    }
    assert_same(found, expected)


def test_with_direct_targets_hidden_blocks_do_not_depend_on_the_scores():
    model, (x, y) = mlp(6, 5, 7, 4), batch(9, 6)
    rule = DirectTarget(model, F.cross_entropy, x)
    before = grads(rule, x, y)
    nn.init.normal_(model[2].weight)
    after = grads(rule, x, y)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("model.2"))


def test_of_one_logit_the_targets_are_1_and_minus_1():
    model, (x, y) = mlp(6, 5, 1), batch(9, 6, classes=2)
    rule = DirectTarget(model, F.binary_cross_entropy_with_logits, x)
    h = model[0](x).detach()
    delta = torch.where(y[:, None] == 1, 1, -1) * rule.feedback.get_buffer("0") * (1 - h**2) / len(x)
    found = grads(rule, x, y[:, None].double())
    torch.testing.assert_close(found["model.0.0.weight"], -delta.T @ x)


@pytest.mark.oracle("pepita")
def test_pepita_written_out():
    model, (x, y) = mlp(6, 5, 7, 4, activation=nn.ReLU), batch(9, 6)
    rule = Pepita(model, F.cross_entropy, x, strength=2.0)
    found = grads(rule, x, y)
    expected = {name: torch.zeros_like(g) for name, g in found.items()}
    w0, b0, w1, b1, w2, b2 = (p.detach() for p in model.parameters())
    for sample, label in zip(x, y, strict=True):
        h0 = (w0 @ sample + b0).relu()
        h1 = (w1 @ h0 + b1).relu()
        error = (w2 @ h1 + b2).softmax(0) - F.one_hot(label, 4)
        again = sample + error @ rule.projection
        k0 = (w0 @ again + b0).relu()
        k1 = (w1 @ k0 + b1).relu()
        for name, teaching, below in (("0.0", h0 - k0, again), ("1.0", h1 - k1, k0), ("2", error, k1)):
            expected[f"model.{name}.weight"] += torch.outer(teaching, below) / len(x)
            expected[f"model.{name}.bias"] += teaching / len(x)
    assert not torch.equal((model[0](x) > 0), (model[0](x + x.flip(0)) > 0))  # some units change sides
    assert_same(found, expected)


def test_of_a_convolution_pepita_compares_the_responses_before_pooling():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(block, nn.Sequential(nn.Flatten(), nn.Linear(12, 4))).double()
    x, y = batch(5, 1, 6, 6)
    rule = Pepita(model, F.cross_entropy, x, strength=2.0)
    error = (model(x).softmax(1) - F.one_hot(y, 4)).detach()
    again = x + torch.einsum("nk,kcij->ncij", error, rule.projection)
    difference = (block[:2](x) - block[:2](again)).detach()
    expected = torch.zeros_like(block[0].weight)
    for i in range(4):
        for j in range(4):
            patch = again[:, :, i : i + 3, j : j + 3]
            expected += torch.einsum("no,ncij->ocij", difference[:, :, i, j], patch) / len(x)
    torch.testing.assert_close(grads(rule, x, y)["model.0.0.weight"], expected.detach())


def test_without_an_error_pepita_changes_nothing_although_units_drop_out():
    model, (x, y) = mlp(6, 50, 4), batch(9, 6)
    model[0].append(nn.Dropout(0.5))
    rule = Pepita(model, lambda scores, y: 0 * scores.sum(), x)
    rule.train()
    assert not any(g.any() for g in grads(rule, x, y).values())
    rule = Pepita(copy.deepcopy(model), F.cross_entropy, x)
    assert all(g.any() for g in grads(rule, x, y).values())
