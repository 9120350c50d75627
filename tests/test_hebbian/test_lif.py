"""Leaky integrate-and-fire neurons against their equations written out, and their gradient through time."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import LIF, Backprop
from hebbian.recurrent import STEPS
from tests.test_hebbian.helpers import batch, grads, seeded

A, K, THRESHOLD, DAMPING = math.exp(-1 / 5), math.exp(-1 / 8), 0.5, 0.4


def layer():
    torch.manual_seed(0)
    return LIF(5, 7, tau=5.0, tau_out=8.0, threshold=THRESHOLD, damping=DAMPING).double()


def spikes(n, steps, inputs=5, rate=0.4):
    return torch.rand(n, steps, inputs, generator=seeded(steps)) < rate


def written_out(cell, x):
    """Return potentials, spikes and outputs (T, N, units) by scalar arithmetic."""
    v_in, w = cell.input.weight.tolist(), cell.recurrent.tolist()
    units, history = range(7), []
    for sample in x.double().tolist():
        v, z, o, steps = [0.0] * 7, [0.0] * 7, [0.0] * 7, []
        for now in sample:
            v = [
                A * v[j]
                + sum(v_in[j][i] * now[i] for i in range(5))
                + sum(w[j][i] * z[i] for i in units if i != j)
                - THRESHOLD * z[j]
                for j in units
            ]
            z = [float(value > THRESHOLD) for value in v]
            o = [K * o[j] + (1 - K) * z[j] for j in units]
            steps.append((v, z, o))
        history.append(steps)
    return torch.tensor(history, dtype=torch.float64).movedim(0, 2).unbind(1)


@pytest.mark.parametrize("steps", [1, 30, STEPS + 3])
def test_the_layer_written_out(steps):
    cell, x = layer(), spikes(3, steps)
    potentials, z, out = written_out(cell, x)
    assert (potentials - THRESHOLD).abs().min() > 1e-9  # so that rounding changes no spike
    torch.testing.assert_close(cell(x.double()), out[-1], rtol=1e-10, atol=1e-12)
    assert steps == 1 or 0 < z.mean() < 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.int64])
def test_spike_trains_of_any_type_are_numbers(dtype):
    cell, x = layer(), spikes(3, 20)
    assert torch.equal(cell(x.to(dtype)), cell(x.double()))


def test_the_gradient_through_time_is_that_of_the_triangle_at_each_spike_and_none_at_the_reset():
    """Forward in time: the Jacobian of all potentials and spikes with respect to each weight."""
    cell, x = layer(), spikes(2, 12)
    potentials, z, _ = written_out(cell, x)
    g = torch.randn(2, 7, generator=seeded(), dtype=torch.float64)
    (cell(x.double()) * g).sum().backward()
    w, x = cell.recurrent.detach(), x.double()
    expected = {"input": torch.zeros(7, 5).double(), "recurrent": torch.zeros(7, 7).double()}
    for n in range(2):
        for key, weight in expected.items():
            for j in range(weight.shape[0]):
                for i in range(weight.shape[1]):
                    if key == "recurrent" and i == j:
                        continue
                    dv, dz, do = torch.zeros(3, 7).double()
                    for t in range(12):
                        pre = x[n, t, i] if key == "input" else (z[t - 1, n, i] if t else 0.0)
                        dv = A * dv + (w - w.diag().diag()) @ dz + pre * F.one_hot(torch.tensor(j), 7)
                        distance = (potentials[t, n] - THRESHOLD).abs() / THRESHOLD
                        dz = DAMPING / THRESHOLD * (1 - distance).clamp(min=0) * dv
                        do = K * do + (1 - K) * dz
                    weight[j, i] += g[n] @ do
    torch.testing.assert_close(cell.input.weight.grad, expected["input"], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(cell.recurrent.grad, expected["recurrent"], rtol=1e-10, atol=1e-13)


def test_no_neuron_has_a_synapse_to_itself():
    cell, (x, y) = layer(), batch(8, 20, 5)
    before = cell(x)
    model = nn.Sequential(cell, nn.Linear(7, 4)).double()
    assert not grads(Backprop(model, F.cross_entropy), x, y)["model.0.recurrent"].diagonal().any()
    cell.recurrent.data.fill_diagonal_(3.0)
    assert torch.equal(cell(x), before)


def test_a_net_learns_rates_by_backprop_through_time():
    g = seeded()
    y = torch.randint(0, 2, (100,), generator=g)
    rates = torch.where(y[:, None] == torch.tensor([0, 1]), 0.4, 0.1)[:, None]
    x = torch.rand(100, 30, 2, generator=g) < rates
    torch.manual_seed(0)
    model = nn.Sequential(LIF(2, 16), nn.Linear(16, 2))
    rule = Backprop(model, F.cross_entropy)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        rule(x, y).backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).float().mean() > 0.9


@pytest.mark.parametrize("name", ["tau", "tau_out", "threshold", "damping"])
def test_constants_are_positive(name):
    with pytest.raises(ValueError, match="tau, tau_out, threshold and damping must be positive, got"):
        LIF(2, 3, **{name: 0.0})
