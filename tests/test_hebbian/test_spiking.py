"""Spike timing: traces against the sum over all pairs, the circuit against its probabilities."""

import math
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hebbian.spiking
from hebbian.spiking import PairSTDP, RewardSpikeTiming, SpikeTiming, arrive, draw, fire, learn, traces
from tests.test_hebbian.helpers import batch


def spikes(*shape, rate=0.3):
    g = torch.Generator().manual_seed(math.prod(shape))
    return (torch.rand(*shape, generator=g, dtype=torch.float64) < rate).double()


def over_pairs(stdp, pre, post):
    """Sum the window over every pair of spikes: pre (T, N, in), post (T, N, out) -> (out, in)."""
    change = torch.zeros(post.shape[2], pre.shape[2], dtype=torch.float64)
    for t in range(len(post)):
        for s in range(len(pre)):
            d = t - s
            if d > 0:
                window = stdp.a_plus * math.exp(-d / stdp.tau_plus)
            elif d < 0:
                window = -stdp.a_minus * math.exp(d / stdp.tau_minus)
            else:
                window = 0.0
            change += window * torch.einsum("no,ni->oi", post[t], pre[s])
    return change


def window(stdp, pre):
    """Return what a postsynaptic spike in each step changes, (T, N, ...)."""
    change = torch.zeros_like(pre)
    for step, size, trace in stdp(pre, pre):
        change[step] += size * trace
    return change


@pytest.mark.oracle("stdp")
def test_traces_are_the_double_sum_over_pairs():
    stdp = PairSTDP(1.0, 0.7, tau_plus=5.0, tau_minus=8.0)
    pre, post = spikes(15, 3, 6), spikes(15, 3, 4)
    found = torch.einsum("tno,tni->oi", post, window(stdp, pre))
    torch.testing.assert_close(found, over_pairs(stdp, pre, post), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(15, 3), (15, 3, 2)])
def test_a_linear_layer_adds_the_change_of_the_unit_that_fires(shape):
    change, post = spikes(*shape, 6) * torch.rand(*shape, 6).double(), torch.randint(4, shape)
    factor = torch.rand(3).double()
    scaled = change * factor.view(3, *[1] * (len(shape) - 1))
    expected = 0.5 * torch.einsum("...o,...i->oi", F.one_hot(post, 4).double(), scaled)
    found = learn(nn.Linear(6, 4).double(), [(t, 0.5, c) for t, c in enumerate(change)], post, factor)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 2)])
@pytest.mark.parametrize("limits", [(2, 20), (64, 2**20)])  # in parts of two units and one step, or at once
def test_the_weights_of_the_inputs_that_fire_add_up_to_the_product(shape, rate, limits, monkeypatch):
    monkeypatch.setattr(hebbian.spiking, "_UNITS", limits[0])
    monkeypatch.setattr(hebbian.spiking, "_VALUES", limits[1])
    layer, pre = nn.Linear(6, 5).double(), spikes(*shape, 6, rate=rate)
    with torch.no_grad():
        found = torch.stack([*arrive(layer, pre.to(torch.int8))])
    torch.testing.assert_close(found, pre @ layer.weight.detach().T)


@pytest.mark.parametrize(
    ("conv", "unfold"),
    [
        (nn.Conv2d(2, 4, 3, padding=1), {"padding": 1}),
        (nn.Conv2d(2, 4, (2, 3), stride=2, dilation=2), {"stride": 2, "dilation": 2}),
    ],
)
def test_a_convolution_learns_at_each_place_as_a_linear_layer(conv, unfold):
    conv = conv.double()
    pre = spikes(8, 2, 2, 9, 8)
    winners = torch.randint(4, conv(pre[0]).unsqueeze(0).expand(8, *[-1] * 4).select(2, 0).shape)
    post = F.one_hot(winners, 4).movedim(-1, 2).double()
    patches = torch.stack([F.unfold(x, conv.kernel_size, **unfold).mT.flatten(0, 1) for x in pre])
    units = post.flatten(3).movedim(2, -1).flatten(1, 2)
    stdp = PairSTDP(1.0, 0.7, 5.0, 8.0)
    found = learn(conv, stdp(pre, pre), winners, torch.ones(2).double()).flatten(1)
    torch.testing.assert_close(found, over_pairs(stdp, patches, units), rtol=1e-12, atol=1e-12)


