"""Every two-factor rule against its formula written out sample by sample, at every kind of layer."""

import copy
import re
from itertools import product
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

from hebbian import (
    BCM,
    Foldiak,
    Hebbian,
    Instar,
    Krotov,
    Sanger,
    SoftHebb,
    SoftInstar,
    Subspace,
    Winners,
    covariance,
    frozen,
    hebb,
    oja,
    synapse,
)


def outer_sum(gate, patches):
    """Sum of gate xᵀ, one sample at a time."""
    total = torch.zeros(gate.shape[1], patches.shape[1], dtype=patches.dtype)
    for g, x in zip(gate, patches, strict=True):
        total += torch.outer(g, x)
    return total


def hebb_written_out(w, patches):
    return outer_sum(patches @ w.T, patches)


def oja_written_out(w, patches):
    total = torch.zeros_like(w)
    for x in patches:
        for i, row in enumerate(w):
            y = row @ x
            total[i] += y * (x - y * row)
    return total


def covariance_written_out(w, patches):
    return outer_sum((patches - patches.mean(0)) @ w.T, patches - patches.mean(0))


def subspace_written_out(w, patches):
    total = torch.zeros_like(w)
    for x in patches:
        y = w @ x
        total += torch.outer(y, x - w.T @ y)
    return total


def sanger_written_out(w, patches, activation=lambda u: u):
    total = torch.zeros_like(w)
    for x in patches:
        y, rest = activation(w @ x), x.clone()
        for i, row in enumerate(w):
            rest = rest - y[i] * row
            total[i] += y[i] * rest
    return total


def instar_written_out(w, patches, k):
    total = torch.zeros_like(w)
    for x in patches:
        for i in torch.tensor([(x - row).norm() for row in w]).argsort()[:k]:
            total[i] += x - w[i]
    return total


def soft_instar_written_out(w, patches, temperature):
    total = torch.zeros_like(w)
    for x in patches:
        density = torch.stack([torch.exp(-(x - row).square().sum() / (2 * temperature)) for row in w])
        for i, row in enumerate(w):
            total[i] += density[i] / density.sum() * (x - row)
    return total


def bcm_written_out(w, patches, theta):
    y = (patches @ w.T).clamp(min=0)
    return outer_sum(y * (y - theta), patches)


def softhebb_written_out(w, patches, temperature=0.7, rate=lambda row: 1):
    total = torch.zeros_like(w)
    for x in patches:
        u = w @ x
        y = torch.exp(u / temperature) / torch.exp(u / temperature).sum()
        winner = int(u.argmax())
        for i, row in enumerate(w):
            total[i] += (y[i] if i == winner else -y[i]) * (x - u[i] * row) * rate(row)
    return total


def krotov_written_out(w, patches, k, delta, p):
    """Krotov & Hopfield 2019: rank the currents, the first learns, the k-th unlearns."""
    w, x = w.numpy(), patches.numpy().T
    current = (np.sign(w) * np.abs(w) ** (p - 1)) @ x
    order = np.argsort(current, axis=0)
    g = np.zeros_like(current)
    columns = np.arange(x.shape[1])
    if k > 1:
        g[order[-k], columns] = -delta
    g[order[-1], columns] = 1
    return torch.from_numpy(g @ x.T - (g * current).sum(1)[:, None] * w)


