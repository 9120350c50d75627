"""A rule runs no more of the model than it needs and leaves no trace in it."""

import copy
import gc
import math
import pickle
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from hebbian import Backprop, FeedbackAlignment, Hebbian, NodePerturbation, SpikeTiming, frozen, oja
from hebbian.rule import NotFiniteError
from hebbian.synapse import weight_layers
from tests.test_hebbian import every_rule
from tests.test_hebbian.every_rule import LINKED, NAMES, RECURRENT, build
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


@pytest.mark.parametrize("name", sorted(set(NAMES) - LINKED))
def test_a_pickled_rule_is_the_same_rule(name):
    rule = build(name, every_rule.net(name=name).double() if name in RECURRENT else net("plain"))
    x, y = batch(8, 20)
    assert_same(grads(pickle.loads(pickle.dumps(rule)), x, y), grads(copy.deepcopy(rule), x, y))


def test_gradients_are_recorded_again_after_a_refusal():
    with pytest.raises(TypeError):
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
    with pytest.raises(TypeError, match="called more than once"):
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


def batch_norm():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4)).double()


def test_targets_that_are_not_finite_are_refused_before_the_rule_runs():
    rule = NodePerturbation(batch_norm(), nn.MSELoss())
    before = copy.deepcopy(rule.state_dict())
    x, y = batch(5, 6)[0], torch.zeros(5, 4).double()
    y[3, 1] = -math.inf
    with pytest.raises(NotFiniteError, match=r"y: sample 3 \(from 0\) is -inf at \(1,\)"):
        rule(x, y)
    assert_same(rule.state_dict(), before, 0, 0)


def test_a_sample_whose_label_is_ignored_is_refused_as_well():
    x, y = batch(5, 6)
    x[2, 0], y[2] = math.nan, -100
    with pytest.raises(NotFiniteError, match="x: sample 2"):
        Backprop(batch_norm(), F.cross_entropy)(x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_inputs_whose_sum_overflows_are_not_refused(dtype):
    x, y = batch(5, 6)
    model = nn.Sequential(nn.Hardtanh(), batch_norm()).to(dtype)
    x = torch.finfo(dtype).max * x.sign().abs().to(dtype)
    assert Backprop(model, F.cross_entropy)(x, y).isfinite()


def test_inputs_that_are_not_floating_point_tensors_pass():
    class Sums(nn.Embedding):
        def forward(self, x):
            return sum(super(Sums, self).forward(part).sum(1) for part in x)

    _, y = batch(5, 6)
    words = torch.arange(15).view(5, 3)
    assert Backprop(nn.Sequential(nn.Embedding(15, 4), nn.Flatten()), F.cross_entropy)(words, y).isfinite()
    assert Backprop(Sums(15, 4), F.cross_entropy)([words, words], y).isfinite()


def test_a_rule_is_traced_without_its_check_of_the_inputs():
    x, y = batch(5, 6)
    rule = Backprop(batch_norm().eval(), F.cross_entropy)
    expected = rule(x, y)

    for mode in ("real", "fake", "symbolic"):
        traced = make_fx(rule, tracing_mode=mode, _allow_non_fake_inputs=True)(x, y)
        torch.testing.assert_close(traced(x, y), expected)
    torch.testing.assert_close(torch.func.functionalize(rule)(x, y), expected)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert rule(mode.from_tensor(x), mode.from_tensor(y)).shape == ()
    slope = torch.func.grad(lambda x: rule(x, y))(x)
    torch.testing.assert_close(slope, torch.autograd.grad(rule(x.requires_grad_(), y), x)[0])
