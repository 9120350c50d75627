"""Models that are not `nn.Sequential`: traced into blocks, or refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import divide
from hebbian.chain import blocks
from tests.test_hebbian.every_rule import CHAINS, LINKED, build
from tests.test_hebbian.helpers import batch, grads


class Residual(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(units), nn.Linear(units, units)

    def forward(self, h):
        return h + torch.tanh(self.linear(self.norm(h)))


class Stem(nn.Module):
    """What comes before the residual blocks; its shift is a parameter of its own, its scale a buffer."""

    def __init__(self, inputs, units):
        super().__init__()
        self.linear, self.shift = nn.Linear(inputs, units), nn.Parameter(torch.ones(units))
        self.register_buffer("scale", torch.full((units,), 2.0))

    def forward(self, x):
        return torch.relu(self.linear(x.flatten(1)) * self.scale + self.shift)


class ResidualNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Stem(20, 8)
        self.layers = nn.Sequential(Residual(8), Residual(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x, scale=None):
        h = self.layers(self.stem(x))
        return self.head(F.leaky_relu(h if scale is None else scale * h))


def residual_net():
    torch.manual_seed(0)
    return ResidualNet().double()


def chain_of(model):
    """Return the same layers as a chain written by hand."""
    leaky = nn.Sequential(model.layers[1], nn.LeakyReLU())
    return nn.Sequential(model.stem, model.layers[0], leaky, model.head)


@pytest.mark.parametrize("name", sorted(CHAINS - LINKED))
def test_a_residual_net_learns_as_the_chain_of_its_blocks(name):
    x, y = batch(8, 20)
    model = residual_net()
    traced = grads(build(name, model, x), x, y)
    by_hand = residual_net()
    grads(build(name, chain_of(by_hand), x), x, y)
    for path, q in by_hand.named_parameters():
        assert (f"model.{path}" in traced) == (q.grad is not None)
        if q.grad is not None:
            torch.testing.assert_close(traced[f"model.{path}"], q.grad)


def test_blocks_are_the_stages_between_which_one_tensor_passes():
    residual = [f"layers.{i}.norm to layers.{i}.linear" for i in range(2)]
    assert [block.name for block in blocks(residual_net())] == ["stem.linear", *residual, "head"]


def test_a_traced_rule_follows_its_model_to_another_type_and_in_a_copy():
    x, y = batch(8, 20)
    expected = grads(build("pc", residual_net(), x), x, y)
    model = residual_net().float()
    rule = copy.deepcopy(build("pc", model, x.float())).double()  # new buffers, the parameters of the copy
    rule.model.load_state_dict(residual_net().state_dict())
    found = grads(rule, x, y)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        torch.testing.assert_close(found[path], value)
    assert all(p.grad is None for p in model.parameters())


def test_named_blocks_divide_a_model_and_share_its_layers():
    model = residual_net()
    chain = divide(model, ["stem", "layers.1", "head"])
    assert [name for name, _ in chain.named_children()] == ["stem", "layers_1", "head"]
    x = batch(8, 20)[0]
    torch.testing.assert_close(chain(x), model(x))
    assert {*chain.parameters()} == {*model.parameters()}


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(20, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x):
        h = self.a(x)
        return self.c(h + self.b(h))


class Branching(Skipping):
    def forward(self, x):
        return self.c(self.b(self.a(x)) if x.sum() > 0 else self.a(x))


class Dropping(Skipping):
    def forward(self, x):
        return self.c(F.dropout(self.a(x), 0.5, self.training))


class Twice(Skipping):
    def forward(self, x):
        return self.c(self.b(torch.tanh(self.b(self.a(x)))))


@pytest.mark.parametrize(
    ("model", "names", "error", "message"),
    [
        (Skipping(), ["a", "d"], ValueError, "no module at 'd' of Skipping"),
        (
            Skipping(),
            ["c", "b"],
            TypeError,
            "Skipping calls b, c; expected c, b, once each",
        ),
        (Twice(), ["a", "b", "c"], TypeError, "Twice calls a, b, b, c; expected a, b, c"),
        (residual_net(), ["layers", "stem.linear"], TypeError, "calls stem.linear, layers; expected"),
        (nn.Sequential(Skipping()), ["", "0.a"], TypeError, "calls 0.a; expected , 0.a"),
    ],
)
def test_named_blocks_are_modules_that_the_model_calls_once_in_this_order(model, names, error, message):
    with pytest.raises(error, match=message):
        divide(model, names)


def test_two_blocks_past_which_a_skip_leads_are_one():
    class Long(Skipping):
        def forward(self, x):
            h = self.a(x)
            return h[:, :4] + self.c(self.b(h))

    with pytest.raises(TypeError, match="more than one tensor passes between 'b' and 'c'"):
        divide(Long(), ["a", "b", "c"])


class TwoInputs(Skipping):
    def forward(self, x, other):
        return super().forward(x) + other


class TwoOutputs(Skipping):
    def forward(self, x):
        return super().forward(x), self.a(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TwoInputs(), "TwoInputs does not map one tensor to one tensor"),
        (TwoOutputs(), "TwoOutputs does not map one tensor to one tensor"),
        (Branching(), "Branching cannot be traced by torch.fx"),
        (Dropping(), "the forward pass of Dropping depends on its mode"),
    ],
)
def test_a_model_that_cannot_be_traced_is_refused(model, message):
    with pytest.raises(TypeError, match=message):
        build("dfa", model, torch.zeros(2, 20))
    assert model.training


def test_a_model_that_computes_something_else_than_when_it_was_traced_is_refused():
    class Flagged(Skipping):
        doubled = False

        def forward(self, x):
            return super().forward(2 * x if self.doubled else x)

    model = Flagged().double()
    rule = build("dfa", model, batch(8, 20)[0])
    model.doubled = True
    with pytest.raises(RuntimeError, match=r"the blocks of Flagged.*do not compute what the model does"):
        rule(*batch(8, 20))


def test_a_chain_with_a_skip_of_its_own_is_verified_as_any_other_model():
    class Flagged(nn.Sequential):
        doubled = False

        def forward(self, x):
            h = self[0](x)
            return self[2](h + self[1](2 * h if self.doubled else h))

    model = Flagged(nn.Linear(20, 6), nn.Linear(6, 6), nn.Linear(6, 4)).double()
    rule = build("dfa", model, batch(8, 20)[0])
    model.doubled = True
    with pytest.raises(RuntimeError, match="do not compute what the model does"):
        rule(*batch(8, 20))


def test_hooks_that_a_traced_run_would_pass_by_are_refused():
    model = residual_net()
    rule = build("dfa", model, batch(8, 20)[0])
    hook = model.layers[0].register_forward_hook(lambda module, args, out: 2 * out)
    with pytest.raises(RuntimeError, match="the model has forward hooks"):
        rule(*batch(8, 20))
    hook.remove()
    model.layers[0].linear = nn.Linear(6, 6).double()
    with pytest.raises(RuntimeError, match="children of the model were replaced"):
        rule(*batch(8, 20))


def test_a_recurrent_net_is_divided_after_its_cell_not_inside_its_outputs():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, x):
            out, (last, _) = self.cell(x)
            return self.head(out[:, -1] + last[0])

    model = Recurrent().double()
    assert [block.name for block in blocks(model)] == ["cell", "head"]
    x, y = batch(8, 20)
    assert grads(build("dfa", model, x.view(8, 4, 5)), x.view(8, 4, 5), y)


def test_a_forward_pass_that_changes_a_buffer_is_refused_as_blocks_would_not_change_it():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.readout = nn.Linear(20, 6), nn.Linear(6, 4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.readout(self.hidden(x).relu())

    with pytest.raises(TypeError, match="Counting changes its buffer 'calls'"):
        build("dfa", Counting().double(), batch(8, 20)[0])


class Plain(nn.Module):
    """A convolutional net as its users write it, with functions between modules."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.hidden, self.readout = nn.Linear(4 * 16, 8), nn.Linear(8, 4)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.readout(torch.tanh(self.hidden(torch.flatten(h, 1))))


@pytest.mark.parametrize("name", sorted(LINKED))
def test_functions_between_modules_are_layers(name):
    torch.manual_seed(0)
    model = Plain().double()
    chain = nn.Sequential(
        nn.Sequential(model.conv, model.norm, nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), model.hidden, nn.Tanh()),
        model.readout,
    )
    x, y = batch(8, 1, 8, 8)
    found, expected = (grads(copy.deepcopy(build(name, net, x)), x, y) for net in (model, chain))
    paths = {"conv": "0.0", "norm": "0.1", "hidden": "1.1", "readout": "2"}
    assert len(found) == len(expected)
    for key, gradient in found.items():
        _, layer, parameter = key.split(".")
        torch.testing.assert_close(gradient, expected[f"model.{paths[layer]}.{parameter}"])


@pytest.mark.parametrize("name", sorted(LINKED))
def test_a_skip_is_refused_where_links_are_used_in_both_directions(name):
    with pytest.raises(TypeError, match=r"cannot use operations of the forward pass of ResidualNet in block"):
        build(name, residual_net(), batch(8, 20)[0])