RULES = {
    "frozen": (frozen, lambda w, x: torch.zeros_like(w)),
    "hebb": (hebb, hebb_written_out),
    "oja": (oja, oja_written_out),
    "covariance": (covariance, covariance_written_out),
    "subspace": (Subspace(), subspace_written_out),
    "sanger": (Sanger(), sanger_written_out),
    "hpca": (Sanger(torch.relu), lambda w, x: sanger_written_out(w, x, torch.relu)),
    "instar": (Instar(), lambda w, x: instar_written_out(w, x, 1)),
    "instar 3": (Instar(3), lambda w, x: instar_written_out(w, x, 3)),
    "soft instar": (SoftInstar(0.8), lambda w, x: soft_instar_written_out(w, x, 0.8)),
    "bcm": (BCM(5), lambda w, x: bcm_written_out(w, x, 1)),
    "softhebb": (SoftHebb(0.7), softhebb_written_out),
    "softhebb by norm": (
        SoftHebb(0.7, rate_power=0.5),
        lambda w, x: softhebb_written_out(w, x, rate=lambda row: abs(row.norm() - 1) ** 0.5),
    ),
    "krotov 2 2 .4": (Krotov(2, 0.4, 2), lambda w, x: krotov_written_out(w, x, 2, 0.4, 2)),
    "krotov 3 5 .1": (Krotov(3, 0.1, 5), lambda w, x: krotov_written_out(w, x, 3, 0.1, 5)),
    "krotov 1": (Krotov(1, 0.0, 3), lambda w, x: krotov_written_out(w, x, 1, 0.0, 3)),
}


def unfold(layer, x):
    """Every input patch of a group of the layer, by plain indexing: (groups, samples, in)."""
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2)[None]
    n = len(layer.stride)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    starts = [range(0, s - r + 1, t) for s, r, t in zip(x.shape[2:], reach, layer.stride, strict=True)]
    grids = torch.cartesian_prod(*[torch.tensor(s) for s in starts]).view(-1, n)
    groups = []
    for channels in x.chunk(layer.groups, 1):
        patches = []
        for sample in channels:
            for corner in grids.tolist():
                where = tuple(
                    slice(c, c + r, d) for c, r, d in zip(corner, reach, layer.dilation, strict=True)
                )
                patches.append(sample[(slice(None), *where)].flatten())
        groups.append(torch.stack(patches))
    return torch.stack(groups)


LAYERS = {
    "linear": (nn.Linear(6, 5), (7, 6)),
    "linear over time": (nn.Linear(6, 5), (3, 4, 6)),
    "conv1d": (nn.Conv1d(3, 5, 4, stride=2, padding=1), (2, 3, 17)),
    "conv1d same, reflect": (nn.Conv1d(3, 5, 3, padding="same", padding_mode="reflect"), (2, 3, 9)),
    "conv2d": (nn.Conv2d(3, 5, 3, padding=1, dilation=2), (2, 3, 9, 8)),
    "conv2d circular, no bias": (
        nn.Conv2d(2, 5, (3, 2), stride=(2, 1), padding=(2, 1), padding_mode="circular", bias=False),
        (2, 2, 7, 6),
    ),
    "conv3d": (nn.Conv3d(2, 5, 2, stride=2), (2, 2, 4, 5, 4)),
}


@pytest.mark.oracle("frozen")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(("rule", "written_out"), RULES.values(), ids=RULES)
def test_gradient_is_minus_the_update_written_out(layer, shape, rule, written_out, reduction):
    model = nn.Sequential(copy.deepcopy(layer)).double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    patches = unfold(model[0], x)[0]
    w = model[0].weight.detach().flatten(1)
    expected = written_out(w, patches) / (len(patches) if reduction == "mean" else 1)

    Hebbian(model, {"0": copy.deepcopy(rule)}, reduction=reduction)(x).backward()

    torch.testing.assert_close(-model[0].weight.grad.flatten(1), expected, rtol=1e-10, atol=1e-12)
    assert model[0].bias is None or model[0].bias.grad is None


def test_grouped_convolution_learns_as_its_groups_apart():
    model = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2)).double()
    x = torch.randn(3, 4, 11, dtype=torch.float64)
    Hebbian(model, {"0": oja})(x).backward()
    for patches, w, grad in zip(
        unfold(model[0], x), model[0].weight.detach().chunk(2), model[0].weight.grad.chunk(2), strict=True
    ):
        torch.testing.assert_close(-grad.flatten(1), oja_written_out(w.flatten(1), patches) / len(patches))


