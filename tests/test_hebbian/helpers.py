"""Networks, data and gradients for the tests of rules."""

from itertools import pairwise

import torch
from torch import nn


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mlp(*sizes, activation=nn.Tanh):
    """Return a chain of one block for each hidden layer and a readout, with the same weights each time."""
    torch.manual_seed(0)
    *hidden, (last, scores) = pairwise(sizes)
    blocks = [nn.Sequential(nn.Linear(a, b), activation()) for a, b in hidden]
    return nn.Sequential(*blocks, nn.Linear(last, scores)).double()


def batch(n, *shape, classes=4, dtype=torch.float64, seed=1):
    """Return inputs (n, *shape) from N(0, 1) and classes (n,), the same ones for each seed."""
    g = seeded(seed)
    return torch.randn(n, *shape, generator=g, dtype=dtype), torch.randint(0, classes, (n,), generator=g)


def grads(rule, x, y, seed=0):
    """Return minus the update of each parameter that learns; noise is the same for each seed."""
    torch.manual_seed(seed)
    rule.zero_grad()
    rule(x, y).backward()
    return {n: p.grad.clone() for n, p in rule.named_parameters() if p.grad is not None}


def half_squares(scores, y):
    return (scores - y).square().sum(1).mean() / 2


def assert_same(found, expected, rtol=1e-9, atol=1e-12):
    """Assert that two dicts hold the same tensors, up to rounding."""
    assert found.keys() == expected.keys()
    for k in expected:
        torch.testing.assert_close(found[k], expected[k], rtol=rtol, atol=atol)
