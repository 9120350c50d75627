"""Metrics of windows, recordings and subjects, with intervals from a bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (percentile bootstrap over subjects)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # labels, scores, weights


def _balanced(y: np.ndarray, score: np.ndarray, w: np.ndarray) -> float:
    return float(balanced_accuracy_score(y, score > 0, sample_weight=w))


METRICS: Mapping[str, Metric] = {
    "roc_auc": lambda y, s, w: float(roc_auc_score(y, s, sample_weight=w)),
    "pr_auc_epilepsy": lambda y, s, w: float(average_precision_score(y, s, sample_weight=w)),
    "pr_auc_control": lambda y, s, w: float(average_precision_score(1 - y, -s, sample_weight=w)),
    "balanced_accuracy": _balanced,
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
    """
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
    found = roc_auc_score(labels, scores)
    hits = sum(roc_auc_score(rng.permutation(labels), scores) >= found for _ in range(draws))
    return float((hits + 1) / (draws + 1))
