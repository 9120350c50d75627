"""On every net a rule is the rule, or refuses by name: it never becomes another one in silence."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from hebbian import (
    Backprop,
    FeedbackAlignment,
    Hebbian,
    NodePerturbation,
    RandomFeedbackOnline,
    RewardModulatedHebb,
    SpikeTiming,
    frozen,
    oja,
    registry,
)
from hebbian.chain import blocks
from hebbian.recurrent import LeakyRNN
from hebbian.synapse import weight_layers
from hebbian.two_factor import update
from tests.test_hebbian.helpers import assert_same, batch, grads

NAMES = sorted(registry.list_rules())
CHAINS = {name for name in NAMES if "chain" in registry.find_rule(name).needs}
AT_LAYERS = set(NAMES) - CHAINS - {"backprop", "weight-perturbation"}
FEEDBACK = {name for name in AT_LAYERS if registry.find_rule(name).family == "feedback"}
LOCAL = sorted(AT_LAYERS - FEEDBACK - {"node-perturbation", "three-factor"})
REFUSED = {
    "keyword call": set(),
    "compiled layer": set(),
    "compiled model": set(),
    "checkpoint": FEEDBACK | {"pc", "pc-fixed"},
    "re-entrant checkpoint": (AT_LAYERS | CHAINS) - {"node-perturbation", "three-factor"},
    "functional call": AT_LAYERS,
    "functional call as well": AT_LAYERS,
    "attention": AT_LAYERS,
    "tied": AT_LAYERS,
    "called twice": AT_LAYERS - FEEDBACK,
}
"""By the way in which a net uses its layers, the rules that refuse it; all others must be right.