def update_on_patches(layer, x, rule):
    """What ``rule`` asks for when every place is one more sample; groups see patches of their own."""
    w = layer.weight.detach().flatten(1)
    made = rule.synapse(w) if hasattr(rule, "synapse") else w
    patches = unfold(layer, x)
    groups = len(patches)
    u = torch.cat([p @ m.T for p, m in zip(patches, made.chunk(groups), strict=True)], 1)
    gate, decay = rule(u, w)
    gate = gate if isinstance(gate, torch.Tensor) else gate.dense(u)
    growth = [g.T @ p / len(p) for g, p in zip(gate.chunk(groups, 1), patches, strict=True)]
    return torch.cat(growth) - (decay[:, None] * w if decay.ndim == 1 else decay)


@st.composite
def convolutions(draw, groups):
    """Any convolution of one to three dimensions, and an input that it can take."""
    n = draw(st.integers(1, 3))
    groups = draw(groups)

    def sizes(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    kernel, dilation = sizes(1, 3), sizes(1, 2)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    space = [r + draw(st.integers(0, 3)) for r in reach]
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding = tuple(draw(st.integers(0, min(2, s - 1))) for s in space)  # reflect can do no more than s - 1
    torch.manual_seed(draw(st.integers(0, 99)))
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[n - 1](
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(2, 3)),
        kernel,
        sizes(1, 2),
        padding,
        dilation,
        groups,
        bias=draw(st.booleans()),
        padding_mode=mode,
    )
    x = torch.randn(draw(st.integers(1, 2)), layer.in_channels, *space, dtype=torch.float64)
    return layer.double(), x


NEAREST = (Instar(), SoftInstar())


def learns_as_on_its_patches(conv, x, rule):
    expected = update_on_patches(conv, x, rule)
    conv.zero_grad()
    Hebbian(nn.Sequential(conv), {"0": rule})(x).backward()
    torch.testing.assert_close(-conv.weight.grad.flatten(1), expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=60)
@given(convolutions(st.integers(1, 3)), st.sampled_from([oja, SoftHebb(), Krotov(2, 0.4, 3)]))
def test_any_convolution_learns_as_a_linear_layer_on_its_patches(case, rule):
    learns_as_on_its_patches(*case, rule)


@settings(max_examples=60)
@given(convolutions(st.just(1)), st.sampled_from([oja, SoftHebb(), Krotov(2, 0.4, 3), Subspace()]))
def test_many_kernels_learn_alike_from_patches_and_in_any_order_of_the_weights(case, rule):
    conv, x = case
    last = conv.weight.data.movedim(1, -1).contiguous().movedim(-1, 1)
    for weight, many, has_avx512 in product((conv.weight.data, last), (1, 4), (False, True)):
        conv.weight.data = weight
        with mock.patch.multiple(synapse, _MANY_KERNELS=many, _SAMPLES=3, _HAS_AVX512=has_avx512):
            learns_as_on_its_patches(conv, x, rule)


