"""Metrics, calibration and the baselines, each against a slow twin or theory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)

from eeg.detector import calibration
from eeg.detector.calibration import Calibration
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
from eeg.models import amplitude
from eeg.preprocessing.windows import Windows

# --- metrics

METRICS = {**RANKING, **DECIDING, **CALIBRATED}


def sensitivity_of(y: np.ndarray, s: np.ndarray) -> float:
    alarms, hits, _ = roc_curve(y, s, drop_intermediate=False)
    return float(hits[alarms <= 0.1 + 1e-9].max())


def ece_of(y: np.ndarray, s: np.ndarray) -> float:
    p = 1 / (1 + np.exp(-s))
    error = 0.0
    for k in range(10):
        held = (p >= k / 10) & ((p < (k + 1) / 10) | (k == 9))
        if held.any():
            error += held.mean() * abs(p[held].mean() - y[held].mean())
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
def test_metrics_are_scikit_learns_on_the_rows_written_out(
    name: str, case: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    labels, scores, weights = case
    found = METRICS[name](labels, scores, weights)
    assert found == pytest.approx(PEERS[name](np.repeat(labels, weights), np.repeat(scores, weights)))


def test_every_metric_knows_which_side_is_epilepsy() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([-2.0, -1.0, 1.0, 2.0])
    for sign, expected in ((1, [1, 1, 1, 1, 1]), (-1, [0, 5 / 12, 5 / 12, 0, 0])):
        figures = compute_metrics(
            labels, sign * scores, np.arange(4), resamples=20, metrics={**RANKING, **DECIDING}
        )
        assert [figure.value for figure in figures.values()] == pytest.approx(expected)


def test_the_bootstrap_draws_subjects_whole() -> None:
    """A subject's rows a hundred times over tell nothing new: value and interval stay."""
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


def test_the_interval_is_the_percentiles_of_resamples_written_out() -> None:
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


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Two normals a distance d apart have AUC Phi(d / sqrt 2)."""
    rng = np.random.default_rng(2)
    truth = 0.5 * (1 + math.erf(1 / 2))
    labels = np.repeat([0, 1], 40)
    held = 0
    for _ in range(120):
        scores = labels + rng.normal(size=80)
        found = compute_metrics(labels, scores, np.arange(80), resamples=200, metrics={"auc": roc_auc})
        held += found["auc"].low <= truth <= found["auc"].high
    assert 0.87 <= held / 120 <= 0.99


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


# --- calibration

calibrations = st.builds(
    Calibration, st.floats(0.01, 10), st.floats(-5, 5), st.floats(0.05, 0.95), st.just(10)
)


@given(calibrations, st.floats(-10, 10), st.floats(0.01, 0.99))
def test_the_prior_moves_as_bayes_has_it(calibration: Calibration, score: float, prevalence: float) -> None:
    """Posterior odds are the likelihood ratio times the prior odds."""
    before = calibration.prevalence
    ratio = math.exp(calibration.logit(score)) / (before / (1 - before))
    odds = ratio * prevalence / (1 - prevalence)
    assert calibration.logit(score, prevalence) == pytest.approx(math.log(odds))
    assert calibration.logit(score, before) == pytest.approx(calibration.logit(score))


@given(calibrations, st.floats(-10, 10), st.floats(0.01, 5), st.floats(0.01, 0.98), st.floats(0.001, 0.01))
def test_the_calibrated_logit_rises_with_score_and_prevalence(
    calibration: Calibration, score: float, more: float, prevalence: float, step: float
) -> None:
    found = calibration.logit(score, prevalence)
    assert calibration.logit(score + more, prevalence) > found
    assert calibration.logit(score, prevalence + step) > found


@pytest.mark.parametrize("prevalence", [-0.1, 0.0, 1.0, 1.5, math.nan])
def test_a_prevalence_lies_between_0_and_1(prevalence: float) -> None:
    with pytest.raises(ValueError, match="prevalence must lie between 0 and 1"):
        Calibration(1.0, 0.0, 0.5, 10).logit(0.0, prevalence)


def platt(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Minimise the cross-entropy with Platt's targets, as in Platt 1999, by a general optimiser."""
    positive, negative = (labels == 1).sum(), (labels == 0).sum()
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(ab: np.ndarray) -> float:
        z = ab[0] * scores + ab[1]
        return float(np.sum(np.logaddexp(0, z) - target * z))

    slope, intercept = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    return float(slope), float(intercept)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("apart", [0.3, 1.0, 10.0])
def test_the_fit_is_platts(scale: float, apart: float) -> None:
    rng = np.random.default_rng(int(10 * apart))
    labels = np.repeat([0, 1], [25, 15])
    scores = apart * labels + rng.normal(size=40)  # 10 apart they are separable, and the slope stays finite
    slope, intercept = platt(scores, labels)
    found = calibration.fit_calibration(scale * scores + 3, labels)
    assert found.slope * scale == pytest.approx(slope, rel=2e-3)
    assert found.intercept + 3 * found.slope == pytest.approx(intercept, rel=2e-3, abs=2e-3)
    assert (found.prevalence, found.n) == (15 / 40, 40)


@pytest.mark.parametrize("scores", [-np.arange(20.0), np.zeros(20)])
def test_a_score_that_says_nothing_gives_the_prior(scores: np.ndarray) -> None:
    labels = np.repeat([0, 1], [12, 8])
    found = calibration.fit_calibration(scores, labels)
    assert found.slope == 0
    assert expit(found.logit(np.array([-9.0, 0.0, 9.0]))) == pytest.approx(8 / 20, abs=0.03)
    assert expit(found.logit(5.0, 0.1)) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_needs_both_classes(label: int) -> None:
    with pytest.raises(ValueError, match="calibration needs both classes"):
        calibration.fit_calibration(np.arange(4.0), np.full(4, label))


# --- amplitude


def test_amplitude_statistics_are_their_loops() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 50)).astype(np.float32)
    slow: dict[str, list[float]] = {name: [] for name in amplitude.AMPLITUDE_STATISTICS}
    for window in x.astype(float):
        channels = []
        for c in window:
            steps = sum(abs(c[i + 1] - c[i]) for i in range(len(c) - 1))
            second, fourth = (sum((v - c.mean()) ** k for v in c) / len(c) for k in (2, 4))
            channels.append((steps, fourth / second**2 - 3, max(c) - min(c)))
        for name, values in zip(
            ("line length", "kurtosis", "peak-to-peak"), zip(*channels, strict=True), strict=True
        ):
            slow[name].append(max(values))
    for name, statistic in amplitude.AMPLITUDE_STATISTICS.items():
        np.testing.assert_allclose(statistic(x), slow[name], rtol=1e-4)
    found = amplitude.amplitude_scores(Windows(x, np.arange(4.0), 1.0, 1, None))
    assert found == pytest.approx({name: max(values) for name, values in slow.items()}, rel=1e-4)
