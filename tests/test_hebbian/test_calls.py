"""A rule runs no more of the model than it needs and leaves no trace in it."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, FeedbackAlignment, Hebbian, NodePerturbation, SpikeTiming, frozen, oja
from hebbian.synapse import weight_layers
from tests.test_hebbian.every_rule import NAMES, build
from tests.test_hebbian.helpers import assert_same, batch, grads
from tests.test_hebbian.odd_nets import net


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


def test_what_follows_the_last_plastic_layer_runs_only_if_it_has_a_state():
    def passes(*after):
        model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), *after, nn.Dropout(0.5))
        rule = Hebbian(model, {"1": oja})
        calls = []
        model[-1].forward = lambda x: calls.append(x) or x
        rule(torch.randn(5, 4)).backward()
        return len(calls), model

    assert passes(nn.ReLU())[0] == 0
    calls, model = passes(nn.BatchNorm1d(3))
    assert calls == 1
    assert all(norm.num_batches_tracked == 1 for norm in (model[0], model[2]))


def test_gradients_of_each_sample_by_vmap():
    x, y = batch(5, 6, dtype=torch.float32)
    rule = Backprop(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)), F.cross_entropy)
    parameters = {name: p.detach() for name, p in rule.named_parameters()}

    def objective(parameters, x, y):
        return torch.func.functional_call(rule, parameters, (x[None], y[None]))

    each = torch.vmap(torch.func.grad(objective), (None, 0, 0))(parameters, x, y)
    for i in range(len(x)):
        alone = torch.func.grad(objective)(parameters, x[i], y[i])
        for name in parameters:
            torch.testing.assert_close(each[name][i], alone[name])