@settings(max_examples=30)
@given(convolutions(st.just(1)), st.sampled_from([Sanger(), Subspace(), Sanger(torch.relu), *NEAREST]))
def test_rules_that_need_a_common_input_accept_layers_without_groups(case, rule):
    learns_as_on_its_patches(*case, rule)


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES.values()], ids=RULES)
@pytest.mark.parametrize("make", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_kernel_as_large_as_its_input_is_a_linear_layer(make, rule):
    space = (4, 3, 2)[: {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[make]]
    conv = make(2, 5, space).double()
    x = torch.randn(6, 2, *space, dtype=torch.float64)
    linear = nn.Linear(x[0].numel(), 5).double()
    linear.weight.data.copy_(conv.weight.data.flatten(1))
    linear.bias.data.copy_(conv.bias.data)
    for layer, data in ((conv, x), (linear, x.flatten(1))):
        Hebbian(nn.Sequential(layer), {"0": copy.deepcopy(rule)})(data).backward()
    torch.testing.assert_close(conv.weight.grad.flatten(1), linear.weight.grad, rtol=1e-10, atol=1e-12)


def test_the_update_keeps_its_precision_under_autocast():
    model = nn.Sequential(nn.Linear(6, 5))
    x = torch.randn(7, 6)
    rule = Hebbian(model, {"0": Krotov(2, 0.4, 3)})  # makes its currents itself, so nothing need be lost
    rule(x).backward()
    exact = model[0].weight.grad.clone()
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective = rule(x)
    objective.backward()
    assert torch.equal(model[0].weight.grad, exact)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftHebb(0), "temperature must be positive"),
        (lambda: Krotov(k=0), "k must be at least 1"),
        (lambda: Krotov(p=0.5), "p must be at least 1"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"1": oja}), "no layer at '1'"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {}), "nothing to train"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": oja}, reduction="max"), "'mean' or 'sum'"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": Krotov(3)}), "has 2"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": Instar(3)}), "has 2"),
        (lambda: Instar(0), "k must be at least 1"),
        (lambda: SoftInstar(-1), "temperature must be positive"),
        (lambda: BCM(2, rate=0), r"rate must be in \(0, 1\]"),
        (lambda: Foldiak(2, p=1), "p, the fraction of inputs"),
        (
            lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": BCM(3)}),
            "is for 3 units, but the layer has 2",
        ),
        *(
            (lambda rule=rule: Hebbian(nn.Sequential(nn.Conv1d(2, 2, 1, groups=2)), {"0": rule}), "groups=2")
            for rule in (Sanger(), Subspace(), *NEAREST)
        ),
    ],
)
def test_errors_state_the_cause(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_layer_without_synapses_is_refused():
    with pytest.raises(TypeError, match="is a ReLU"):
        Hebbian(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), {"1": oja})


@pytest.mark.parametrize(("given", "words"), [(SoftHebb, "the class SoftHebb"), ("softhebb", "'softhebb'")])
def test_a_class_or_a_name_is_no_plasticity(given, words):
    with pytest.raises(TypeError, match=f"plasticity of layer '0' is {words}; expected a function"):
        Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": given})


def test_a_memory_belongs_to_one_layer_and_a_refusal_leaves_the_model_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shared = BCM(2)
    with pytest.raises(ValueError, match="belongs to one layer"):
        Hebbian(model, {"0": shared, "1": shared})
    assert not any(layer._forward_hooks for layer in model)


def test_the_blocks_of_many_units_leave_no_seam():
    torch.manual_seed(0)
    layer = nn.Linear(5, 300, bias=False).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    Hebbian(nn.Sequential(layer), {"0": Sanger()})(x).backward()
    torch.testing.assert_close(-layer.weight.grad, sanger_written_out(layer.weight.detach(), x) / len(x))


def test_winners_are_the_same_gate_as_a_tensor():
    units, values = torch.tensor([[2, 0], [1, 3]]), torch.tensor([[5.0, 7.0], [11.0, 13.0]])
    winners = Winners(units, (1.0, -0.5))
    gate = winners.dense(torch.zeros(2, 4))
    assert gate.tolist() == [[-0.5, 0, 1, 0], [0, 1, 0, -0.5]]
    assert winners.sum(values, 4).tolist() == [-3.5, 11, 5, -6.5]


def test_a_decay_of_another_shape_is_refused():
    model = nn.Sequential(nn.Linear(5, 3))
    rule = Hebbian(model, {"0": lambda u, w: (u, u.T @ u)})
    with pytest.raises(ValueError, match=r"decay of shape \(3, 3\); expected .*\(3,\), or .*\(3, 5\)"):
        rule(torch.ones(4, 5))


@pytest.mark.parametrize(
    ("returned", "got"),
    [
        (lambda u, w: u, "(Tensor)"),
        (lambda u, w: (u, u.mean(0), u), "(Tensor, Tensor, Tensor)"),
        (lambda u, w: (u, 0.0), "(Tensor, float)"),
        (lambda u, w: None, "(NoneType)"),
    ],
)
def test_a_plasticity_returns_gate_and_decay(returned, got):
    rule = Hebbian(nn.Sequential(nn.Linear(5, 3)), {"0": returned})
    with pytest.raises(TypeError, match=re.escape(f"returns {got}; expected two tensors, the gate and the")):
        rule(torch.randn(2, 5)).backward()
