"""One contract for every registered rule, and the oracles of those that use labels."""

import copy
import inspect
from contextlib import nullcontext
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hebbian import (
    Backprop,
    DirectFeedback,
    FeedbackAlignment,
    Hebbian,
    NodePerturbation,
    PairSTDP,
    Rule,
    SoftHebb,
    oja,
    probabilities,
    registry,
)
from hebbian.chain import blocks
from hebbian.rule_info import RuleInfo, register_rule, registered
from hebbian.two_factor import register_plasticity
from tests.test_hebbian import helpers
from tests.test_hebbian.helpers import assert_same
from tests.test_hebbian.oracles import oracle_tests

NAMES = sorted(registry.list_rules())
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
    *("weight-perturbation", "node-perturbation", "three-factor", "pc", "pc-fixed", "eqprop", "dtp"),
    *("stdp", "rstdp", "bcm", "foldiak"),
}
"""Rules that subtract nearly equal numbers, or whose state changes by small steps."""
SEEDS = st.integers(0, 2**32 - 1)
WITHOUT_GROUPS = [name for name in NAMES if "no groups" in registry.find_rule(name).traits]


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


def net(classes=4):
    return helpers.mlp(20, 16, 12, classes).float()


def data(n=8, dtype=torch.float32, seed=1):
    return helpers.batch(n, 20, dtype=dtype, seed=seed)


def build(name, model, **settings):
    torch.manual_seed(0)
    example = torch.zeros(2, 20, dtype=next(model.parameters()).dtype)
    return registry.build(name, model, F.cross_entropy, example=example, classes=4, **settings)


def grads(rule, x, y, seed=2):
    """Return minus the update of a copy of the rule, whose state does not change."""
    return helpers.grads(copy.deepcopy(rule), x, y, seed)


