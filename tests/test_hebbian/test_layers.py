"""At which layers of a model a rule acts, and which layers it refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from hebbian import FeedbackAlignment, Hebbian, oja
from tests.test_hebbian.every_rule import AT_LAYERS, FEED_FORWARD, LINKED, LOCAL, build
from tests.test_hebbian.helpers import assert_same, batch, grads
from tests.test_hebbian.odd_nets import net


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


class Thrice(nn.Module):
    def forward(self, x):
        return 3 * x


@pytest.mark.parametrize("name", [name for name in FEED_FORWARD if name not in LINKED])
def test_a_hook_that_changes_the_output_of_a_layer_is_like_a_module_after_it(name):
    def found(hooked):
        torch.manual_seed(0)
        below, layer, readout = nn.Linear(20, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        if hooked:
            layer.register_forward_hook(lambda module, args, out: 3 * out)
        middle = (layer, nn.Tanh()) if hooked else (layer, Thrice(), nn.Tanh())
        model = nn.Sequential(nn.Sequential(below, nn.Tanh()), nn.Sequential(*middle), readout).double()
        rule = build(name, model, batch(8, 20)[0])
        torch.manual_seed(1)
        rule(*batch(8, 20)).backward()
        return {
            str(i): p.weight.grad for i, p in enumerate((below, layer, readout)) if p.weight.grad is not None
        }

    assert_same(found(True), found(False))


@pytest.mark.parametrize("name", ["fa", "oja"])
def test_a_layer_that_the_model_passes_by_is_named(name):
    class PassesBy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(20, 6), nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x):
            return self.c(self.b(self.a(x)) if self.training else self.a(x))

    model = PassesBy().double()
    rule = build(name, model)
    model.eval()
    with pytest.raises(TypeError, match="layer 'b' is not called as a module in the forward pass"):
        rule(*batch(8, 20))


class Residual(nn.Module):
    """A graph that is no chain, with its layers deep inside."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU())
        self.body = nn.ModuleDict({"conv": nn.Conv1d(4, 4, 3, padding=1)})
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.stem(x)
        return self.head((h + self.body["conv"](h)).mean(2))


def test_layers_learn_inside_any_graph_and_what_follows_learns_from_the_criterion():
    torch.manual_seed(0)
    model = Residual()
    x, y = torch.randn(5, 2, 9), torch.tensor([0, 1, 2, 0, 1])
    found = grads(Hebbian(model, {"stem.0": oja, "body.conv": oja}, F.cross_entropy), x, y)
    assert set(found) == {
        "model.stem.0.weight",
        "model.body.conv.weight",
        "model.head.weight",
        "model.head.bias",
    }
    alone = grads(Hebbian(model, {"body.conv": oja}), x, None)
    torch.testing.assert_close(found["model.body.conv.weight"], alone["model.body.conv.weight"])


def test_a_layer_that_is_not_chosen_may_be_used_in_any_way():
    model = net("attention")
    rule = Hebbian(model, {"1.a": oja, "1.b": oja}, F.cross_entropy)
    assert set(grads(rule, *batch(8, 20))) == {
        "model.1.a.weight",
        "model.1.b.weight",
        "model.2.weight",
        "model.2.bias",
    }


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