Equilibrium propagation refuses all of them.  Feedback through a layer that is called twice is tested in
test_feedback.py, on any graph.
"""
KINDS = {"backprop", "fa", "softhebb", "node-perturbation", "stdp", "dfa", "rflo", "pc"}


class Middle(nn.Module):
    """Two weight layers that are used in one of several ways."""

    def __init__(self, way, by_hand):
        super().__init__()
        self.way, self.by_hand = way, by_hand
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        if way == "attention":
            self.attend = nn.MultiheadAttention(4, 1, batch_first=True)
        if way == "tied":
            self.b.weight = self.a.weight
        if way == "compiled layer" and not by_hand:
            self.b.compile(backend="eager")

    def both(self, h):
        return torch.tanh(self.b(torch.tanh(self.a(h))))

    def forward(self, h):
        if self.by_hand:
            return self.reference(h)
        match self.way:
            case "functional call":
                return torch.tanh(F.linear(torch.tanh(self.a(h)), self.b.weight, self.b.bias))
            case "functional call as well":
                return self.both(h) + F.linear(h, self.b.weight)
            case "keyword call":
                return torch.tanh(self.b(input=torch.tanh(self.a(input=h))))
            case "checkpoint":
                return checkpoint(self.both, h, use_reentrant=False)
            case "re-entrant checkpoint":
                return checkpoint(self.both, h, use_reentrant=True)
            case "called twice":
                return torch.tanh(self.b(self.both(h)))
            case "attention":
                tokens = h.view(-1, 4, 4)
                return self.both(self.attend(tokens, tokens, tokens)[0].flatten(1))
        return self.both(h)

    def reference(self, h):
        """The same function, by plain calls where both layers are called once, else by plain algebra."""
        if self.way not in {"functional call as well", "called twice", "attention", "tied"}:
            return self.both(h)
        if self.way == "attention":
            h = self.attended(h.view(-1, 4, 4)).flatten(1)
        out = torch.tanh(torch.tanh(h @ self.a.weight.T + self.a.bias) @ self.b.weight.T + self.b.bias)
        if self.way == "functional call as well":
            return out + h @ self.b.weight.T
        return torch.tanh(out @ self.b.weight.T + self.b.bias) if self.way == "called twice" else out

    def attended(self, tokens):
        q, k, v = (tokens @ self.attend.in_proj_weight.T + self.attend.in_proj_bias).chunk(3, -1)
        out = (q @ k.mT / 2).softmax(-1) @ v
        return out @ self.attend.out_proj.weight.T + self.attend.out_proj.bias


def net(way, by_hand=False):
    torch.manual_seed(0)
    middle = Middle(way, by_hand)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 16), nn.Tanh()), middle, nn.Linear(16, 4)).double()
    if way == "compiled model" and not by_hand:
        model.compile(backend="eager")
    if way.startswith("compiled"):
        model(batch(2, 20)[0])  # the compiled graph has no hooks
    return model


def build(name, model, example=None, **settings):
    torch.manual_seed(0)
    example = batch(2, 20)[0] if example is None else example
    return registry.build(name, model, F.cross_entropy, example=example, classes=4, **settings)


def cells():
    for way in REFUSED:
        for name in NAMES:
            fast = not way.startswith("compiled") or name in KINDS
            yield pytest.param(way, name, marks=() if fast else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:The .grad attribute of")
@pytest.mark.parametrize(("way", "name"), [*cells()])
def test_a_rule_is_the_rule_or_refuses_by_name(way, name):
    x, y = batch(8, 20)
    torch._dynamo.reset() if way.startswith("compiled") else None
    if name in REFUSED[way] or name == "eqprop":
        with pytest.raises((TypeError, RuntimeError)) as refusal:
            grads(build(name, net(way)), x, y)
        message = " ".join([str(refusal.value), *getattr(refusal.value, "__notes__", [])])
        assert any(part in message for part in ("'1'", "'1.", "Middle")), message
    elif (way, name in FEEDBACK) == ("called twice", True):
        assert grads(build(name, net(way)), x, y)
    else:
        assert_same(grads(build(name, net(way)), x, y), grads(build(name, net(way, by_hand=True)), x, y))


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


@pytest.mark.parametrize("name", sorted(set(NAMES) - CHAINS))
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


# ---- layers -------------------------------------------------------------------------------------


class Backwards(nn.Module):
    """Its layers are registered last to first."""

    def __init__(self):
        super().__init__()
        self.head, self.b, self.a = nn.Linear(6, 4), nn.Linear(6, 6), nn.Linear(20, 6)

    def forward(self, x):
        return self.head(torch.tanh(self.b(torch.tanh(self.a(x)))))


@pytest.mark.parametrize("name", LOCAL)
def test_the_default_layers_are_all_but_the_last_that_the_model_calls(name):
    def found(**layers):
        torch.manual_seed(0)
        return grads(build(name, Backwards().double(), **layers), *batch(8, 20))

    assert_same(found(), found(layers=["a", "b"]))


def test_a_layer_without_torchs_forward_is_refused():
    class Masked(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight.tril(), self.bias)

    model = nn.Sequential(Masked(6, 6), nn.Linear(6, 4))
    with pytest.raises(TypeError, match=r"layer '0' \(Masked\) has a forward of its own"):
        FeedbackAlignment(model, F.cross_entropy)
    model[0] = nn.Linear(6, 6)
    model[0].forward = lambda x: F.linear(x, model[0].weight.tril())
    with pytest.raises(TypeError, match=r"layer '0' \(Linear\) has a forward of its own"):
        FeedbackAlignment(model, F.cross_entropy)


class Readout(nn.Module):
    """A cell of torch and a readout, a layer or a parameter."""

    def __init__(self, linear):
        super().__init__()
        self.cell = nn.RNN(5, 6, batch_first=True)
        self.head = nn.Linear(6, 4) if linear else nn.ParameterList([torch.randn(4, 6)])

    def forward(self, x):
        h = self.cell(x.view(-1, 4, 5))[0][:, -1]
        return self.head(h) if isinstance(self.head, nn.Linear) else h @ self.head[0].T


@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_a_rule_without_a_layer_to_act_at_is_refused(name):
    with pytest.raises(ValueError, match="has no layer of Readout to act at"):
        build(name, Readout(linear=name in LOCAL).double())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_scripted_layers_are_refused(name):
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(20, 6), nn.Tanh())), nn.Linear(6, 4))
    with pytest.raises(TypeError, match="module '0' is scripted"):
        build(name, model.double())


@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_a_weight_that_a_hook_computes_learns_by_the_rule_or_is_refused(name):
    """The layer is pruned by a mask of ones, so that it computes what it did."""
    plain, hooked = (nn.Sequential(nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 4)).double() for _ in range(2))
    hooked.load_state_dict(plain.state_dict())
    prune.identity(hooked[0], "weight")
    if name in LOCAL:
        with pytest.raises(TypeError, match="weight of layer '0' is set by a hook"):
            build(name, hooked)
        return
    found = grads(build(name, hooked), *batch(8, 20))
    found["model.0.weight"] = found.pop("model.0.weight_orig")
    assert_same(found, grads(build(name, plain), *batch(8, 20)))


@pytest.mark.parametrize("name", sorted(AT_LAYERS))
def test_a_model_that_returns_no_tensor_is_refused(name):
    class Pair(nn.Sequential):
        def forward(self, x):
            return super().forward(x), None

    with pytest.raises(TypeError, match="model Pair returns a tuple, expected a tensor"):
        grads(build(name, Pair(nn.Linear(20, 6), nn.Linear(6, 4)).double()), *batch(8, 20))


@pytest.mark.parametrize("layer", [nn.Conv1d(3, 4, 3), nn.Conv2d(3, 4, 3)])
def test_an_input_without_a_batch_is_refused(layer):
    rule = Hebbian(nn.Sequential(layer), {"0": oja})
    with pytest.raises(ValueError, match=r"layer '0': input of shape \(3, 8.*expected a batch"):
        rule(torch.randn(3, *[8] * len(layer.stride)))


def test_a_layer_that_is_not_chosen_may_be_used_in_any_way():
    model = net("attention")
    rule = Hebbian(model, {"1.a": oja, "1.b": oja}, F.cross_entropy)
    assert set(grads(rule, *batch(8, 20))) == {
        "model.1.a.weight",
        "model.1.b.weight",
        "model.2.weight",
        "model.2.bias",
    }


# ---- blocks -------------------------------------------------------------------------------------


def chains():
    """Return a flat chain and one of nested blocks with the same weights; one activation occurs twice."""
    torch.manual_seed(0)
    relu = nn.ReLU()
    first = nn.BatchNorm2d(1, affine=False), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), relu, nn.MaxPool2d(2)
    second = nn.Flatten(), nn.Linear(36, 8), relu, nn.Dropout(0.0)
    third = nn.Linear(8, 7), nn.Sigmoid()
    nested = nn.Sequential(
        nn.Sequential(*first), nn.Sequential(*second), nn.Sequential(*third), nn.Linear(7, 4)
    )
    flat = nn.Sequential(*first, *second, *third, nested[3])
    return copy.deepcopy(flat).double(), copy.deepcopy(nested).double()


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_a_flat_chain_and_one_of_nested_blocks_are_one_rule(name):
    x, y = batch(8, 1, 8, 8)
    flat, nested = (grads(build(name, model, x), x, y) for model in chains())
    assert len(flat) == len(nested)
    for a, b in zip(flat.values(), nested.values(), strict=True):
        torch.testing.assert_close(a, b)


def test_children_without_weights_belong_to_the_block_before_them():
    flat, nested = chains()
    assert [block.name for block in blocks(flat)] == ["0+1+2+3+4", "5+6+7+8", "9+10", "11"]
    assert [block.name for block in blocks(nested)] == ["0", "1", "2", "3"]
    before = list(flat.state_dict())
    registry.build("dfa", flat, F.cross_entropy, example=batch(2, 1, 8, 8)[0], classes=4)
    assert list(flat.state_dict()) == before


class Skip(nn.Sequential):
    """A chain with a skip connection."""

    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Skip(nn.Linear(20, 20), nn.Linear(20, 20)), "got Skip; wrap the stages"),
        (nn.Sequential(nn.Flatten(), nn.Linear(20, 4), nn.ReLU()), "at least two blocks with weights, got 1"),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), "at least two blocks with weights, got 0"),
    ],
)
@pytest.mark.parametrize("name", sorted(CHAINS))
def test_a_model_that_is_not_a_chain_of_blocks_is_refused(name, model, message):
    with pytest.raises(TypeError, match=message):
        build(name, model, torch.zeros(2, 20))


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_what_is_not_a_run_of_the_blocks_is_refused(name):
    x, y = batch(8, 20)
    with pytest.raises(TypeError, match="block '0' returns a tuple, expected a tensor"):
        build(name, nn.Sequential(nn.RNN(20, 6), nn.Linear(6, 4)).double())(x, y)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 6)), nn.ReLU(), nn.Linear(6, 4)).double()
    rule = build(name, model)
    with pytest.raises(ValueError, match=r"input of shape \(20,\), expected a batch"):
        rule(x[0], y[0])
    hook = model.register_forward_pre_hook(lambda model, args: (2 * args[0],))
    with pytest.raises(RuntimeError, match="the model has forward hooks"):
        rule(x, y)
    hook.remove()
    model[0][0] = nn.Linear(20, 6).double()
    if name == "eqprop":  # lists the layers inside blocks
        with pytest.raises(RuntimeError, match="layers of the model were replaced"):
            rule(x, y)
    else:
        assert "model.0.0.weight" in grads(rule, x, y)
    model[2] = nn.Linear(6, 4).double()
    with pytest.raises(RuntimeError, match="children of the model were replaced"):
        rule(x, y)


@pytest.mark.parametrize("name", ["forward-forward", "eqprop", "sim", "predsim", "rstdp"])
@pytest.mark.parametrize("targets", [F.one_hot(batch(8, 20)[1], 4).double(), batch(1, 20)[1]])
def test_a_rule_that_needs_a_class_of_every_sample_refuses_other_targets(name, targets):
    model = nn.Sequential(nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    expected = "expected one class for each of 8 samples|to match target batch_size"
    with pytest.raises(ValueError, match=expected):
        build(name, model)(batch(8, 20)[0], targets)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("cell", "features"),
    [
        (nn.GRU(5, 6, batch_first=True), 6),
        (nn.LSTM(5, 6, bidirectional=True, batch_first=True), 12),
        (nn.LSTM(5, 6, proj_size=3, bidirectional=True, batch_first=True), 6),
    ],
)
def test_features_of_a_recurrent_cell_are_not_taken_for_channels(cell, features):
    class Outputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            return self.cell(x)[0]

    model = nn.Sequential(Outputs(), nn.Flatten(), nn.Linear(7 * features, 4))
    with pytest.raises(ValueError, match=rf"block '0' returns \(8, 7, {features}\) with features last"):
        build("sim", model, torch.randn(8, 7, 5))


def test_a_skip_inside_a_block_is_not_lost_by_equilibrium_propagation():
    model = nn.Sequential(nn.Sequential(Skip(nn.Linear(20, 20))), nn.Linear(20, 4))
    with pytest.raises(TypeError, match="cannot use Skip"):
        build("eqprop", model, torch.zeros(2, 20))


@pytest.mark.parametrize("name", ["dfa", "pred", "pc", "mono-forward"])
def test_a_block_that_changes_its_input_in_place_is_refused(name):
    model = nn.Sequential(
        nn.Linear(20, 6), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6)), nn.Linear(6, 4)
    )
    with pytest.raises(RuntimeError, match="block '1' changes its input in place"):
        grads(build(name, model.double()), *batch(8, 20))


@pytest.mark.parametrize("name", ["sim", "predsim", "clapp", "dtp"])
@pytest.mark.parametrize("features", [12, 7])
def test_features_on_the_last_axis_are_not_taken_for_channels(name, features):
    class Mean(nn.Module):
        def forward(self, h):
            return h.mean(1)

    hidden = [nn.Sequential(nn.Linear(n, features), nn.LayerNorm(features), nn.ReLU()) for n in (5, features)]
    readout = nn.Sequential(Mean(), nn.Linear(features, 4))
    with pytest.raises(ValueError, match=rf"block '0' returns \(8, 7, {features}\) with features last"):
        build(name, nn.Sequential(*hidden, readout), torch.randn(8, 7, 5))
    assert grads(
        build("pred", nn.Sequential(*hidden, readout), torch.randn(8, 7, 5)),
        torch.randn(8, 7, 5),
        torch.arange(8) % 4,
    )


def test_maps_of_one_place_have_no_standard_deviation():
    block = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    readout = nn.Sequential(nn.Flatten(), nn.Linear(8, 4))
    with pytest.raises(ValueError, match="maps of one place"):
        build("sim", nn.Sequential(block, readout), torch.rand(2, 1, 9, 9))
    block.append(nn.Flatten())
    x, y = torch.rand(8, 1, 9, 9), torch.arange(8) % 4
    assert grads(build("sim", nn.Sequential(block, readout), x), x, y)["model.0.0.weight"].any()


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


# ---- the model remains an ordinary one ----------------------------------------------------------


def makers():
    yield lambda m: FeedbackAlignment(m, F.cross_entropy)
    yield lambda m: Hebbian(m, {"0.0": frozen}, F.cross_entropy)
    yield lambda m: SpikeTiming(m, ["0.0"], F.cross_entropy)
    yield lambda m: NodePerturbation(m, F.cross_entropy)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
@pytest.mark.parametrize("make", [*makers()])
def test_a_rule_leaves_no_trace_in_the_model(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 16), nn.ReLU()), nn.Linear(16, 4)).double()
    rule = make(model)
    assert b"hebbian" not in pickle.dumps(model)
    x, y = batch(8, 20)
    rule(x, y)
    with pytest.raises(RuntimeError):
        rule(x[:, :3], y)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(torch.jit.script(model)(x), model(x))
    gone = weakref.ref(rule)
    del rule
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"eqprop"}))
def test_a_pickled_rule_is_the_same_rule(name):
    rule = build(name, net("plain"))
    x, y = batch(8, 20)
    assert_same(grads(pickle.loads(pickle.dumps(rule)), x, y), grads(copy.deepcopy(rule), x, y))


def test_gradients_are_recorded_again_after_a_refusal():
    with pytest.raises(RuntimeError):
        Hebbian(net("called twice"), {"1.a": oja, "1.b": oja}, F.cross_entropy)(*batch(8, 20))
    assert torch.is_grad_enabled()
    assert grads(Backprop(net("plain"), F.cross_entropy), *batch(8, 20))


class Counting(nn.ReLU):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Skipping(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + x


@pytest.mark.parametrize(
    ("wrap", "calls"),
    [
        (lambda after: nn.Sequential(nn.Linear(20, 20), after), 0),
        (lambda after: nn.Sequential(nn.Sequential(nn.Linear(20, 20)), nn.Sequential(after)), 0),
        (lambda after: Skipping(nn.Linear(20, 20), after), 1),  # its own forward could call anything
        (
            lambda after: nn.Sequential(nn.Linear(20, 20), after, nn.BatchNorm1d(20)),
            1,
        ),  # statistics to be kept
    ],
    ids=["flat", "nested", "own forward", "statistics"],
)
def test_without_a_criterion_what_follows_the_last_layer_runs_only_if_it_can_matter(wrap, calls):
    after = Counting()
    model = wrap(after).double()
    rule = Hebbian(model, {weight_layers(model)[0]: oja})
    x, _ = batch(8, 20)
    rule(x).backward()
    assert after.calls == calls
    assert torch.is_grad_enabled()
    after.register_forward_hook(lambda *_: None)
    rule(x)
    assert after.calls == calls + 1


@pytest.mark.parametrize("nested", [False, True])
def test_without_a_criterion_a_layer_that_occurs_twice_in_a_chain_is_refused(nested):
    layer = nn.Linear(20, 20).double()
    chain = [nn.Sequential(layer), nn.Sequential(layer)] if nested else [layer, layer]
    model = nn.Sequential(*chain)
    with pytest.raises(RuntimeError, match="called more than once"):
        Hebbian(model, {weight_layers(model)[0]: oja})(batch(8, 20)[0])
