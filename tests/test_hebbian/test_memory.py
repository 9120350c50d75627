"""Associative memory: storage written out, energy that never rises, and capacities from theory."""

import pytest
import torch

from hebbian import Hopfield, Storkey


def patterns(n, units, seed=0):
    bits = torch.randint(0, 2, (n, units), generator=torch.Generator().manual_seed(seed))
    return 2.0 * bits - 1


def filled(make, stored):
    memory = make(stored.shape[1]).to(stored.dtype)
    memory.store(stored)
    return memory


def overlap(memory, stored):
    """Mean agreement of what is recalled from the patterns themselves with them, 1 for all of it."""
    return (memory.recall(stored, 50) * stored).mean().item()


def test_hopfield_weights_are_the_sum_over_patterns():
    stored = patterns(3, 6)
    expected = torch.zeros(6, 6)
    for p in stored:
        for i in range(6):
            for j in range(6):
                if i != j:
                    expected[i, j] += p[i] * p[j] / 6
    torch.testing.assert_close(filled(Hopfield, stored).weight, expected)


def test_storkey_weights_are_those_of_the_paper():
    stored = patterns(4, 6).double()
    w = torch.zeros(6, 6, dtype=torch.float64)
    for p in stored:
        old = w.clone()
        for i in range(6):
            for j in range(6):
                if i != j:
                    h_ij = sum(old[i, k] * p[k] for k in range(6) if k not in (i, j))
                    h_ji = sum(old[j, k] * p[k] for k in range(6) if k not in (i, j))
                    w[i, j] += (p[i] * p[j] - p[i] * h_ji - h_ij * p[j]) / 6
    torch.testing.assert_close(filled(Storkey, stored).weight, w, rtol=1e-12, atol=1e-14)


def test_patterns_stored_one_by_one_or_together_are_the_same():
    stored = patterns(5, 20)
    for make in (Hopfield, Storkey):
        one_by_one = make(20)
        for p in stored:
            one_by_one.store(p[None])
        torch.testing.assert_close(one_by_one.weight, filled(make, stored).weight)


@pytest.mark.slow
@pytest.mark.oracle("hopfield")
def test_hopfield_holds_about_0_138_patterns_a_unit():
    # Amit, Gutfreund & Sompolinsky 1985: up to 0.138 the overlap is at least 0.967, above it breaks down.
    units = 1000
    assert overlap(*of_load(Hopfield, 0.12, units)) > 0.967
    assert overlap(*of_load(Hopfield, 0.15, units)) < 0.93


def of_load(make, load, units):
    stored = patterns(round(load * units), units)
    return filled(make, stored), stored


@pytest.mark.oracle("storkey")
def test_storkey_holds_patterns_exactly_where_hopfield_has_lost_them():
    # Storkey & Valabregue 1999: n / sqrt(2 ln n) patterns without error, against n / (2 ln n) for Hopfield.
    load = 0.2  # between 0.093 and 0.30 for 250 units
    assert overlap(*of_load(Storkey, load, 250)) == 1
    assert overlap(*of_load(Hopfield, load, 250)) < 0.9


@pytest.mark.parametrize("make", [Hopfield, Storkey])
def test_a_damaged_pattern_is_repaired(make):
    memory, stored = of_load(make, 0.05, 200)
    damaged = stored.clone()
    damaged[:, :20] *= -1
    assert torch.equal(memory.recall(damaged), stored)


def test_each_sweep_lowers_the_energy_until_convergence():
    memory, _ = of_load(Hopfield, 0.3, 100)
    states = [patterns(8, 100, seed=1)]
    for _ in range(30):
        states.append(memory.recall(states[-1], steps=1))
    energies = torch.stack([-0.5 * ((s @ memory.weight) * s).sum(1) for s in states])
    assert torch.all(energies.diff(dim=0) <= 1e-4)
    assert torch.equal(states[-1], states[-2])
    assert torch.equal(memory.recall(states[0], steps=30), states[-1])


def test_an_empty_memory_returns_every_input_and_the_state_dict_restores_a_full_one():
    damaged = patterns(2, 10)
    assert torch.equal(Hopfield(10).recall(damaged), damaged)
    full, other = filled(Hopfield, damaged), Hopfield(10)
    other.load_state_dict(full.state_dict())
    assert torch.equal(other.weight, full.weight)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.ones(3), r"must be \(P, 4\), got \(3,\)"),
        (torch.ones(2, 3), r"got \(2, 3\)"),
        (torch.zeros(2, 4), "-1 and 1 only"),
    ],
)
def test_bad_patterns_are_refused(bad, message):
    memory = Hopfield(4)
    for use in (memory.store, memory.recall):
        with pytest.raises(ValueError, match=message):
            use(bad)
    assert not memory.weight.any()
