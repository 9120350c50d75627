"""Helpers of several test packages."""

import re
from pathlib import Path

import torch
from click.testing import CliRunner

from hebbian.registry import list_rules
from trainers.cli.main import main
from trainers.networks import mlp, uniform

ROOT = Path(__file__).parent.parent
"""The repository."""
FEED_FORWARD = sorted(name for name, rule in list_rules().items() if "recurrent" not in rule.traits)
"""The rules that learn on a net without a recurrent cell."""


def without_numbers(text):
    """Return the text without digests and decimal fractions, which contain a name like "003" by chance."""
    return re.sub(r"[0-9a-f]{16,}|\d+\.\d+(e[-+]?\d+)?", "", text)


def samples(n, features, classes, dtype=torch.float32):
    """Return inputs (n, features) from N(0, 1) and classes (n,), the same ones each time."""
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, features, generator=g, dtype=dtype), torch.randint(0, classes, (n,), generator=g)


def small_mlp(classes=3, dtype=torch.float32, **settings):
    """Return a perceptron of two hidden layers for 12 inputs, with the same initial weights each time."""
    model = mlp(12, [9, 6], classes, **settings)
    uniform(model, torch.Generator().manual_seed(0))
    return model.to(dtype)


def same_state(a, b):
    """Return whether two modules, or two state dicts, hold the same tensors."""
    a, b = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in zip(a.values(), b.values(), strict=True))


def call_hebbian(*words, **environment):
    """Run the `hebbian` command without a folder of data."""
    return CliRunner().invoke(main, [str(word) for word in words], env={"HEBBIAN_DATA": "", **environment})
