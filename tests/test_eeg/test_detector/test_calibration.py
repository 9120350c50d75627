"""Calibration against Platt's method by a general optimiser, and Bayes' rule."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from eeg.detector.calibration import NOT_SEPARATED, Calibration, fit_calibration, score_interval

calibrations = st.builds(
    Calibration, st.floats(0.01, 10), st.floats(-5, 5), st.floats(0.05, 0.95), st.just(10)
)


@given(calibrations, st.floats(-10, 10), st.floats(0.01, 0.99))
def test_the_prior_changes_as_in_bayes_rule(
    calibration: Calibration, score: float, prevalence: float
) -> None:
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
def test_a_prevalence_is_between_0_and_1(prevalence: float) -> None:
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        Calibration(1.0, 0.0, 0.5, 10).logit(0.0, prevalence)
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        Calibration(1.0, 0.0, prevalence, 10)


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
    found = fit_calibration(scale * scores + 3, labels)
    assert found.slope * scale == pytest.approx(slope, rel=1e-5)
    assert found.intercept + 3 * found.slope == pytest.approx(intercept, rel=1e-5, abs=1e-5)
    assert (found.prevalence, found.n) == (15 / 40, 40)


def refit(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Fit scikit-learn's logistic regression, each subject once in each class with its target as weight."""
    positive, negative = (labels == 1).sum(), (labels == 0).sum()
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
    weight = np.concatenate([target, 1 - target])
    model.fit(np.tile(scores, 2)[:, None], np.repeat([1, 0], len(scores)), sample_weight=weight)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


@given(
    st.integers(3, 40), st.integers(3, 40), st.floats(-1, 10), st.floats(0.1, 30), st.integers(0, 2**32 - 1)
)
def test_the_fit_is_scikit_learns(epilepsy: int, control: int, apart: float, scale: float, seed: int) -> None:
    labels = np.repeat([1, 0], [epilepsy, control])
    scores = np.random.default_rng(seed).normal(apart * labels)
    slope, intercept = refit(scores, labels)
    found = fit_calibration(scale * scores, labels)
    if slope > 1e-6:
        assert found.slope * scale == pytest.approx(slope, rel=1e-6, abs=1e-9)
        assert found.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-6)
    else:
        assert found.slope < 1e-5


@pytest.mark.parametrize("apart", [0.0, 1.0, 20.0])
def test_an_interval_is_the_quantiles_of_sigmoids_fitted_one_by_one(apart: float) -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([1, 0], [7, 12])
    found = fit_calibration(rng.normal(apart * labels), labels)
    groups = found.conformal.epilepsy, found.conformal.control
    drawn = np.random.default_rng(5)
    probabilities = []
    for _ in range(50):
        slope, intercept = refit(np.concatenate([drawn.choice(g, len(g)) for g in groups]), labels)
        prior = math.log(7 / 12)
        logit = slope * 0.5 + intercept if slope > 0 else prior
        probabilities.append(expit(logit - prior + math.log(0.2 / 0.8)))
    interval = score_interval(found, 0.5, 0.2, seed=5, resamples=50)
    assert interval == pytest.approx(np.quantile(probabilities, [0.025, 0.975]), rel=1e-6)


@pytest.mark.parametrize("scores", [-np.arange(20.0), np.full(20, 0.1)])
def test_an_uninformative_score_has_the_prior(scores: np.ndarray) -> None:
    labels = np.repeat([0, 1], [12, 8])
    found = fit_calibration(scores, labels)
    assert found.slope == 0
    assert expit(found.logit(np.array([-9.0, 0.0, 9.0]))) == pytest.approx(8 / 20, abs=0.03)
    assert expit(found.logit(5.0, 0.1)) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_needs_both_classes(label: int) -> None:
    with pytest.raises(ValueError, match="calibration needs both classes"):
        fit_calibration(np.arange(4.0), np.full(4, label))


def test_a_calibration_on_scores_in_the_wrong_order_is_only_the_prevalence_and_has_a_warning() -> None:
    labels = np.repeat([1, 0], [10, 30])
    found = fit_calibration(-labels + np.linspace(0, 0.1, 40), labels)
    assert found.warning == NOT_SEPARATED
    for score in (-100.0, 100.0):
        assert expit(found.logit(score)) == pytest.approx(0.25)
        assert expit(found.logit(score, 0.1)) == pytest.approx(0.1)
    assert fit_calibration(labels + np.linspace(0, 0.1, 40), labels).warning == ""
