"""Poolings against loops, their derivatives, and their invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.special import logit

from eeg.models.pooling import POOLINGS, best_pooling, pool_logits, top_mean

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=40)


@given(logits)
def test_poolings_are_their_loops(values: list[float]) -> None:
    x = np.array(values)
    assert pool_logits("mean", x) == pytest.approx(sum(values) / len(values))
    p = sum(1 / (1 + math.exp(-v)) for v in values) / len(values)
    p = min(max(p, 1e-7), 1 - 1e-7)
    assert pool_logits("mean-probability", x) == pytest.approx(math.log(p / (1 - p)), abs=1e-6)
    none = -math.fsum(math.log1p(math.exp(v)) for v in values)  # log of the product of 1 - p
    once = -math.expm1(none / len(values))
    assert pool_logits("noisy-or", x) == pytest.approx(math.log(once) - none / len(values), abs=1e-6)
    first = sorted(values, reverse=True)[: max(1, round(0.08 * len(values)))]
    assert pool_logits("top", x) == pytest.approx(sum(first) / len(first))


@pytest.mark.parametrize("name", POOLINGS)
@given(values=logits)
def test_poolings_are_between_the_windows_and_ignore_their_order(name: str, values: list[float]) -> None:
    x = np.array(values)
    found = pool_logits(name, x)
    assert pool_logits(name, x[::-1]) == pytest.approx(found)
    low, high = x.min(), x.max()
    if name == "mean-probability":
        low, high = np.clip([low, high], logit(1e-7), logit(1 - 1e-7))
    if name == "peak":  # a distance
        low, high = 0, high - low
    assert low - 1e-6 <= found <= high + 1e-6


@given(logits, st.floats(0.01, 1))
def test_the_top_of_any_fraction_is_between_mean_and_maximum(values: list[float], fraction: float) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    assert x.mean() - 1e-6 <= top_mean(x, fraction) <= x.max() + 1e-6
    assert top_mean(x.flip(0), fraction) == pytest.approx(float(top_mean(x, fraction)))
    assert float(top_mean(x, 1.0)) == pytest.approx(float(x.mean()))
    assert top_mean(x, 1e-9) == x.max()


@pytest.mark.parametrize("name", POOLINGS)
def test_a_longer_recording_of_the_same_kind_has_the_same_score(name: str) -> None:
    x = np.random.default_rng(0).normal(size=50)
    assert pool_logits(name, np.tile(x, 6)) == pytest.approx(pool_logits(name, x))


@pytest.mark.parametrize("name", POOLINGS)
def test_poolings_take_the_last_axis(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 20))
    expected = [[pool_logits(name, row) for row in rows] for rows in x]
    np.testing.assert_allclose(pool_logits(name, x), expected)


def test_the_best_pooling_is_the_one_that_ranks_subjects_best() -> None:
    """Patients have a few high windows on a low mean: only poolings of the highest respond to them."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 20)
    logits = [rng.normal(size=100) - 0.3 * y for y in labels]
    for z, y in zip(logits, labels, strict=True):
        z[: 8 * y] += 3
    subjects = np.repeat(np.arange(20), 2)
    people = np.array([0, 1] * 10)[subjects]
    assert best_pooling(logits, labels, np.arange(40)) == "top"
    assert best_pooling([np.full(5, float(y)) for y in people], people, subjects) == "mean"
    with pytest.raises(ValueError, match="needs subjects of both classes"):
        best_pooling(logits, np.ones(40), np.arange(40))


@pytest.mark.parametrize("name", sorted(POOLINGS))
def test_every_pooling_is_differentiable(name: str) -> None:
    logits = torch.randn(3, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(POOLINGS[name], logits)


def test_the_peak_ignores_what_all_windows_have_in_common() -> None:
    logits = torch.randn(3, 40)
    torch.testing.assert_close(POOLINGS["peak"](logits + 5), POOLINGS["peak"](logits), rtol=0, atol=1e-5)
