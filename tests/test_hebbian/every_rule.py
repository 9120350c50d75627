"""Every registered rule on one net, the facts that tell rules apart, and laws on drawn batches."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hebbian import LeakyRNN, registry
from hebbian.links import LINKS
from tests.helpers import FEED_FORWARD
from tests.test_hebbian import helpers

NAMES = sorted(registry.list_rules())
RECURRENT = set(NAMES) - set(FEED_FORWARD)
CHAINS = {name for name in FEED_FORWARD if "chain" in registry.find_rule(name).needs}
LINKED = {name for name in NAMES if LINKS in registry.find_rule(name).needs}  # refuse unknown layers
AT_LAYERS = set(FEED_FORWARD) - CHAINS - {"backprop", "weight-perturbation"}
FEEDBACK = {name for name in AT_LAYERS if registry.find_rule(name).family == "feedback"}
LOCAL = sorted(AT_LAYERS - FEEDBACK - {"node-perturbation", "three-factor"})
SEEDS = st.integers(0, 2**32 - 1)


def net(classes=4, name=None):
    """Return a perceptron, or for a rule that needs one a net with a recurrent cell, for 20 inputs."""
    model = helpers.mlp(20, 16, 12, classes).float()
    if name in RECURRENT:
        model[0] = nn.Sequential(nn.Unflatten(1, (4, 5)), LeakyRNN(5, 16, tau=3.0))
    return model


def data(n=8, dtype=torch.float32, seed=1):
    return helpers.batch(n, 20, dtype=dtype, seed=seed)


def build(name, model, example=None, **settings):
    torch.manual_seed(0)
    if example is None:
        example = torch.zeros(2, 20, dtype=next(model.parameters()).dtype)
    return registry.build(name, model, F.cross_entropy, example=example, classes=4, **settings)


def grads(rule, x, y, seed=2):
    """Return minus the update of a copy of the rule, whose state does not change."""
    return helpers.grads(copy.deepcopy(rule), x, y, seed)


class Hushed(TorchDispatchMode):
    """Every random number is the same one: of noisy rules, too, the laws of quiet ones must then hold."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        drawn = op(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded not in op.tags and op.namespace != "hebbian":
            return drawn
        if drawn.dtype == torch.int16:  # from -2**15 to 0
            return drawn.fill_(-3 * 2**13)
        if op is torch.ops.aten.rand_like.default:  # which halves a sample, (N, values)
            return drawn.copy_(torch.arange(drawn.shape[1]) % 2)
        return drawn.fill_(0.3 if drawn.is_floating_point() else 1)


def hushed(rule, x, y):
    with Hushed():
        return grads(rule, x, y)


def holds_for(**draws):
    """Hold a law (name, ...) to three examples, and to thirty among the slow tests."""

    def decorate(law):
        @pytest.mark.parametrize("examples", [3, pytest.param(30, marks=pytest.mark.slow)])
        def test(name, examples):
            @settings(max_examples=examples)
            @given(**draws)
            def check(**drawn):
                law(name, **drawn)

            check()

        return test

    return decorate