def test_one_pair_changes_the_synapse_by_the_window():
    stdp = PairSTDP(1.0, 0.5, 4.0, 6.0)
    for before, after, expected in ((2, 5, math.exp(-3 / 4)), (5, 2, -0.5 * math.exp(-3 / 6)), (3, 3, 0.0)):
        pre = torch.zeros(8, 1, 1).double()
        pre[before] = 1
        assert window(stdp, pre)[after].item() == pytest.approx(expected, abs=1e-15)


def test_a_trace_holds_what_came_earlier():
    s = spikes(9, 5)
    expected = [sum(math.exp(-(t - u) / 3) * s[u] for u in range(t)) for t in range(1, 10)]
    found = torch.stack([*traces(s.to(torch.int8), 3.0, s)])
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_spikes_are_independent_and_have_their_rate_also_where_it_is_below_what_the_bits_resolve():
    torch.manual_seed(0)
    rate = torch.tensor([0.0, 1e-5, 0.3, 0.3, 0.5, 1.0, 0.7]).repeat(20_000, 1)
    found = draw(rate, 20).double()
    assert found.shape == (20, 20_000, 7)
    assert ((found == 0) | (found == 1)).all()
    assert not found[..., 0].any()
    assert found[..., 5].all()
    p, count = rate[0].double(), 20 * 20_000
    error = (p * (1 - p) / count).sqrt()
    assert ((found.mean((0, 1)) - p).abs() <= 5 * error).all()
    both = torch.einsum("tni,tnj->ij", found, found)[2:5, 2:5] / count  # inputs of one step
    later = (found[1:] * found[:-1]).mean((0, 1))[2:5]  # steps of one input
    p = p[2:5]
    assert ((both - p.outer(p))[~torch.eye(3, dtype=torch.bool)].abs() < 5 * 0.25 / count**0.5).all()
    assert ((later - p**2).abs() < 5 * 0.5 / count**0.5).all()
    for same in (draw, torch.compile(draw, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(0)
        assert torch.equal(same(rate, 20).double(), found)


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "aot_eager"},
        pytest.param({"options": {"fallback_random": True}}, marks=pytest.mark.slow),
    ],
    ids=["aot_eager", "inductor"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in PyTorch's compiler
def test_a_compiled_rule_draws_the_same_spikes(settings):
    if "options" in settings and shutil.which("g++") is None:
        pytest.skip("the default backend of torch.compile needs a compiler of C++")
    x, y = batch(8, 12)
    layers = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 4)).double()  # in which rounding changes no draw
    rule = RewardSpikeTiming(layers, ["0"], F.cross_entropy)
    gradients = []
    for same in (rule, torch.compile(rule, fullgraph=True, **settings)):
        torch.manual_seed(1)
        rule.zero_grad()
        same(x.abs(), y).backward()
        gradients.append(rule.model[0].weight.grad.clone())
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def test_a_unit_without_probability_never_fires():
    potential = torch.tensor([-1e4, 0.0, -1e4, 0.0, -1e4]).expand(20_000, 5)
    torch.manual_seed(0)
    assert set(fire(potential, -1).tolist()) == {1, 3}


def test_inputs_fire_by_their_strength_and_the_silent_never():
    torch.manual_seed(0)
    rule = SpikeTiming(nn.Linear(4, 2), [""], steps=4000, peak=0.4)
    x = torch.tensor([[-1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    found = rule.encode(x).float().mean(0)
    assert torch.equal(found[0, :2], torch.zeros(2))
    assert torch.equal(found[1], torch.zeros(4))
    torch.testing.assert_close(found[0, 2:], torch.tensor([0.2, 0.4]), atol=0.03, rtol=0)


def test_one_unit_of_each_place_fires_by_the_softmax():
    torch.manual_seed(0)
    potential = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1).expand(20000, 3, 2)
    found = F.one_hot(fire(potential, 1), 3).movedim(-1, 1).float()
    assert torch.equal(found.sum(1), torch.ones(20000, 2))
    expected = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    torch.testing.assert_close(found.mean((0, 2)), expected, atol=0.015, rtol=0)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 3)).double()


def noted(rule, x):
    """Return the scores, and the spikes of inputs and units (T, N, ...) of the only layer that learns."""
    torch.manual_seed(3)
    scores, [(layer, pre, winners)] = rule.run(x)
    return scores, pre.to(x), F.one_hot(winners, len(layer.weight)).to(x)


