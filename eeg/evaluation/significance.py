"""Is it chance?  Tests of one model's scores, and of two models' on the same subjects.

One row a subject throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from eeg.evaluation.metrics import Estimate, roc_auc


@dataclass(frozen=True)
class PairedComparison:
    """How much larger the first ROC-AUC is than the second, with its 95 % interval and two-sided p."""

    difference: Estimate
    p: float


def permutation_p(labels: np.ndarray, scores: np.ndarray, *, seed: int = 0, draws: int = 2000) -> float:
    """Return how often shuffled labels (n,) give a ROC-AUC as high as the true ones (one-sided).

    The smallest value is 1 / (draws + 1) (Phipson & Smyth 2010).
    """
    rng = np.random.default_rng(seed)
    once = np.ones(len(labels))
    found = roc_auc(labels, scores, once)
    hits = sum(roc_auc(rng.permutation(labels), scores, once) >= found for _ in range(draws))
    return float((hits + 1) / (draws + 1))


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> PairedComparison:
    """Compare the ROC-AUCs of two models on the same subjects (DeLong et al. 1988).

    Parameters
    ----------
    labels, first, second
        (n,) each: 0 or 1, and the two models' scores, ties included.

    Raises
    ------
    ValueError
        If a class has fewer than two subjects.

    Notes
    -----
    The interval is normal, and too short for some ten subjects: `swapped_p` is exact.  Where the two rank
    alike there is no difference, and p is 1.
    """
    if min(np.sum(labels == 1), np.sum(labels == 0)) < 2:
        raise ValueError("DeLong's test needs two subjects of each class")
    patients = np.array([_placements(labels, scores, of=1) for scores in (first, second)])
    controls = np.array([_placements(labels, scores, of=0) for scores in (first, second)])
    difference = float(patients[0].mean() - patients[1].mean())
    variance = sum(np.var(p[0] - p[1], ddof=1) / p.shape[1] for p in (patients, controls))
    error = float(np.sqrt(variance))
    p = float(2 * norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    reach = float(norm.ppf(0.975)) * error
    return PairedComparison(Estimate(difference, difference - reach, difference + reach), p)


def _placements(labels: np.ndarray, scores: np.ndarray, of: int) -> np.ndarray:
    """Return for each subject of a class the share of the other class that it is ranked rightly against."""
    mine, others = scores[labels == of], scores[labels != of]
    joint = rankdata(np.concatenate([mine, others]))[: len(mine)]
    below = (joint - rankdata(mine)) / len(others)
    return below if of == 1 else 1 - below


def swapped_p(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, *, seed: int = 0, draws: int = 2000
) -> float:
    """Return how often models that swap places at random differ as much in ROC-AUC (two-sided).

    Parameters are those of `delong`.  Scores are compared by their ranks within each model, as ROC-AUC
    sees them; the smallest value is 1 / (draws + 1).
    """
    rng = np.random.default_rng(seed)
    once = np.ones(len(labels))
    ranks = rankdata(first), rankdata(second)

    def apart(swap: np.ndarray) -> float:
        pair = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        return abs(roc_auc(labels, pair[0], once) - roc_auc(labels, pair[1], once))

    found = apart(np.zeros(len(labels), bool)) - 1e-12
    hits = sum(apart(rng.integers(0, 2, len(labels)) == 1) >= found for _ in range(draws))
    return float((hits + 1) / (draws + 1))
