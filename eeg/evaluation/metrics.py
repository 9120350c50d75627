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
    hits, alarms = _ranked(labels, scores, weights)
    pairs = hits[-1] * alarms[-1]
    ordered = (hits[1:] + hits[:-1]) @ (alarms[1:] - alarms[:-1]) / 2
    return float(ordered / pairs) if pairs else float("nan")


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
    order = np.lexsort((-scores, strata))
    stratum, ranked = strata[order], scores[order]
    last = np.ones(len(order), bool)  # of the rows of one score in one stratum
    last[:-1] = (stratum[1:] != stratum[:-1]) | (ranked[1:] != ranked[:-1])
    positive, negative = (np.cumsum((weights * y)[order])[last] for y in (labels, 1 - labels))
    hits, alarms = np.diff(positive, prepend=0), np.diff(negative, prepend=0)
    first = np.ones(len(hits), bool)  # of a stratum
    first[1:] = np.diff(stratum[last]) != 0
    above = positive - hits  # the weight of positives with higher scores, in this and earlier strata
    above -= above[first][np.cumsum(first) - 1]
    starts = np.flatnonzero(first)
    pairs = float(np.add.reduceat(hits, starts) @ np.add.reduceat(alarms, starts))
    return float(alarms @ (above + hits / 2)) / pairs if pairs else float("nan")


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
    ranked, weight = scores[order], weights[order]
    last = np.flatnonzero(ranked[1:] != ranked[:-1])
    curves = np.zeros((2, len(last) + 2))
    for curve, w in zip(curves, (weight * labels[order], weight * (1 - labels[order])), strict=True):
        sums = w.cumsum()
        curve[1:-1], curve[-1] = sums[last], sums[-1]
    return curves[0], curves[1]


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
