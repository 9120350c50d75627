"""Metrics against scikit-learn, slow second implementations and theory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)

from eeg.evaluation.metrics import (
    CALIBRATED,
    DECIDING,
    RANKING,
    compute_metrics,
    matched_auc,
    risk_coverage,
    roc_auc,
    stratified_auc,
)

# --- metrics

METRICS = {**RANKING, **DECIDING, **CALIBRATED}


def sensitivity_of(y: np.ndarray, s: np.ndarray) -> float:
    alarms, hits, _ = roc_curve(y, s, drop_intermediate=False)
    return float(hits[alarms <= 0.1 + 1e-9].max())


def ece_of(y: np.ndarray, s: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-s))
    error = 0.0
    for k in range(10):
        inside = (p >= k / 10) & ((p < (k + 1) / 10) | (k == 9))
        if inside.any():
            error += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return float(error)


PEERS = {
    "roc_auc": lambda y, s: roc_auc_score(y, s),
    "pr_auc_epilepsy": lambda y, s: average_precision_score(y, s),
    "pr_auc_control": lambda y, s: average_precision_score(1 - y, -s),
    "sensitivity": sensitivity_of,
    "balanced_accuracy": lambda y, s: balanced_accuracy_score(y, s > 0),
    "brier": lambda y, s: brier_score_loss(y, expit(s)),
    "calibration_error": ece_of,
}


@st.composite
def weighted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both classes, scores with many ties, and how often each row was drawn."""
    n = draw(st.integers(2, 12))
    labels = np.array(
        draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)))
    )
    scores = np.array(draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)), float)
    weights = np.array(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
    return labels, scores, weights


@pytest.mark.parametrize("name", METRICS)
@given(case=weighted())
@settings(max_examples=60)
def test_weighted_metrics_are_scikit_learns_on_repeated_rows(
    name: str, case: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    labels, scores, weights = case
    found = METRICS[name](labels, scores, weights)
    assert found == pytest.approx(PEERS[name](np.repeat(labels, weights), np.repeat(scores, weights)))


def test_every_metric_has_epilepsy_as_the_positive_class() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([-2.0, -1.0, 1.0, 2.0])
    for sign, expected in ((1, [1, 1, 1, 1, 1]), (-1, [0, 5 / 12, 5 / 12, 0, 0])):
        figures = compute_metrics(
            labels, sign * scores, np.arange(4), resamples=20, metrics={**RANKING, **DECIDING}
        )
        assert [figure.value for figure in figures.values()] == pytest.approx(expected)


def test_the_bootstrap_draws_whole_subjects() -> None:
    """Repeating the rows of a subject changes neither the value nor the interval."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 15)
    scores = labels + rng.normal(size=30)
    once = compute_metrics(labels, scores, np.arange(30), resamples=200)
    rows = np.repeat(np.arange(30), 100)
    again = compute_metrics(labels[rows], scores[rows], rows, resamples=200)
    alone = compute_metrics(labels[rows], scores[rows], np.arange(len(rows)), resamples=200)
    for name in RANKING:
        assert again[name].value == pytest.approx(once[name].value)
        assert (again[name].low, again[name].high) == pytest.approx((once[name].low, once[name].high))
        assert alone[name].high - alone[name].low < (once[name].high - once[name].low) / 5


def test_the_interval_is_the_percentiles_of_explicit_resamples() -> None:
    rng = np.random.default_rng(1)
    subjects = np.array(["c", "a", "a", "b", "d", "d", "e"])
    labels = np.array([1, 0, 0, 1, 0, 0, 1])
    scores = rng.normal(size=7)
    drawn = []
    draw = np.random.default_rng(5)
    for _ in range(300):
        chosen = [np.array(list("abcde"))[i] for i in draw.integers(0, 5, 5)]
        rows = np.concatenate([np.flatnonzero(subjects == name) for name in chosen])
        if len(set(labels[rows])) == 2:
            drawn.append(roc_auc_score(labels[rows], scores[rows]))
    found = compute_metrics(labels, scores, subjects, seed=5, resamples=300)["roc_auc"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert found.value == pytest.approx(roc_auc_score(labels, scores))


def test_the_interval_covers_the_truth_at_its_nominal_rate() -> None:
    """Two normals a distance d apart have AUC Phi(d / sqrt 2)."""
    rng = np.random.default_rng(2)
    truth = 0.5 * (1 + math.erf(1 / 2))
    labels = np.repeat([0, 1], 40)
    covered = 0
    for _ in range(120):
        scores = labels + rng.normal(size=80)
        found = compute_metrics(labels, scores, np.arange(80), resamples=200, metrics={"auc": roc_auc})
        covered += found["auc"].low <= truth <= found["auc"].high
    assert 0.87 <= covered / 120 <= 0.99


@given(weighted(), st.integers(0, 99))
def test_the_stratified_auc_counts_pairs_of_one_stratum(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    labels, scores, weights = case
    strata = np.random.default_rng(seed).integers(0, 3, len(labels))
    right, pairs = 0.0, 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            if strata[i] == strata[j]:
                pairs += weights[i] * weights[j]
                right += weights[i] * weights[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
    found = stratified_auc(labels, scores, weights, strata)
    assert found == pytest.approx(right / pairs) if pairs else math.isnan(found)
    once = matched_auc(labels, scores, strata, resamples=20)
    assert math.isnan(once.value) == (pairs == 0)
    assert once.value == pytest.approx(
        stratified_auc(labels, scores, np.ones(len(labels)), strata), nan_ok=True
    )


@given(weighted())
def test_risk_and_coverage_are_those_of_every_threshold(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    labels, logits, weights = case
    coverage, risk = risk_coverage(labels, logits, weights)
    expected = []
    for least in sorted(set(np.abs(logits)), reverse=True):
        sure = np.abs(logits) >= least
        wrong = (logits[sure] > 0) != labels[sure]
        expected.append((weights[sure].sum() / weights.sum(), np.average(wrong, weights=weights[sure])))
    np.testing.assert_allclose(list(zip(coverage, risk, strict=True)), expected)
    assert coverage[-1] == 1


def test_one_class_has_no_ranking() -> None:
    for figures in (compute_metrics(np.full(3, c), np.arange(3.0), np.arange(3)) for c in (0, 1)):
        assert all(math.isnan(e.value) and math.isnan(e.low) for e in figures.values())
