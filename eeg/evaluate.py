"""Metrics of windows, recordings and subjects, with intervals from a bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


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
    hits, alarms = _ranked(labels, scores, weights)
    return float(np.trapezoid(hits, alarms) / (hits[-1] * alarms[-1]))


def average_precision(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the area under the precision-recall curve, in steps; all arguments (n,)."""
    hits, alarms = _ranked(labels, scores, weights)
    precision = hits[1:] / (hits[1:] + alarms[1:])
    return float(np.diff(hits) @ precision / hits[-1])


def balanced_accuracy(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return the mean over both classes of the share decided rightly, scores above 0 for class 1."""
    right = (scores > 0) == labels
    return float(np.mean([np.average(right[labels == c], weights=weights[labels == c]) for c in (0, 1)]))


def _ranked(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at or above each distinct score, from 0 upwards.

    A bootstrap asks for thousands of curves; scikit-learn's checks take 50 times as long.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    positive = np.cumsum((weights * labels)[order])[last]
    negative = np.cumsum((weights * (1 - labels))[order])[last]
    return np.append(0, positive), np.append(0, negative)


METRICS: Mapping[str, Metric] = {
    "roc_auc": roc_auc,
    "pr_auc_epilepsy": average_precision,
    "pr_auc_control": lambda y, s, w: average_precision(1 - y, -s, w),
    "balanced_accuracy": balanced_accuracy,
}


def evaluate(
    labels: np.ndarray,
    scores: np.ndarray,
    subjects: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = 1000,
    metrics: Mapping[str, Metric] = METRICS,
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
    return evaluate(labels, scores, subjects, seed=seed, metrics={"roc_auc": METRICS["roc_auc"]})["roc_auc"]


def permutation_p(labels: np.ndarray, scores: np.ndarray, *, seed: int = 0, draws: int = 2000) -> float:
    """Return how often shuffled labels (n,) give a ROC-AUC as high as the true ones (one-sided).

    One row a subject; the smallest value is 1 / (draws + 1) (Phipson & Smyth 2010).
    """
    rng = np.random.default_rng(seed)
    once = np.ones(len(labels))
    found = roc_auc(labels, scores, once)
    hits = sum(roc_auc(rng.permutation(labels), scores, once) >= found for _ in range(draws))
    return float((hits + 1) / (draws + 1))
