"""Local losses in the memory of one block."""

import weakref

import pytest
import torch
from torch import nn

from tests.test_hebbian.helpers import grads
from tests.test_hebbian.test_local import K, batch, build, mlp


@pytest.mark.parametrize("name", ["pred", "sim", "predsim"])
def test_low_memory_changes_neither_gradients_nor_value_and_follows_a_scaler(name):
    (x, y), model = batch(), mlp()
    rules = [
        build(name, model, x, generator=torch.Generator().manual_seed(3), low_memory=low) for low in (0, 1)
    ]
    values = [rule(x, y) for rule in rules]
    torch.testing.assert_close(values[1], values[0])
    expected, found = grads(rules[0], x, y), grads(rules[1], x, y)
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key])
    rules[1].zero_grad()
    (8 * rules[1](x, y)).backward()
    torch.testing.assert_close(model[0][0].weight.grad, 8 * expected["model.0.0.weight"])


class Stored:
    """Counts the bytes that graphs store for backward passes."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, t):
        self.now += t.nbytes
        self.peak = max(self.peak, self.now)
        packed = Packed()
        packed.tensor = t
        weakref.finalize(packed, self.free, t.nbytes)
        return packed

    def free(self, size):
        self.now -= size


class Packed:
    """A stored tensor."""


def peak(depth, **settings):
    x, y, stored = torch.rand(64, 8), torch.arange(64) % K, Stored()
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(depth)]
    rule = build("pred", nn.Sequential(*blocks, nn.Linear(8, K)), x, **settings)
    with torch.autograd.graph.saved_tensors_hooks(stored.pack, lambda packed: packed.tensor):
        rule(x, y).backward()
    return stored.peak


def test_with_low_memory_the_activations_of_one_block_are_stored_whatever_the_depth():
    assert peak(30) > 5 * peak(5)
    parameters = 30 * 4 * (8 * 8 + 8 + K * 8 + K)  # whose surrogates remain
    assert peak(30, low_memory=True) < peak(1, low_memory=True) + 2 * parameters


def test_low_memory_refuses_half_precision_whose_gradients_a_scaler_must_scale():
    rule = build("pred", mlp().float(), batch()[0].float(), low_memory=True)
    with torch.autocast("cpu", torch.float16), pytest.raises(TypeError, match="bfloat16"):
        rule(batch()[0].float(), batch()[1])
