"""Metrics of windows, recordings and subjects, with intervals from a bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (percentile bootstrap over subjects)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # labels, scores, weights


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the ROC curve; all arguments (n,)."""
    return stratified_auc(labels, scores, weights, np.zeros(len(labels), int))


def stratified_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, strata: np.ndarray) -> float:
    """Return how often epilepsy scores above control among pairs of the same stratum; all arguments (n,).

    NaN where no stratum holds both classes.
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
    """Return the mean over both classes of the share decided rightly, scores above 0 for class 1."""
    right = (scores > 0) == labels
    return float(np.mean([np.average(right[labels == c], weights=weights[labels == c]) for c in (0, 1)]))


def sensitivity(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the largest sensitivity of a threshold that at least 90 % of the controls stay below."""
    hits, alarms = _ranked(labels, scores, weights)
    allowed = alarms <= 0.1 * alarms[-1] * (1 + 1e-9)
    return float(hits[allowed][-1] / hits[-1])


def brier(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean squared error of the probabilities (Brier 1950)."""
    return float(np.average((expit(logits) - labels) ** 2, weights=weights))


def calibration_error(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """Return how far probability and share of epilepsy lie apart on average: ECE in ten equal bins.

    As Guo et al. 2017; it is above 0 by chance alone, the more so the fewer subjects there are.
    """
    p = expit(logits)
    bins = np.minimum((10 * p).astype(int), 9)
    return float(np.abs(np.bincount(bins, weights * (p - labels))).sum() / weights.sum())


def risk_coverage(
    labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of wrong decisions among those that are decided, the surest first.

    Parameters
    ----------
    labels, logits, weights
        (n,) each: 0 or 1; decided at 0, the surer the farther from it; and how much each counts.

    Returns
    -------
    coverage, risk
        (k,) each: the share that is decided, rising to 1, and its share of errors (Geifman & El-Yaniv
        2017).  Decisions that are as sure as each other are taken together.
    """
    sureness = np.abs(logits)
    order = np.argsort(-sureness, kind="stable")
    last = np.append(np.flatnonzero(np.diff(sureness[order])), len(order) - 1)
    decided = np.cumsum(weights[order])[last]
    wrong = np.cumsum((weights * ((logits > 0) != labels))[order])[last]
    return decided / decided[-1], wrong / decided


def _ranked(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at or above each distinct score, from 0 upwards.

    A bootstrap asks for thousands of curves; scikit-learn's checks take 50 times as long.
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
"""What any score has: only the order counts."""

DECIDING: Mapping[str, Metric] = {"balanced_accuracy": balanced_accuracy}
"""What a logit at even prevalence has: it decides at 0."""

CALIBRATED: Mapping[str, Metric] = {"brier": brier, "calibration_error": calibration_error}
"""What a calibrated logit has: it is a probability."""


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
        (n,) each: 0 or 1; the higher the more like epilepsy, with the decision at 0; and whose it is.
        All rows of a subject are drawn together.

    Returns
    -------
    One estimate a metric, NaN where all rows are of one class: no discharge in any window, say.
    """
    if labels.min() == labels.max():
        return dict.fromkeys(metrics, Estimate(np.nan, np.nan, np.nan))
    names, which = np.unique(subjects, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(resamples):
        weight = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[which]
        kept = weight > 0
        y, s, w = labels[kept], scores[kept], weight[kept]
        if y.min() == y.max():
            continue
        for name, metric in metrics.items():
            drawn[name].append(metric(y, s, w))
    once = np.ones(len(labels))
    return {
        name: Estimate(metric(labels, scores, once), *np.quantile(drawn[name], [0.025, 0.975]).tolist())
        for name, metric in metrics.items()
    }


def auc(labels: np.ndarray, scores: np.ndarray, subjects: np.ndarray, *, seed: int = 0) -> Estimate:
    """Return the ROC-AUC with its interval."""
    return compute_metrics(labels, scores, subjects, seed=seed, metrics={"roc_auc": roc_auc})["roc_auc"]


def matched_auc(
    labels: np.ndarray, scores: np.ndarray, strata: np.ndarray, *, seed: int = 0, resamples: int = 1000
) -> Estimate:
    """Return the `stratified_auc` with its interval; all arguments (n,), one row a subject."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    once = np.ones(n)
    drawn = [
        stratified_auc(labels[rows], scores[rows], once, strata[rows])
        for rows in rng.integers(0, n, (resamples, n))
    ]
    found = stratified_auc(labels, scores, once, strata)
    if np.isnan(found):
        return Estimate(np.nan, np.nan, np.nan)
    return Estimate(found, *np.nanquantile(drawn, [0.025, 0.975]).tolist())