class Hushed(TorchDispatchMode):
    """Every random number is the same one: of noisy rules, too, the laws of quiet ones must then hold."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        drawn = op(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded not in op.tags:
            return drawn
        if drawn.dtype == torch.int32:  # below 2**24
            return drawn.fill_(2**22)
        if op is torch.ops.aten.rand_like.default:  # which halves a sample, (N, values)
            return drawn.copy_(torch.arange(drawn.shape[1]) % 2)
        return drawn.fill_(0.3 if drawn.is_floating_point() else 1)


def hushed(rule, x, y):
    with Hushed():
        return grads(rule, x, y)


def declares(name, trait):
    return trait in registry.find_rule(name).traits


def without(trait):
    return [name for name in NAMES if not declares(name, trait)]


def laws(name, declared, disproof=AssertionError):
    """Tell what must be seen of a rule: that the law holds, or that the exemption is needed."""
    return pytest.raises(disproof) if declares(name, declared) else nullcontext()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def rule(name):
    return build(name, net())


# ---- every rule is a module like any other --------------------------------------------------------


def test_objective_is_a_scalar_and_fills_finite_gradients(rule):
    assert rule(*data()).shape == ()
    found = grads(rule, *data())
    assert found
    assert all(g.isfinite().all() for g in found.values())


def test_the_model_keeps_its_meaning(name):
    model = net()
    x, y = data()
    before = model(x).clone()
    rule = build(name, model)
    assert torch.equal(model(x), before)
    rule(x, y)
    assert torch.equal(model(x), before)
    with laws(name, "own readout"):
        assert torch.equal(rule.predict(x), before)


def test_building_leaves_running_statistics_and_modes_alone(name):
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6), nn.ReLU()), nn.Linear(6, 4))
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
    other = build(name, net())
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
    rule = build(name, net(), **FEWER_STEPS.get(name, {}))
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


# ---- laws, and the traits that exempt a rule from them --------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@holds_for(seed=SEEDS, n=st.integers(2, 9), order=st.randoms(use_true_random=False))
def test_order_inside_a_batch_does_not_matter(name, seed, n, order):
    rule = build(name, net().double())
    x, y = data(n, torch.float64, seed)
    other = order.sample(range(n), n)
    assert_same(hushed(rule, x[other], y[other]), hushed(rule, x, y))


@pytest.mark.parametrize("name", without("batch statistics"))
@holds_for(seed=SEEDS, n=st.integers(1, 6), copies=st.integers(2, 4))
def test_copies_of_a_batch_teach_what_the_batch_does(name, seed, n, copies):
    rule = build(name, net().double())
    x, y = data(n, torch.float64, seed)
    assert_same(hushed(rule, x.repeat(copies, 1), y.repeat(copies)), hushed(rule, x, y))


def assert_mean_over_parts(name, seed, n, first):
    rule = build(name, net().double())
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


def assert_alike(name, one, other, x, y):
    """Two models whose weights are the same numbers in other shapes have the same updates."""
    one, other = build(name, one.double()), build(name, other.double())
    state = one.state_dict()
    other.load_state_dict({k: state[k].view_as(v) for k, v in other.state_dict().items()})
    expected = hushed(other, x, y)
    assert_same({k: g.view_as(expected[k]) for k, g in hushed(one, x, y).items()}, expected)


KERNELS = [(nn.Conv1d, (4, 5)), (nn.Conv1d, (20, 1)), (nn.Conv2d, (5, 2, 2)), (nn.Conv3d, (2, 5, 2, 1))]


@pytest.mark.parametrize("name", NAMES)
@holds_for(seed=SEEDS, kernel=st.sampled_from(KERNELS))
def test_a_convolution_with_a_kernel_as_large_as_its_input_is_a_linear_layer(name, seed, kernel):
    make, (channels, *space) = kernel
    conv = nn.Unflatten(1, (channels, *space)), make(channels, 6, space), nn.Flatten(), nn.Tanh()
    linear = nn.Identity(), nn.Linear(20, 6), nn.Identity(), nn.Tanh()
    models = (nn.Sequential(nn.Sequential(*block), nn.Linear(6, 4)) for block in (conv, linear))
    assert_alike(name, *models, *data(7, torch.float64, seed))


class Patches(nn.Module):
    """The input patches of ``conv``, by plain indexing: (N, C, *space) -> (N, places, values)."""

    def __init__(self, conv):
        super().__init__()
        self.geometry = [conv]  # in a list it is no part of the model

    def forward(self, x):
        (conv,) = self.geometry
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
        reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        starts = [range(0, n - r + 1, s) for n, r, s in zip(x.shape[2:], reach, conv.stride, strict=True)]
        patches = []
        for corner in product(*starts):
            where = [slice(c, c + r, d) for c, r, d in zip(corner, reach, conv.dilation, strict=True)]
            patches.append(x[:, :, *where].flatten(1))
        return torch.stack(patches, 1)


class Transposed(nn.Module):
    """(N, places, values) -> (N, values, places)."""

    def forward(self, x):
        return x.mT


class Maps(nn.Module):
    """(N, places, channels) -> (N, channels, *space)."""

    def __init__(self, space):
        super().__init__()
        self.space = space

    def forward(self, u):
        return u.movedim(-1, 1).unflatten(2, self.space)


CONVOLUTIONS = {
    "stride, padding": (nn.Conv1d(2, 5, 4, stride=2, padding=1), (2, 12)),
    "same, reflect": (nn.Conv1d(4, 5, 3, padding="same", padding_mode="reflect"), (4, 6)),
    "dilation": (nn.Conv2d(2, 5, 3, padding=2, dilation=2), (2, 3, 4)),
    "circular, no bias": (
        nn.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(2, 1), padding_mode="circular", bias=False),
        (2, 4, 3),
    ),
    "three dimensions": (nn.Conv3d(3, 5, 2, stride=2, padding=1), (3, 2, 2, 2)),
}
GROUPED = {
    "two groups": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 6)),
    "depthwise": (nn.Conv2d(3, 6, 2, padding=1, dilation=2, groups=3, padding_mode="replicate"), (3, 4, 2)),
    "in three dimensions": (nn.Conv3d(4, 6, 2, groups=2, bias=False), (4, 3, 2, 2)),
}


def assert_alike_on_patches(name, conv, shape, patches, layer, to_maps):
    """A convolution has the update of ``layer`` on ``patches``; ``to_maps`` arranges these."""
    values, maps = shape.numel(), conv(torch.zeros(1, *shape))
    folded = nn.Unflatten(1, shape), nn.Identity(), conv, nn.Identity(), nn.Tanh()
    unfolded = nn.Unflatten(1, shape), patches, layer, to_maps(maps.shape[2:]), nn.Tanh()
    torch.manual_seed(0)
    below, readout = nn.Sequential(nn.Linear(20, values), nn.Tanh()), nn.Linear(maps.numel(), 4)
    models = (
        nn.Sequential(below, nn.Sequential(*block), nn.Sequential(nn.Flatten(), readout))
        for block in (folded, unfolded)
    )
    assert_alike(name, *copy.deepcopy(tuple(models)), *data(7, torch.float64))


# Equilibrium propagation refuses layers of our own; tests/test_equilibrium.py has its convolutions.
TAUGHT_ON_PATCHES = [name for name in NAMES if name != "eqprop"]


@pytest.mark.parametrize("name", TAUGHT_ON_PATCHES)
@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in ("same, reflect", "dilation") else ())
        for name, case in CONVOLUTIONS.items()
    ],
)
def test_a_convolution_is_a_linear_layer_on_its_patches(name, conv, shape):
    linear = nn.Linear(conv.weight[0].numel(), conv.out_channels, bias=conv.bias is not None)
    assert_alike_on_patches(name, conv, torch.Size(shape), Patches(conv), linear, Maps)


@pytest.mark.parametrize("name", [n for n in TAUGHT_ON_PATCHES if n not in WITHOUT_GROUPS])
@pytest.mark.parametrize(("conv", "shape"), GROUPED.values(), ids=GROUPED)
def test_a_grouped_convolution_is_a_kernel_of_one_place_and_as_many_groups_on_its_patches(name, conv, shape):
    values = conv.groups * conv.weight[0].numel()
    one = nn.Conv1d(values, conv.out_channels, 1, groups=conv.groups, bias=conv.bias is not None)
    patches = nn.Sequential(Patches(conv), Transposed())
    assert_alike_on_patches(name, conv, torch.Size(shape), patches, one, lambda space: nn.Unflatten(2, space))


@pytest.mark.parametrize("name", WITHOUT_GROUPS)
def test_a_rule_that_needs_a_layer_without_groups_refuses_one_with_them(name):
    model = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 4))
    with pytest.raises(ValueError, match="groups=2"):
        registry.build(name, model, F.cross_entropy, example=torch.zeros(2, 4, 6), classes=4)


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
    before = grads(rule, x, y)[f"model.{layer}.0.weight"]
    for later in (rule.model[1][0], rule.model[2])[layer:]:
        later.weight.data.mul_(-1)
    same = torch.equal(grads(rule, x, y)[f"model.{layer}.0.weight"], before)
    assert same == declares(name, "local")


def test_no_label_reaches_predict(rule):
    x, y = data()
    assert list(inspect.signature(rule.predict).parameters) == ["x"]
    twin = copy.deepcopy(rule)
    rule(x, y)
    twin(x, (y + 1) % 4)
    assert torch.equal(rule.predict(x), twin.predict(x))


def test_a_rule_that_learns_from_labels_asks_for_them(name, rule):
    if registry.find_rule(name).supervised:
        with pytest.raises(ValueError, match=r"needs? targets"):
            rule(data()[0])


@pytest.mark.parametrize("label", [-1, 4, 255])
def test_a_label_that_is_not_a_class_is_refused(name, rule, label):
    x, y = data()
    y[2] = label
    if registry.find_rule(name).supervised:
        with pytest.raises((ValueError, IndexError), match=rf"(Target|label) {label}\b"):
            rule(x, y).backward()


def test_an_empty_batch_is_refused(rule):
    x, y = data()
    with pytest.raises(ValueError, match="the batch is empty"):
        rule(x[:0], y[:0])


@pytest.mark.parametrize("name", ["node-perturbation", "three-factor"])
def test_rules_that_need_the_loss_of_each_sample_refuse_one_that_the_criterion_ignores(name):
    x, y = data()
    y[2] = -100
    with pytest.raises(ValueError, match="label -100; expected classes 0 to 3: leave out samples"):
        build(name, net())(x, y)


def test_a_layer_without_weights_is_refused_at_construction():
    model = nn.Sequential(nn.Linear(20, 16), nn.Sequential(nn.ReLU(), nn.LazyLinear(4)))
    with pytest.raises(ValueError, match=r"layer '1.1' has no weights yet; run the model on a batch"):
        Backprop(model, F.cross_entropy)
    model(data()[0])
    Backprop(model, F.cross_entropy)(*data()).backward()


def test_the_order_of_values_in_memory_does_not_change_the_update(name):
    """A seed draws the same noise in both, also in the parameters and the outputs of convolutions."""

    def updates(memory_format):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh()),
            nn.Sequential(nn.Conv2d(6, 4, 2), nn.Tanh()),
            nn.Sequential(nn.Flatten(), nn.Linear(4 * 4, 4)),
        )
        x, y = helpers.batch(8, 3, 5, 5)
        model = model.double().to(memory_format=memory_format)
        torch.manual_seed(0)
        rule = registry.build(name, model, F.cross_entropy, example=x, classes=4)
        return helpers.grads(rule, x.to(memory_format=memory_format), y)

    assert_same(updates(torch.channels_last), updates(torch.contiguous_format), rtol=1e-7, atol=1e-10)


def test_one_logit_is_learned_from_or_refused_at_construction(name):
    entry = registry.find_rule(name)
    x, y = data()[0], (data()[1] > 1).float()[:, None]
    with nullcontext() if entry.one_logit else pytest.raises(ValueError, match="one unit a class"):
        rule = registry.build(name, net(1), nn.BCEWithLogitsLoss(), example=x, classes=1)
        assert all(g.isfinite().all() for g in grads(rule, x, y).values())
        assert rule.predict(x).shape == (8, 1)


@pytest.mark.parametrize("name", [n for n in NAMES if not registry.find_rule(n).supervised])
def test_an_unsupervised_rule_learns_at_the_hidden_layers_without_labels(name):
    rule = registry.build(name, net(), None, example=data()[0], classes=4)
    found = set(grads(rule, data()[0], None))
    assert found >= {"model.0.0.weight", "model.1.0.weight"}
    assert not any(n.startswith("model.2.") for n in found)


def test_one_logit_and_two_scores_agree():
    z = torch.linspace(-3, 3, 7)[:, None]
    two = torch.cat([torch.zeros_like(z), z], 1)
    torch.testing.assert_close(probabilities(z), probabilities(two))
    with pytest.raises(ValueError, match="N, K"):
        probabilities(z[:, 0])


# ---- backprop and direct feedback ---------------------------------------------------------------


@pytest.mark.oracle("backprop")
def test_backprop_is_autograd():
    model = net()
    x, y = data()
    found = grads(Backprop(model, F.cross_entropy), x, y)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    for k, p in model.named_parameters():
        assert torch.equal(found[f"model.{k}"], p.grad)


def test_direct_feedback_written_out():
    model = net().double()
    x, y = data(dtype=torch.float64)
    rule = DirectFeedback(model, F.cross_entropy, x)
    found = grads(rule, x, y)
    h0 = torch.tanh(x @ model[0][0].weight.T + model[0][0].bias).detach()
    h1 = torch.tanh(h0 @ model[1][0].weight.T + model[1][0].bias).detach()
    error = (model(x).softmax(1) - F.one_hot(y, 4)).detach() / len(x)
    delta0 = (error @ rule.feedback.get_buffer("0")) * (1 - h0**2)
    delta1 = (error @ rule.feedback.get_buffer("1")) * (1 - h1**2)
    torch.testing.assert_close(found["model.0.0.weight"], delta0.T @ x)
    torch.testing.assert_close(found["model.1.0.weight"], delta1.T @ h0)
    torch.testing.assert_close(found["model.2.weight"], error.T @ h1)


def test_direct_feedback_with_the_transposed_readout_is_backprop_for_one_hidden_block():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(20, 9), nn.Tanh()), nn.Linear(9, 4)).double()
    x, y = data(dtype=torch.float64)
    rule = DirectFeedback(model, F.cross_entropy, x)
    rule.feedback.get_buffer("0").copy_(model[1].weight.detach())
    a, b = grads(rule, x, y), grads(Backprop(model, F.cross_entropy), x, y)
    for k in b:
        torch.testing.assert_close(a[k], b[k], rtol=1e-10, atol=1e-14)


def test_direct_feedback_on_one_logit_and_convolutions():
    model = nn.Sequential(
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(4 * 8, 1)),
    )
    x, y = torch.randn(6, 3, 10), torch.randint(0, 2, (6, 1)).float()
    found = grads(DirectFeedback(model, nn.BCEWithLogitsLoss(), x), x, y)
    assert found["model.0.0.weight"].abs().sum() > 0


def test_the_error_of_direct_feedback_passes_no_forward_weight():
    c = torch.randn(8, 4, generator=torch.Generator().manual_seed(2))
    rule = DirectFeedback(net(), lambda scores, y: (scores * c).mean(), data()[0])  # a fixed error c
    x, y = data()
    before = grads(rule, x, y)["model.0.0.weight"]
    rule.model[1][0].weight.data.mul_(-3)
    rule.model[2].weight.data.mul_(-3)
    assert torch.equal(grads(rule, x, y)["model.0.0.weight"], before)


def test_the_error_of_a_rule_of_blocks_explains_how_to_wrap():
    class Odd(nn.Module):
        pass

    with pytest.raises(TypeError, match=r"got Odd; wrap the stages"):
        blocks(Odd())


# ---- hebbian at layers of any model -------------------------------------------------------------


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


def test_targets_are_asked_for_where_they_are_needed():
    x = data()[0]
    for rule in (
        Backprop(net(), F.cross_entropy),
        DirectFeedback(net(), F.cross_entropy, x),
        Hebbian(net(), {"0.0": oja}, F.cross_entropy),
    ):
        with pytest.raises(ValueError, match="needs targets"):
            rule(x)


# ---- the registry -------------------------------------------------------------------------------

FACTS = {
    "family": "mine",
    "source": "me",
    "needs": "any model",
    "build": lambda make, c: make(c.model, c.loss),
}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'krotov'"):
        registry.find_rule("krotow")


@pytest.mark.parametrize("name", [*NAMES, *registry.list_modules()])
def test_every_rule_states_its_facts_and_its_equation_once(name):
    info = registry.describe_rule(name)
    assert all((info.family, info.source, info.needs))
    assert "=" in info.equation or "descends" in info.equation


@pytest.mark.parametrize("name", [*NAMES, *registry.list_modules()])
def test_every_rule_has_an_oracle(name):
    assert oracle_tests()[name]


def test_every_oracle_is_of_a_rule():
    assert set(oracle_tests()) == {*NAMES, *registry.list_modules()}


def test_traits_are_declared_and_known():
    with pytest.raises(ValueError, match=r"'mine': unknown traits \['nosy'\]; expected some of"):
        register_rule(name="mine", traits={"nosy"}, **FACTS)(Backprop)


def test_the_equation_is_the_marked_block_of_the_docstring():
    @register_rule(name="mine", **FACTS)
    class Mine(Backprop):
        """Mine.

        Equation::

            dw = y xᵀ,
            y = u

        Not this: dw = 0.
        """

    (info,) = registered(Mine)
    assert info.equation == "dw = y xᵀ, y = u"


def test_a_subclass_is_not_registered_as_its_base():
    class Mine(Backprop):
        pass

    assert [info.name for info in registered(Backprop)] == ["backprop"]
    assert registered(Mine) == ()


def test_settings_reach_the_plasticity():
    rule = registry.build("krotov", net(), None, example=data()[0], classes=4, layers=["0.0"], k=3, delta=0.1)
    (plasticity,) = rule.plasticity.values()
    assert (plasticity.k, plasticity.delta) == (3, 0.1)
    for name in ("krotov", "oja"):
        with pytest.raises(TypeError, match="unheard"):
            registry.build(name, net(), None, example=data()[0], classes=4, unheard=1)


def test_only_rules_with_plasticities_accept_settings_for_single_layers():
    layers = {"0.0": {"k": 3}, "1.0": {}}
    rule = registry.build("krotov", net(), None, example=data()[0], classes=4, layers=layers, k=4)
    assert [p.k for p in rule.plasticity.values()] == [3, 4]
    with pytest.raises(TypeError, match="'fa' takes no settings for single layers"):
        registry.build("fa", net(), F.cross_entropy, example=data()[0], classes=4, layers=layers)


CHANGED = {
    "activation": torch.tanh,
    "alpha": 0.3,
    "beta": 0.1,
    "delta": 0.1,
    "gamma": 0.3,
    "k": 3,
    "layers": ["0.0"],
    "leak": 3.0,
    "magnitude": "batch",
    "noise": 0.3,
    "nudge": "one-sided",
    "p": 3.0,
    "patch": 2,
    "peak": 0.9,
    "precision": 0.5,
    "rate": 0.3,
    "rate_power": 1.0,
    "reduction": "sum",
    "samples": 5,
    "sigma": 0.2,
    "similarity": 0.5,
    "slope": 0.1,
    "stdp": PairSTDP(a_plus=0.1),
    "steps": 4,
    "strength": 0.5,
    "temperature": 0.3,
    "trace": 0.5,
    ("eqprop", "steps"): (4, 2),
    ("foldiak", "p"): 0.3,
    ("pc-fixed", "steps"): 1,
}
"""For each option of any rule, a value that is not its default."""


def options():
    given = {"self", "model", "criterion", "example", "classes", "units", "u", "w", "loss", "maps"}
    for name in NAMES:
        info = registry.find_rule(name)
        own = inspect.signature(info.build.args[0]).parameters.keys() - given
        summed = {"reduction"} if info.layer_settings and name != "frozen" else set()
        for option in sorted({*own, "layers"} | summed):
            yield name, option


def outcome(name, **settings):
    """Return the updates of two calls and the state after them."""
    rule = build(name, net(), **settings)
    updates = [helpers.grads(rule, *data(seed=seed), seed=seed) for seed in (1, 2)]
    return {**{f"{i} {k}": g for i, u in enumerate(updates) for k, g in u.items()}, **rule.state_dict()}


@pytest.mark.parametrize(("name", "option"), [*options()])
def test_every_option_has_an_effect_or_is_refused(name, option):
    changed = helpers.seeded(7) if option == "generator" else CHANGED.get((name, option)) or CHANGED[option]
    try:
        found = outcome(name, **{option: changed})
    except (TypeError, ValueError) as refusal:
        assert option in str(refusal)  # noqa: PT017, as an effect is as good
        return
    expected = outcome(name)
    assert found.keys() != expected.keys() or any(not torch.equal(found[k], v) for k, v in expected.items())


@pytest.mark.parametrize("name", [n for n in NAMES if not registry.find_rule(n).at_layers])
def test_a_rule_that_acts_at_all_layers_refuses_layers(name):
    with pytest.raises(TypeError, match=f"'{name}' acts at all layers of the model; give no layers"):
        build(name, net(), layers=["0.0"])


def test_a_criterion_that_is_not_one_is_refused(name):
    wrong = nn.CrossEntropyLoss, SoftHebb(), SoftHebb, oja, "mse", nn.CrossEntropyLoss(reduction="none")
    for criterion in wrong:
        with pytest.raises(
            TypeError, match=r"^the criterion is (the class|an instance|the function|'mse').*; expected"
        ):
            registry.build(name, net(), criterion, example=data()[0], classes=4)


def test_a_model_that_is_not_one_is_refused(name):
    inner = net()
    wrong = {
        "the model is the class Sequential; expected an nn.Module": nn.Sequential,
        "the model is the function relu; expected an nn.Module": F.relu,
        "the model is an instance of Backprop; expected": Backprop(inner, F.cross_entropy),
        "the model is an nn.DataParallel.*use the module inside it": nn.DataParallel(inner),
        "layer '0' is an nn.DataParallel": nn.Sequential(nn.DataParallel(inner), nn.ReLU()),
    }
    for message, model in wrong.items():
        with pytest.raises(TypeError, match=message):
            registry.build(name, model, F.cross_entropy, example=data()[0], classes=4)


@pytest.mark.filterwarnings("ignore:The .grad attribute of")
def test_what_is_made_in_inference_mode_is_refused(name):
    model = net()
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"nothing made in torch.inference_mode learns"),
    ):
        build(name, model)
    with torch.inference_mode():
        model = net()
    with pytest.raises(RuntimeError, match=r"nothing made in torch.inference_mode learns"):
        build(name, model)


def test_a_rule_is_the_same_however_torch_runs_it(name):
    """Scaled, accumulated over two batches, called as a function of parameters, and after predictions."""
    rule = build(name, net().double())
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


@pytest.mark.parametrize(
    ("plasticity", "message"),
    [
        (SoftHebb(), "the plasticity is an instance of SoftHebb; expected a mapping from paths"),
        (SoftHebb, "the plasticity is the class SoftHebb; expected a mapping"),
        (oja, "the plasticity is the function oja; expected a mapping"),
        (["0.0"], "the plasticity is an instance of list; expected a mapping"),
        ({"0.0": F.cross_entropy}, "plasticity of layer '0.0' is the function cross_entropy"),
        ({"0.0": nn.CrossEntropyLoss()}, "plasticity of layer '0.0' is an instance of CrossEntropyLoss"),
    ],
)
def test_a_plasticity_that_is_not_one_is_refused(plasticity, message):
    with pytest.raises(TypeError, match=message):
        Hebbian(net(), plasticity)


@pytest.mark.parametrize("make", [FeedbackAlignment, NodePerturbation, DirectFeedback])
def test_a_constructor_refuses_what_is_not_a_model(make):
    with pytest.raises(TypeError, match="the model is the class Sequential"):
        make(nn.Sequential, F.cross_entropy, *([data()[0]] if make is DirectFeedback else []))


def test_a_rule_that_learns_from_labels_needs_a_criterion():
    with pytest.raises(ValueError, match="needs a criterion, got None"):
        registry.build("fa", net(), None, example=data()[0], classes=4)


def test_a_two_factor_rule_is_built_to_add_over_samples():
    x, _ = data()
    mean, total = (
        grads(registry.build("oja", net(), None, example=x, classes=4, reduction=how), x, None)
        for how in ("mean", "sum")
    )
    torch.testing.assert_close(total["model.0.0.weight"], 8 * mean["model.0.0.weight"])


def test_another_package_registers_a_rule(monkeypatch):
    @register_plasticity(name="mine", source="me")
    def mine(u, w):
        return oja(u, w)

    class Point:
        value = "package:mine"
        loaded = staticmethod(mine)

        def load(self):
            return self.loaded

    monkeypatch.setattr(registry, "installed_rules", lambda: (Point(),))
    info = registry.find_rule("mine")
    assert isinstance(info, RuleInfo)
    assert (info.traits, info.supervised) == ({"local"}, False)
    x = data()[0]
    found, expected = (
        grads(registry.build(name, net(), None, example=x, classes=4), x, None) for name in ("mine", "oja")
    )
    assert_same(found, expected)
    Point.loaded = staticmethod(oja)
    with pytest.raises(ValueError, match="'package:mine': a rule named 'oja' exists already"):
        registry.list_rules()
    Point.loaded = "not registered"
    with pytest.raises(TypeError, match=r"'package:mine' of hebbian\.rules: not registered"):
        registry.list_rules()
