"""Tests of significance against enumeration, DeLong's sums, and the null."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from eeg.evaluation.significance import delong, permutation_p, swapped_p


@pytest.mark.parametrize("scores", [[0, 1, 2, 3, 4, 5, 6, 7], [3, 3, 1, 0, 3, 5, 1, 2]])
def test_the_permutation_p_is_the_fraction_of_all_relabellings(scores: list[int]) -> None:
    labels = np.repeat([0, 1], 4)
    s = np.array(scores, float)
    found = roc_auc_score(labels, s)
    reached = []
    for positives in combinations(range(8), 4):
        y = np.isin(np.arange(8), positives).astype(int)
        reached.append(roc_auc_score(y, s) >= found - 1e-12)
    fraction = np.mean(reached)
    assert permutation_p(labels, s, draws=4000) == pytest.approx(fraction, abs=4 * math.sqrt(fraction / 4000))


def test_the_permutation_p_is_never_zero_and_one_without_a_difference() -> None:
    labels = np.repeat([0, 1], 20)
    assert permutation_p(labels, np.arange(40.0), draws=99) == 1 / 100
    assert permutation_p(labels, np.zeros(40), draws=99) == 1
    assert permutation_p(labels, -np.arange(40.0), draws=99) == 1


def delong_sums(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Equations 3 to 6 of DeLong et al. 1988, pair by pair: the difference and its variance."""
    x, y = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)

    def psi(s: np.ndarray, i: int, j: int) -> float:
        return 1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0

    v10 = [[sum(psi(s, i, j) for j in y) / len(y) for i in x] for s in (first, second)]
    v01 = [[sum(psi(s, i, j) for i in x) / len(x) for j in y] for s in (first, second)]
    s = np.cov(v10) / len(x) + np.cov(v01) / len(y)
    return float(np.mean(v10[0]) - np.mean(v10[1])), float(s[0, 0] + s[1, 1] - 2 * s[0, 1])


@given(st.integers(0, 999), st.integers(2, 8), st.integers(2, 8))
@settings(max_examples=60)
def test_delong_is_its_sums(seed: int, patients: int, controls: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [patients, controls]))
    first, second = (rng.integers(0, 5, len(labels)).astype(float) for _ in range(2))
    difference, variance = delong_sums(labels, first, second)
    found = delong(labels, first, second)
    assert found.difference.value == pytest.approx(difference)
    assert found.difference.value == pytest.approx(
        roc_auc_score(labels, first) - roc_auc_score(labels, second)
    )
    half = (found.difference.high - found.difference.low) / 2
    assert half == pytest.approx(1.959964 * math.sqrt(max(variance, 0)), abs=1e-6)
    if variance > 1e-12:
        assert found.p == pytest.approx(math.erfc(abs(difference) / math.sqrt(2 * variance)))


def ordered(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the fraction of pairs of both classes in the right order, ties counting half: the ROC-AUC."""
    return float((1 + np.sign(scores[labels == 1][:, None] - scores[labels == 0])).mean() / 2)


def test_delong_agrees_with_a_bootstrap_of_subjects() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 60)
    first, second = labels + rng.normal(size=120), 0.5 * labels + rng.normal(size=120)
    drawn = []
    for _ in range(600):
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), 60) for c in (0, 1)])
        drawn.append(ordered(labels[rows], first[rows]) - ordered(labels[rows], second[rows]))
    found = delong(labels, first, second).difference
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.15)


@pytest.mark.parametrize("test", ["delong", "swapped"])
def test_equal_models_differ_in_one_of_twenty_cases(test: str) -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 30)
    rejected = []
    for _ in range(200):
        common = labels + rng.normal(size=60)
        first, second = (common + rng.normal(size=60) for _ in range(2))
        p = (
            delong(labels, first, second).p
            if test == "delong"
            else swapped_p(labels, first, second, draws=60)
        )
        rejected.append(p < 0.05)
    assert 0.01 <= np.mean(rejected) <= 0.1


def test_a_model_does_not_differ_from_itself_nor_from_its_own_order() -> None:
    labels = np.repeat([0, 1], 10)
    scores = np.random.default_rng(3).normal(size=20)
    for other in (scores, np.exp(scores)):
        assert delong(labels, scores, other).p == 1
        assert swapped_p(labels, scores, other, draws=50) == 1
    with pytest.raises(ValueError, match="two subjects of each class"):
        delong(np.array([0, 0, 1]), np.arange(3.0), np.arange(3.0))


def test_the_swapped_p_is_the_fraction_of_all_swaps() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 4)
    first, second = 5 * labels + rng.normal(size=8), rng.normal(size=8)
    a, b = rankdata(first), rankdata(second)

    def difference(swap: tuple[int, ...]) -> float:
        one, other = np.where(swap, b, a), np.where(swap, a, b)
        return abs(ordered(labels, one) - ordered(labels, other))

    fraction = np.mean([difference(s) >= difference((0,) * 8) - 1e-9 for s in product((0, 1), repeat=8)])
    assert 0 < fraction < 0.5
    assert swapped_p(labels, first, second, draws=3000) == pytest.approx(
        fraction, abs=4 * math.sqrt(fraction / 3000)
    )