@pytest.mark.oracle("rstdp")
@pytest.mark.parametrize("kind", [SpikeTiming, RewardSpikeTiming])
def test_the_gradient_is_minus_the_change_by_the_spikes_within(kind):
    net, x, y = model(), torch.rand(8, 6, dtype=torch.float64), torch.arange(8) % 3
    rule = kind(net, ["0.0"], F.cross_entropy)
    scores, pre, post = noted(rule, x)
    change = torch.zeros(5, 6, dtype=torch.float64)
    right = (scores.argmax(1) == y).double()
    assert 0 < right.mean() < 1
    for n in range(8):
        reward = 1.0 if kind is SpikeTiming else (right[n] - right.mean()).item()
        change += reward * over_pairs(rule.stdp, pre[:, n : n + 1], post[:, n : n + 1]) / 8
    torch.manual_seed(3)
    rule(x, y).backward()
    torch.testing.assert_close(-net[0][0].weight.grad, change, rtol=1e-11, atol=1e-12)
    assert net[0][0].bias.grad is None
    expected = torch.autograd.grad(F.cross_entropy(net[1](net[0](x).detach()), y), net[1].weight)[0]
    torch.testing.assert_close(net[1].weight.grad, expected)


def test_units_fire_because_of_what_arrived_in_earlier_steps():
    """With one strong synapse a unit: it fires in the step after its input, hardly ever else."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 3, bias=False)
    layer.weight.data = 5000 * torch.eye(3)
    _, pre, post = noted(SpikeTiming(layer, [""], steps=200, leak=0.2), torch.eye(3))
    for n in range(3):
        after = pre[:-1, n, n] == 1
        assert torch.all(post[1:, n, n][after] == 1)


def test_stdp_grows_the_synapses_of_the_pattern_that_drives_a_unit_and_weakens_others():
    torch.manual_seed(0)
    layer = nn.Linear(8, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat_interleave(4, 1)
    rule = SpikeTiming(layer, [""], leak=2.0, stdp=PairSTDP(1.0, 1.0, 2.0, 2.0))
    x = layer.weight.detach().repeat(200, 1)
    rule(x).backward()
    change = -layer.weight.grad
    own = layer.weight.detach() > 0
    assert change[own].min() > 0.1
    assert change[~own].max() < -0.1


def test_by_default_weights_only_grow_and_the_strongest_input_fires_at_each_step_of_the_shortest_run():
    layer = nn.Linear(5, 3, bias=False)
    rule = SpikeTiming(layer, [""], steps=2, peak=1.0)
    rule(torch.ones(40, 5)).backward()
    # Of the two steps one pair counts: each input fires before the one unit that fires in the second.
    torch.testing.assert_close(-layer.weight.grad.sum(0), torch.full((5,), 0.005 * math.exp(-1 / 20)))


def test_one_logit_and_convolutions():
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 1)),
    )
    x, y = torch.rand(6, 1, 4, 4), torch.tensor([[0.0], [1.0]]).repeat(3, 1)
    torch.manual_seed(0)
    rule = RewardSpikeTiming(net, ["0.0"], nn.BCEWithLogitsLoss())
    net[1][1].bias.data.zero_()
    rule(x, y).backward()
    assert net[0][0].weight.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairSTDP(tau_plus=0), "time constants must be positive"),
        (lambda: SpikeTiming(nn.Linear(2, 2), [""], steps=1), "at least 2 steps"),
        (lambda: SpikeTiming(nn.Linear(2, 2), [""], peak=1.5), "peak must be above 0"),
        (lambda: SpikeTiming(nn.Linear(2, 2), [""], peak=0.0), "peak must be above 0"),
        (lambda: SpikeTiming(model(), ["0.0"], F.cross_entropy)(torch.rand(2, 6).double()), "needs targets"),
        (lambda: RewardSpikeTiming(model(), ["0.0"])(torch.rand(2, 6).double()), "needs targets"),
        (
            lambda: SpikeTiming(nn.Sequential(nn.Threshold(1, math.nan), nn.Linear(6, 3)), ["1"])(
                torch.rand(2, 6)
            ),
            "'1': .* NaN",
        ),
    ],
)
def test_errors_state_the_cause(make, message):
    with pytest.raises(ValueError, match=message):
        make()
