"""Every rule is a module like any other, and obeys laws from which its traits alone exempt it."""

import copy
import inspect
import math
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from hebbian import Rule, registry
from hebbian.rule import NotFiniteError
from tests.test_hebbian import helpers
from tests.test_hebbian.every_rule import (
    FEED_FORWARD,
    NAMES,
    SEEDS,
    build,
    data,
    grads,
    holds_for,
    hushed,
    net,
)
from tests.test_hebbian.helpers import assert_same

# Compiled, noise that only the backward pass needs is drawn there, from the last layer to the first.
DRAWS_ON_THE_WAY_BACK = {"brsf"}
FEWER_STEPS = {
    "eqprop": {"steps": (3, 2)},
    "pc": {"steps": 3},
}  # dynamo unrolls the loop, which takes its time
OPTIMIZERS = {
    name: make
    for name, make in vars(torch.optim).items()
    if inspect.isclass(make)
    and issubclass(make, torch.optim.Optimizer)
    and make is not torch.optim.Optimizer
    and make is not torch.optim.SparseAdam  # takes sparse gradients only
    and make is not torch.optim.LBFGS  # asks for a closure, which it calls several times a step
}
NEEDS_FLOAT32 = {
    *("weight-perturbation", "node-perturbation", "three-factor", "pc", "pc-fixed", "eqprop", "dtp", "ldrl"),
    *("dual-propagation", "pepita"),
    *("stdp", "rstdp", "bcm", "foldiak"),
}
"""Rules that subtract nearly equal numbers, or whose state changes by small steps."""
PAIRS_NEIGHBOURS = {"scff"}  # in the batch, in any order that it has


def declares(name, trait):
    return trait in registry.find_rule(name).traits


def without(trait):
    return [name for name in NAMES if not declares(name, trait)]


def laws(name, declared, disproof=AssertionError):
    """Tell what must be seen of a rule: that the law holds, or that the exemption is needed."""
    return pytest.raises(disproof) if declares(name, declared) else nullcontext()


# ---- every rule is a module like any other --------------------------------------------------------


def test_objective_is_a_scalar_and_fills_finite_gradients(rule):
    assert rule(*data()).shape == ()
    found = grads(rule, *data())
    assert found
    assert all(g.isfinite().all() for g in found.values())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_batch_that_is_not_finite_is_refused_by_every_rule_and_leaves_its_state(rule, value):
    x, y = data()
    x[1, 2] = value
    before, numbers = copy.deepcopy(rule.state_dict()), torch.get_rng_state()
    with pytest.raises(NotFiniteError, match=rf"x: sample 1 \(from 0\) is {value} at \(2,\)"):
        rule(x, y)
    assert_same(rule.state_dict(), before, 0, 0)
    assert torch.equal(torch.get_rng_state(), numbers)


