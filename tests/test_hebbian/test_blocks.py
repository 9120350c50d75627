"""Models as chains of blocks: how children become blocks, and which blocks are refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import registry
from hebbian.chain import blocks
from tests.test_hebbian.every_rule import CHAINS, LINKED, build
from tests.test_hebbian.helpers import assert_same, batch, grads, mlp


def chains():
    """Return a flat chain and one of nested blocks with the same weights; one activation occurs twice."""
    torch.manual_seed(0)
    relu = nn.ReLU()
    first = nn.BatchNorm2d(1, affine=False), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), relu, nn.MaxPool2d(2)
    second = nn.Flatten(), nn.Linear(36, 8), relu, nn.Dropout(0.0)
    third = nn.Linear(8, 12), nn.Sigmoid()
    nested = nn.Sequential(
        nn.Sequential(*first), nn.Sequential(*second), nn.Sequential(*third), nn.Linear(12, 4)
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
        (Skip(nn.Linear(20, 20), nn.Linear(20, 20)), "got 1 in Skip: 0 to 1; divide"),
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
    refusal = "cannot use RNN in block '0'" if name in LINKED else "block '0' returns a tuple, expected"
    with pytest.raises(TypeError, match=refusal):
        build(name, nn.Sequential(nn.RNN(20, 8), nn.Linear(8, 4)).double())(x, y)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 8)), nn.ReLU(), nn.Linear(8, 4)).double()
    rule = build(name, model)
    with pytest.raises(ValueError, match=r"input of shape \(20,\), expected a batch"):
        rule(x[0], y[0])
    hook = model.register_forward_pre_hook(lambda model, args: (2 * args[0],))
    with pytest.raises(RuntimeError, match="the model has forward hooks"):
        rule(x, y)
    hook.remove()
    model[0][0] = nn.Linear(20, 8).double()
    if name in LINKED:
        with pytest.raises(RuntimeError, match="layers of the model were replaced"):
            rule(x, y)
    else:
        assert "model.0.0.weight" in grads(rule, x, y)
    model[2] = nn.Linear(8, 4).double()
    with pytest.raises(RuntimeError, match="children of the model were replaced"):
        rule(x, y)


@pytest.mark.parametrize("name", sorted(LINKED))
def test_a_skip_inside_a_block_is_not_lost_by_a_rule_that_lists_its_layers(name):
    model = nn.Sequential(nn.Sequential(Skip(nn.Linear(20, 20))), nn.Linear(20, 4))
    with pytest.raises(TypeError, match="cannot use Skip"):
        build(name, model, torch.zeros(2, 20))


@pytest.mark.parametrize("name", sorted(LINKED))
def test_a_hook_of_a_chain_inside_the_model_is_not_passed_by(name):
    model, (x, y) = mlp(20, 16, 4), batch(8, 20)
    rule = build(name, model, x)
    model[0].register_forward_hook(lambda module, args, out: 2 * out)
    with pytest.raises(RuntimeError, match="the model has forward hooks"):
        rule(x, y)


@pytest.mark.parametrize("name", ["dfa", "pred", "pc", "mono-forward"])
def test_a_block_that_changes_its_input_in_place_is_refused(name):
    model = nn.Sequential(
        nn.Linear(20, 6), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6)), nn.Linear(6, 4)
    )
    with pytest.raises(RuntimeError, match="block '1' changes its input in place"):
        grads(build(name, model.double()), *batch(8, 20))


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
    with pytest.raises(TypeError, match=rf"block '0' returns \(8, 7, {features}\) with features last"):
        build("sim", model, torch.randn(8, 7, 5))


@pytest.mark.parametrize("name", ["sim", "predsim", "clapp", "dtp", "ldrl"])
@pytest.mark.parametrize("features", [12, 7])
def test_features_on_the_last_axis_are_not_taken_for_channels(name, features):
    class Mean(nn.Module):
        def forward(self, h):
            return h.mean(1)

    hidden = [nn.Sequential(nn.Linear(n, features), nn.LayerNorm(features), nn.ReLU()) for n in (5, features)]
    readout = nn.Sequential(Mean(), nn.Linear(features, 4))
    with pytest.raises(TypeError, match=rf"block '0' returns \(8, 7, {features}\) with features last"):
        build(name, nn.Sequential(*hidden, readout), torch.randn(8, 7, 5))
    assert grads(
        build("pred", nn.Sequential(*hidden, readout), torch.randn(8, 7, 5)),
        torch.randn(8, 7, 5),
        torch.arange(8) % 4,
    )


def test_maps_of_one_place_are_units():
    def build_with(*last):
        torch.manual_seed(0)
        block = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), *last)
        model = nn.Sequential(block, nn.Sequential(nn.Flatten(), nn.Linear(8, 4)))
        return build("sim", model, torch.rand(2, 1, 9, 9))

    x, y = torch.rand(8, 1, 9, 9), torch.arange(8) % 4
    found, expected = (grads(build_with(*last), x, y) for last in ((), (nn.Flatten(),)))
    assert found["model.0.0.weight"].any()
    assert_same(found, expected)
