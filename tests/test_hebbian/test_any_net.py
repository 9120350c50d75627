"""On every net a rule is the rule, or refuses by name: it never becomes another one in silence."""

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from hebbian import Backprop, Hebbian, NodePerturbation, RandomFeedbackOnline, RewardModulatedHebb
from hebbian.recurrent import LeakyRNN
from hebbian.two_factor import update
from tests.test_hebbian.every_rule import AT_LAYERS, CHAINS, FEED_FORWARD, FEEDBACK, LINKED, LOCAL, build
from tests.test_hebbian.helpers import assert_same, batch, grads
from tests.test_hebbian.odd_nets import net

REFUSED = {
    "keyword call": set(),
    "compiled layer": set(),
    "compiled model": set(),
    "checkpoint": FEEDBACK | {"pc-fixed"},
    "re-entrant checkpoint": (AT_LAYERS | CHAINS) - {"node-perturbation", "three-factor"},
    "functional call": AT_LAYERS,
    "functional call as well": AT_LAYERS,
    "attention": AT_LAYERS,
    "tied": AT_LAYERS,
    "called twice": AT_LAYERS - FEEDBACK,
}
"""By the way in which a net uses its layers, the rules that refuse it; all others must be right.

The rules in `LINKED` refuse all of them.  Feedback through a layer that is called twice is tested in
test_feedback.py, on any graph.
"""
KINDS = {"backprop", "fa", "softhebb", "node-perturbation", "stdp", "dfa", "pc"}


def cells():
    for way in REFUSED:
        for name in FEED_FORWARD:
            fast = not way.startswith("compiled") or name in KINDS
            yield pytest.param(way, name, marks=() if fast else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:The .grad attribute of")
@pytest.mark.parametrize(("way", "name"), [*cells()])
def test_a_rule_is_the_rule_or_refuses_by_name(way, name):
    x, y = batch(8, 20)
    torch._dynamo.reset() if way.startswith("compiled") else None
    if name in REFUSED[way] or name in LINKED:
        with pytest.raises((TypeError, RuntimeError)) as refusal:
            grads(build(name, net(way)), x, y)
        message = " ".join([str(refusal.value), *getattr(refusal.value, "__notes__", [])])
        assert any(part in message for part in ("'1'", "'1.", "Middle")), message
        if way == "checkpoint":  # PyTorch before 2.13 keeps its hooks until the frames of the error are gone
            del refusal
            gc.collect()
    elif (way, name in FEEDBACK) == ("called twice", True):
        assert grads(build(name, net(way)), x, y)
    else:
        assert_same(grads(build(name, net(way)), x, y), grads(build(name, net(way, by_hand=True)), x, y))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_the_cell_of_online_learning_refuses_a_second_forward_pass(reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.cell = nn.Linear(5, 5), LeakyRNN(5, 6)

        def forward(self, x):
            return checkpoint(self.cell, self.inner(x), use_reentrant=reentrant)

    model = nn.Sequential(Checkpointed(), nn.Linear(6, 4)).double()
    x, y = batch(8, 3, 5)
    with pytest.raises(RuntimeError, match="LeakyRNN is called inside activation checkpointing"):
        RandomFeedbackOnline(model, F.cross_entropy, x)(x, y)
    assert model(x).shape == (8, 4)


# ---- errors past plastic layers -----------------------------------------------------------------


class Residual(nn.Module):
    """Blocks with norms and identity skips; ``shift`` is a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(20, 6)
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.shift = nn.Parameter(torch.zeros(6))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        h = self.stem(x) + self.shift
        for norm, layer in zip(self.norms[:2], self.layers, strict=True):
            h = h + layer(torch.tanh(norm(h)))
        return self.head(self.norms[2](h))


@pytest.mark.parametrize("name", LOCAL)
def test_no_error_passes_the_last_plastic_layer_by_a_skip(name):
    torch.manual_seed(0)
    model = Residual().double()
    x, y = batch(8, 20)
    weights = {"model.stem.weight", "model.layers.0.weight", "model.layers.1.weight"}
    after = {"model.norms.2.weight", "model.norms.2.bias", "model.head.weight", "model.head.bias"}
    found = grads(build(name, model), x, y)
    assert set(found) == weights | after
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    assert_same({k: found[k] for k in after}, {k: model.get_parameter(k[6:]).grad for k in after})
    model.head.weight.data.mul_(-1)
    if name != "rstdp":  # whose reward depends on the scores
        turned = grads(build(name, model), x, y)
        assert_same({k: turned[k] for k in weights}, {k: found[k] for k in weights})


@pytest.mark.parametrize("make", [NodePerturbation, RewardModulatedHebb])
def test_perturbations_teach_weight_layers_only(make):
    found = grads(make(Residual().double(), F.cross_entropy), *batch(8, 20))
    layers = ["stem", "layers.0", "layers.1", "head"]
    kinds = ["weight", "bias"] if make is NodePerturbation else ["weight"]
    assert set(found) == {f"model.{layer}.{kind}" for layer in layers for kind in kinds}


@pytest.mark.parametrize("name", sorted(AT_LAYERS - FEEDBACK))
def test_a_change_in_place_after_a_layer_does_not_reach_its_update(name):
    class Residue(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.inplace = inplace
            self.a, self.b, self.head = nn.Linear(20, 6), nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x):
            h = torch.tanh(self.a(x))
            out = self.b(h)
            h = h.add_(out) if self.inplace else h + out
            return self.head(h)

    def found(inplace):
        torch.manual_seed(0)
        return grads(build(name, Residue(inplace).double()), *batch(8, 20))

    assert_same(found(True), found(False))


class UNet(nn.Module):
    """Layers in a dictionary, a skip across the net, weights of other kinds, and a recurrent cell."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                "wide": nn.Conv1d(1, 3, 3, padding=1),
                "deep": nn.Conv1d(3, 4, 2, stride=2),
                "up": nn.ConvTranspose1d(4, 4, 2, stride=2),
                "join": nn.Conv1d(7, 5, 3, padding=1),
                "cell": nn.GRU(5, 6, batch_first=True),
                "head": nn.Linear(6, 4),
            }
        )

    def forward(self, x):
        wide = torch.tanh(self.layers["wide"](x[:, None]))
        deep = torch.tanh(self.layers["deep"](wide))
        joined = torch.tanh(self.layers["join"](torch.cat([wide, self.layers["up"](deep)], 1)))
        return self.layers["head"](self.layers["cell"](joined.mT)[0][:, -1])