def test_the_model_keeps_its_meaning(name):
    model = net(name=name)
    x, y = data()
    before = model(x).clone()
    rule = build(name, model)
    assert torch.equal(model(x), before)
    rule(x, y)
    assert torch.equal(model(x), before)
    with laws(name, "own readout"):
        assert torch.equal(rule.predict(x), before)


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_building_leaves_running_statistics_and_modes_alone(name):
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.ReLU()), nn.Linear(8, 4))
    model[0][2].eval()
    before = copy.deepcopy(model.state_dict())
    build(name, model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == [True, True, True, True, False, True]


def test_a_deep_copy_is_independent(rule):
    x, y = data()
    untouched, twin = copy.deepcopy(rule), copy.deepcopy(rule)
    for p in twin.parameters():
        p.data.zero_()
    grads(twin, x, y)
    a, b = grads(rule, x, y), grads(untouched, x, y)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_state_dict_round_trip(name, rule):
    other = build(name, net(name=name))
    for p in other.parameters():
        p.data.normal_()
    other.load_state_dict(rule.state_dict())
    a, b = grads(rule, *data()), grads(other, *data())
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_moved_to_double_precision_it_learns_there(rule):
    x, y = data()
    exact = hushed(rule, x, y)
    found = hushed(copy.deepcopy(rule).double(), x.double(), y)
    assert found.keys() == exact.keys()
    for k in exact:
        assert found[k].dtype == torch.float64
        torch.testing.assert_close(found[k].float(), exact[k], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_of_low_precision_learn_as_in_float32_or_are_refused(name, rule, dtype):
    """Both have the same weights and inputs, those of low precision."""
    rule = rule.to(dtype)
    x, y = data()[0].to(dtype), data()[1]
    if name in NEEDS_FLOAT32:
        with pytest.raises(
            TypeError, match=r"'0.0.weight' is torch.b?float16.*float32 and use torch.autocast"
        ):
            rule(x, y)
        return
    exact, found = hushed(copy.deepcopy(rule).float(), x.float(), y), hushed(rule, x, y)
    assert found.keys() == exact.keys()
    for k in exact:
        assert found[k].dtype == dtype
        assert exact[k].any() == found[k].any()
        assert (
            not exact[k].any()
            or F.cosine_similarity(found[k].float().flatten(), exact[k].flatten(), 0) > 0.95
        )


def test_bfloat16_autocast_points_the_same_way(rule):
    exact = grads(rule, *data())
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective = rule(*data())
    rule.zero_grad()
    objective.backward()
    for k, p in rule.named_parameters():
        if k in exact and exact[k].abs().sum() > 0:
            assert p.grad.dtype == torch.float32
            assert F.cosine_similarity(p.grad.flatten(), exact[k].flatten(), dim=0) > 0.95


@pytest.mark.parametrize(
    "optimizer",
    [pytest.param(name, marks=() if name in ("AdamW", "Muon") else pytest.mark.slow) for name in OPTIMIZERS],
)
def test_every_optimizer_steps_along_its_gradients(rule, optimizer):
    make = OPTIMIZERS[optimizer]
    decays = {"weight_decay", "lambd"} & inspect.signature(make).parameters.keys()
    learns = {k: p for k, p in rule.named_parameters() if p.requires_grad}
    if optimizer == "Muon":  # which takes matrices only
        learns = {k: p for k, p in learns.items() if p.ndim == 2}
    before = {k: p.detach().clone() for k, p in learns.items()}
    steps = make(learns.values(), **dict.fromkeys(decays, 0.0))
    taught = set()
    for seed in (1, 2):
        steps.zero_grad()
        rule(*data(seed=seed)).backward()
        taught |= {k for k, p in learns.items() if p.grad is not None and p.grad.any()}
        steps.step()
    assert taught
    assert taught == {k for k, p in learns.items() if not torch.equal(p, before[k])}
    assert all(p.isfinite().all() for p in learns.values())


def in_one_graph(rule, x, y, seed=2):
    """Return minus the update as the compiled rule has it; dynamo raises where the graph breaks."""
    torch._dynamo.reset()
    fast = torch.compile(copy.deepcopy(rule), backend="aot_eager", fullgraph=True)
    torch.manual_seed(seed)
    fast(x, y).backward()
    return {n.removeprefix("_orig_mod."): p.grad for n, p in fast.named_parameters()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Function'> should not be instantiated")  # dynamo itself does
def test_compiled_in_one_graph_gives_the_same_gradients(name):
    rule = build(name, net(name=name), **FEWER_STEPS.get(name, {}))
    exact = grads(rule, *data())
    with laws(name, "graph breaks", torch._dynamo.exc.Unsupported):
        found = in_one_graph(rule, *data())
        for k in exact:
            if name not in DRAWS_ON_THE_WAY_BACK or k.startswith("model.2."):
                torch.testing.assert_close(found[k], exact[k], rtol=1e-4, atol=1e-5)


def test_a_rule_that_looks_at_a_number_breaks_the_graph():
    class Looks(Rule):
        def forward(self, x, y=None):
            loss = F.cross_entropy(self.model(x), y)
            return loss if loss > 1 else 2 * loss

    with pytest.raises(torch._dynamo.exc.Unsupported):
        in_one_graph(Looks(net()), *data())


def test_an_empty_batch_is_refused(rule):
    x, y = data()
    with pytest.raises(ValueError, match="the batch is empty"):
        rule(x[:0], y[:0])


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_the_order_of_values_in_memory_does_not_change_the_update(name):
    """A seed draws the same noise in both, also in the parameters and the outputs of convolutions."""

    def updates(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh()),
            nn.Sequential(nn.Conv2d(8, 4, 2), nn.Tanh()),
            nn.Sequential(nn.Flatten(), nn.Linear(4 * 4, 4)),
        )
        x, y = helpers.batch(8, 3, 5, 5)
        model = model.double().to(memory_format=memory_format)
        torch.manual_seed(0)
        rule = registry.build(name, model, F.cross_entropy, example=x, classes=4)
        return helpers.grads(rule, x.to(memory_format=memory_format), y)

    assert_same(updates(torch.channels_last), updates(torch.contiguous_format), rtol=1e-7, atol=1e-10)


def test_a_rule_is_the_same_however_torch_runs_it(name):
    """Scaled, accumulated over two batches, called as a function of parameters, and after predictions."""
    rule = build(name, net(name=name).double())
    batches = [data(dtype=torch.float64, seed=seed) for seed in (1, 2)]
    apart, twin = copy.deepcopy(rule), copy.deepcopy(rule)
    first, second = (helpers.grads(apart, *each, seed) for seed, each in enumerate(batches))

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.0)
    with torch.inference_mode():
        rule.predict(batches[0][0])
    for seed, each in enumerate(batches):
        torch.manual_seed(seed)
        scaler.scale(rule(*each)).backward()
    scaler.unscale_(optimizer)
    found = {n: p.grad for n, p in rule.named_parameters() if p.grad is not None}
    assert_same(found, {k: first[k] + second[k] for k in first})

    parameters = {n: p.detach().clone().requires_grad_(p.requires_grad) for n, p in twin.named_parameters()}
    buffers = {n: b.clone() for n, b in twin.named_buffers()}
    for p in twin.model.parameters():
        p.data.zero_()
    torch.manual_seed(0)
    torch.func.functional_call(twin, {**parameters, **buffers}, batches[0]).backward()
    assert_same({n: p.grad for n, p in parameters.items() if p.grad is not None}, first)


# ---- laws, and the traits that exempt a rule from them --------------------------------------------


@pytest.mark.parametrize("name", sorted(set(NAMES) - PAIRS_NEIGHBOURS))
@holds_for(seed=SEEDS, n=st.integers(2, 9), order=st.randoms(use_true_random=False))
def test_order_inside_a_batch_does_not_matter(name, seed, n, order):
    rule = build(name, net(name=name).double())
    x, y = data(n, torch.float64, seed)
    other = order.sample(range(n), n)
    assert_same(hushed(rule, x[other], y[other]), hushed(rule, x, y))


@pytest.mark.parametrize("name", without("batch statistics"))
@holds_for(seed=SEEDS, n=st.integers(1, 6), copies=st.integers(2, 4))
def test_copies_of_a_batch_teach_what_the_batch_does(name, seed, n, copies):
    rule = build(name, net(name=name).double())
    x, y = data(n, torch.float64, seed)
    assert_same(hushed(rule, x.repeat(copies, 1), y.repeat(copies)), hushed(rule, x, y))


def assert_mean_over_parts(name, seed, n, first):
    rule = build(name, net(name=name).double())
    x, y = data(n, torch.float64, seed)
    a, b = hushed(rule, x[:first], y[:first]), hushed(rule, x[first:], y[first:])
    share = first / n
    assert_same(hushed(rule, x, y), {k: share * a[k] + (1 - share) * b[k] for k in a})


@pytest.mark.parametrize("name", without("batch statistics"))
@holds_for(seed=SEEDS, sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_the_gradients_of_a_batch_are_the_mean_over_its_parts(name, seed, sizes):
    assert_mean_over_parts(name, seed, sum(sizes), sizes[0])


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(without("batch statistics"))))
def test_gradients_of_rules_with_batch_statistics_are_not(name):
    with pytest.raises(AssertionError):
        assert_mean_over_parts(name, seed=1, n=40, first=20)


def test_a_rule_without_noise_gives_the_same_gradients_twice(name, rule):
    a, b = grads(rule, *data(), seed=2), grads(rule, *data(), seed=3)
    with laws(name, "noisy"):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_calling_a_rule_leaves_what_it_remembers_alone(name, rule):
    before = copy.deepcopy(rule.state_dict())
    rule(*data())
    with laws(name, "rewrites weights"):
        assert all(torch.equal(before[k], v) for k, v in rule.state_dict().items())


@pytest.mark.parametrize("layer", [0, 1])
def test_no_later_weights_enter_the_update_of_a_local_rule(name, rule, layer):
    x, y = data()
    first = f"model.{layer}.{next(k for k, _ in rule.model[layer].named_parameters())}"
    before = grads(rule, x, y)[first]
    for later in (rule.model[1][0], rule.model[2])[layer:]:
        later.weight.data.mul_(-1)
    same = torch.equal(grads(rule, x, y)[first], before)
    assert same == declares(name, "local")


def test_a_model_without_a_recurrent_cell_is_refused_by_the_rules_that_need_one(name):
    with pytest.raises(TypeError, match="has none; use") if declares(name, "recurrent") else nullcontext():
        build(name, net())
