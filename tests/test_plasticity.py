"""Every two-factor rule against its formula written out sample by sample, and against its theory."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hebbian import Hebbian, Krotov, SoftHebb, frozen, hebb, oja


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


def softhebb_written_out(w, patches, temperature=0.7):
    total = torch.zeros_like(w)
    for x in patches:
        u = w @ x
        y = torch.exp(u / temperature) / torch.exp(u / temperature).sum()
        winner = int(u.argmax())
        for i, row in enumerate(w):
            total[i] += (y[i] if i == winner else -y[i]) * (x - u[i] * row)
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
    "softhebb": (SoftHebb(0.7), softhebb_written_out),
    "krotov 2 2 .4": (Krotov(2, 0.4, 2), lambda w, x: krotov_written_out(w, x, 2, 0.4, 2)),
    "krotov 3 5 .1": (Krotov(3, 0.1, 5), lambda w, x: krotov_written_out(w, x, 3, 0.1, 5)),
    "krotov 1": (Krotov(1, 0.0, 3), lambda w, x: krotov_written_out(w, x, 1, 0.0, 3)),
}


def unfold(layer, x):
    """Every patch that a group of the layer sees, by plain indexing: (groups, samples, in)."""
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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(("rule", "written_out"), RULES.values(), ids=RULES)
def test_gradient_is_minus_the_update_written_out(layer, shape, rule, written_out, reduction):
    model = nn.Sequential(copy.deepcopy(layer)).double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    patches = unfold(model[0], x)[0]
    w = model[0].weight.detach().flatten(1)
    expected = written_out(w, patches) / (len(patches) if reduction == "mean" else 1)

    Hebbian(model, {"0": rule}, reduction=reduction)(x).backward()

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


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 3),
    out=st.integers(2, 5),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_any_conv1d_learns_as_a_linear_layer_on_its_patches(
    n, channels, out, kernel, stride, padding, dilation, bias
):
    conv = nn.Conv1d(channels, out, kernel, stride, padding, dilation, bias=bias).double()
    x = torch.randn(n, channels, 12, dtype=torch.float64)
    patches = unfold(conv, x)[0]
    linear = nn.Linear(patches.shape[1], out, bias=False).double()
    linear.weight.data.copy_(conv.weight.data.flatten(1))
    for model, data in ((conv, x), (linear, patches)):
        Hebbian(nn.Sequential(model), {"0": SoftHebb()})(data).backward()
    torch.testing.assert_close(conv.weight.grad.flatten(1), linear.weight.grad, rtol=1e-10, atol=1e-12)


def descend(layer, rule, batches, lr):
    optimizer = torch.optim.SGD(layer.parameters(), lr)
    learn = Hebbian(nn.Sequential(layer), {"0": rule})
    for x in batches:
        optimizer.zero_grad()
        learn(x).backward()
        optimizer.step()
    return layer.weight.detach()


def test_oja_finds_the_first_principal_component_with_norm_one():
    g = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64, generator=g)).Q
    scale = torch.tensor([5.0, 3.5, 2.5, 2, 1.5, 1, 0.8, 0.6, 0.4, 0.2], dtype=torch.float64).sqrt()
    x = (torch.randn(5000, 10, dtype=torch.float64, generator=g) * scale) @ basis.T
    pc = torch.linalg.svd(x, full_matrices=False).Vh[0]
    w = descend(nn.Linear(10, 1, bias=False).double(), oja, [x] * 600, 0.02)[0]
    assert torch.abs(w @ pc) > 0.999
    assert w.norm().item() == pytest.approx(1, abs=0.01)


def clusters(generator, n=4000):
    """Four equally likely clusters on orthogonal axes."""
    which = torch.randint(0, 4, (n,), generator=generator)
    noise = 0.05 * torch.randn(n, 8, dtype=torch.float64, generator=generator)
    return 3 * F.one_hot(which, 8).double() + noise, which


def test_krotov_without_anti_hebb_converges_to_norm_one_cluster_directions():
    x, which = clusters(torch.Generator().manual_seed(0))
    layer = nn.Linear(8, 4, bias=False).double()
    layer.weight.data.copy_(0.2 * torch.eye(4, 8) + 0.01)
    w = descend(layer, Krotov(1, 0.0, 2), [x] * 800, 0.05)
    means = torch.stack([x[which == c].mean(0) for c in range(4)])
    assert torch.allclose(w.norm(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-3)
    assert torch.all(F.cosine_similarity(w, means, dim=1) > 0.9999)


def test_softhebb_is_stationary_at_norm_one_with_equal_usage():
    x, _ = clusters(torch.Generator().manual_seed(0))
    layer = nn.Linear(8, 4, bias=False).double()
    layer.weight.data.copy_(0.2 * torch.eye(4, 8) + 0.01)
    w = descend(layer, SoftHebb(0.5), [x] * 3000, 0.05)
    assert torch.allclose(w.norm(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-3)
    usage = F.one_hot((x @ w.T).argmax(1), 4).double().mean(0)
    assert torch.allclose(usage, torch.full((4,), 0.25, dtype=torch.float64), atol=0.02)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SoftHebb(0), "temperature must be positive"),
        (lambda: Krotov(k=0), "k must be at least 1"),
        (lambda: Krotov(p=0.5), "p must be at least 1"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"1": oja}), "no layer at '1'"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {}), "nothing would learn"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": oja}, reduction="max"), "'mean' or 'sum'"),
        (lambda: Hebbian(nn.Sequential(nn.Linear(2, 2)), {"0": Krotov(3)})(torch.ones(1, 2)), "has 2"),
    ],
)
def test_errors_say_what_is_wrong(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_layer_without_synapses_is_refused():
    with pytest.raises(TypeError, match="is a ReLU"):
        Hebbian(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), {"1": oja})