def recorded(model, paths, x):
    """Return input and output of the layers at ``paths``."""
    seen = {}
    for path in paths:
        layer = model.get_submodule(path)
        handle = layer.register_forward_hook(
            lambda layer, args, out, path=path: seen.update({path: (*args, out)})
        )
        model(x)
        handle.remove()
    return seen


@pytest.mark.parametrize("name", sorted(set(FEED_FORWARD) - CHAINS))
def test_a_rule_on_a_net_with_skips_and_a_cell(name):
    torch.manual_seed(0)
    model = UNet().double()
    x, y = batch(8, 20)
    rule = build(name, model)
    expected = grads(Backprop(copy.deepcopy(model), F.cross_entropy), x, y)
    hidden = [f"layers.{key}" for key in ("wide", "deep", "join")]
    weights = {f"model.{path}.weight" for path in hidden}
    after = {k for k in expected if ".cell." in k or ".head." in k}
    if name in FEEDBACK:  # by the weights themselves
        rule.backward_weight = lambda layer: layer.weight.detach()
        found = grads(rule, x, y)
        assert_same({k: found[k] for k in expected}, expected)
    elif name in LOCAL:
        twin = copy.deepcopy(rule)
        found = grads(rule, x, y)
        assert found.keys() == weights | after
        assert_same({k: found[k] for k in after}, {k: expected[k] for k in after})
        for path, (h, out) in recorded(model, hidden, x).items() if isinstance(rule, Hebbian) else ():
            layer = twin.model.get_submodule(path)
            change = update(layer, h, out, twin.plasticity[layer])
            torch.testing.assert_close(found[f"model.{path}.weight"], -change)
    elif name in ("node-perturbation", "three-factor"):
        layers = {k for k in expected if "cell" not in k and ".up." not in k}
        assert grads(rule, x, y).keys() == {k for k in layers if name == "node-perturbation" or "weight" in k}
    else:
        assert grads(rule, x, y).keys() == expected.keys()
