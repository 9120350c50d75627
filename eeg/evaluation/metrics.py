"""Metrics of windows, recordings and subjects, with intervals from a bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

from eeg.detector.results import Estimate
from eeg.evaluation.resampling import bootstrap_interval

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # labels, scores, weights


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the ROC curve; all arguments (n,)."""
    return stratified_auc(labels, scores, weights, np.zeros(len(labels), int))


def stratified_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, strata: np.ndarray) -> float:
    """Return the ROC-AUC over pairs of subjects of the same stratum.

    Parameters
    ----------
    labels, scores, weights, strata
        (n,) each.

    Returns
    -------
    NaN if no stratum contains both classes.
    """
    ordered, pairs = 0.0, 0.0
    for stratum in np.unique(strata):
        rows = strata == stratum
        hits, alarms = _ranked(labels[rows], scores[rows], weights[rows])
        ordered += float(np.trapezoid(hits, alarms))
        pairs += float(hits[-1] * alarms[-1])
    return ordered / pairs if pairs else float("nan")


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the precision-recall curve, in steps; all arguments (n,)."""
    hits, alarms = _ranked(labels, scores, weights)
    precision = hits[1:] / (hits[1:] + alarms[1:])
    return float(np.diff(hits) @ precision / hits[-1])


def balanced_accuracy(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean over both classes of the fraction decided correctly, scores above 0 for class 1."""
    correct = (scores > 0) == labels
    return float(np.mean([np.average(correct[labels == c], weights=weights[labels == c]) for c in (0, 1)]))


def sensitivity(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the largest sensitivity at a specificity of at least 90 %."""
    hits, alarms = _ranked(labels, scores, weights)
    allowed = alarms <= 0.1 * alarms[-1] * (1 + 1e-9)
    return float(hits[allowed][-1] / hits[-1])


def brier(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean squared error of the probabilities (Brier 1950)."""
    return float(np.average((expit(logits) - labels) ** 2, weights=weights))


def calibration_error(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """Return the expected calibration error in ten bins of equal width (Guo et al. 2017).

    It is above 0 by chance alone, and more so for few subjects.
    """
    p = expit(logits)
    bins = np.minimum((10 * p).astype(int), 9)
    return float(np.abs(np.bincount(bins, weights * (p - labels))).sum() / weights.sum())


def risk_coverage(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error rate among the most certain decisions (Geifman & El-Yaniv 2017).

    Parameters
    ----------
    labels, logits, weights
        (n,) each: 0 or 1; decided at 0, the more certain the farther from it; and the weight of each.

    Returns
    -------
    coverage, risk
        (k,) each: the fraction that is decided, up to 1, and its fraction of errors.  Decisions of equal
        certainty are taken together.
    """
    certainty = np.abs(logits)
    order = np.argsort(-certainty, kind="stable")
    last = np.append(np.flatnonzero(np.diff(certainty[order])), len(order) - 1)
    decided = np.cumsum(weights[order])[last]
    wrong = np.cumsum((weights * ((logits > 0) != labels))[order])[last]
    return decided / decided[-1], wrong / decided


def _ranked(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at or above each distinct score, starting at 0.

    A bootstrap needs thousands of curves, for which scikit-learn is 50 times slower.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    positive = np.cumsum((weights * labels)[order])[last]
    negative = np.cumsum((weights * (1 - labels))[order])[last]
    return np.append(0, positive), np.append(0, negative)


RANKING: Mapping[str, Metric] = {
    "roc_auc": roc_auc,
    "pr_auc_epilepsy": average_precision,
    "pr_auc_control": lambda y, s, w: average_precision(1 - y, -s, w),
    "sensitivity": sensitivity,
}
"""Metrics of any score: only the order counts."""

DECIDING: Mapping[str, Metric] = {"balanced_accuracy": balanced_accuracy}
"""Metrics of a logit at prevalence 0.5, which decides at 0."""

CALIBRATED: Mapping[str, Metric] = {"brier": brier, "calibration_error": calibration_error}
"""Metrics of a calibrated logit, which is a probability."""


def compute_metrics(
    labels: np.ndarray,
    scores: np.ndarray,
    subjects: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 1000,
    metrics: Mapping[str, Metric] = RANKING,
) -> dict[str, Estimate]:
    """Return every metric with its interval.

    Parameters
    ----------
    labels, scores, subjects
        (n,) each: 0 or 1; higher for epilepsy, with the decision at 0; and the subject of the row.  All rows
        of a subject are drawn together.
    seed, resamples
        Of the bootstrap.
    metrics
        By name.

    Returns
    -------
    One estimate per metric, NaN if all rows have the same label.
    """

    def values(weights: np.ndarray) -> np.ndarray:
        drawn = weights > 0
        y, s, w = labels[drawn], scores[drawn], weights[drawn]
        if y.min() == y.max():
            return np.full(len(metrics), np.nan)
        return np.array([metric(y, s, w) for metric in metrics.values()])

    return dict(zip(metrics, _estimates(values, subjects, seed, resamples), strict=True))


def auc(labels: np.ndarray, scores: np.ndarray, subjects: np.ndarray, *, seed: int = 0) -> Estimate:
    """Return the ROC-AUC with its interval.

    Parameters
    ----------
    labels, scores, subjects, seed
        As in `compute_metrics`.

    Examples
    --------
    >>> labels, scores = np.array([0, 0, 1, 1] * 5), np.array([1, 2, 3, 4] * 5)
    >>> print(auc(labels, scores, subjects=np.arange(20)))
    1.000 (1.000-1.000)
    """
    return compute_metrics(labels, scores, subjects, seed=seed, metrics={"roc_auc": roc_auc})["roc_auc"]


def matched_auc(
    labels: np.ndarray, scores: np.ndarray, strata: np.ndarray, *, seed: int = 0, resamples: int = 1000
) -> Estimate:
    """Return the `stratified_auc` with its interval.

    Parameters
    ----------
    labels, scores, strata
        (n,) each, one row per subject.
    seed, resamples
        Of the bootstrap.
    """

    def values(weights: np.ndarray) -> np.ndarray:
        return np.array([stratified_auc(labels, scores, weights, strata)])

    return _estimates(values, np.arange(len(labels)), seed, resamples)[0]


def _estimates(
    values: Callable[[np.ndarray], np.ndarray], subjects: np.ndarray, seed: int, resamples: int
) -> list[Estimate]:
    value = values(np.ones(len(subjects)))
    if np.isnan(value).all():
        return [Estimate(np.nan, np.nan, np.nan)] * len(value)
    low, high = bootstrap_interval(values, subjects, seed=seed, resamples=resamples)
    return [Estimate(*row) for row in np.stack([value, low, high], -1).tolist()]
