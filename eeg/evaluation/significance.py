"""Significance tests of the scores of one model, and of two models on the same subjects.

There is one row per subject throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from eeg.detector.results import Estimate
from eeg.evaluation.metrics import roc_auc
from eeg.evaluation.resampling import monte_carlo_p


@dataclass(frozen=True)
class PairedComparison:
    """The first ROC-AUC minus the second, with its 95 % interval and two-sided p."""

    difference: Estimate
    p: float


def permutation_p(labels: np.ndarray, scores: np.ndarray, *, seed: int = 0, draws: int = 2000) -> float:
    """Return the one-sided p-value of a ROC-AUC under permutation of the labels.

    Parameters
    ----------
    labels, scores
        (n,) each.
    seed, draws
        Of the permutations.
    """
    rng, ranks = np.random.default_rng(seed), rankdata(scores)  # their sum increases with the ROC-AUC
    return monte_carlo_p(lambda y: float(ranks @ y), labels, lambda: rng.permutation(labels), draws)


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
    The interval is normal, and too short for about ten subjects: `swapped_p` is exact.  If both models rank
    the subjects equally, p is 1.
    """
    positive, negative = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    if min(positive, negative) < 2:
        raise ValueError(
            f"DeLong's test needs two subjects of each class, got {min(positive, negative)} of one"
        )
    patients = np.array([_placements(labels, scores, of=1) for scores in (first, second)])
    controls = np.array([_placements(labels, scores, of=0) for scores in (first, second)])
    difference = float(patients[0].mean() - patients[1].mean())
    variance = sum(np.var(p[0] - p[1], ddof=1) / p.shape[1] for p in (patients, controls))
    error = float(np.sqrt(variance))
    p = float(2 * norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    half = float(norm.ppf(0.975)) * error
    return PairedComparison(Estimate(difference, difference - half, difference + half), p)


def _placements(labels: np.ndarray, scores: np.ndarray, of: int) -> np.ndarray:
    """Return for each subject of a class the fraction of the other class that ranks on its correct side."""
    mine, others = scores[labels == of], scores[labels != of]
    joint = rankdata(np.concatenate([mine, others]))[: len(mine)]
    below = (joint - rankdata(mine)) / len(others)
    return below if of == 1 else 1 - below


def swapped_p(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, *, seed: int = 0, draws: int = 2000
) -> float:
    """Return the two-sided p-value of a difference in ROC-AUC when scores are swapped between the models.

    Scores are compared by their ranks within each model, as in the ROC-AUC.

    Parameters
    ----------
    labels, first, second
        As in `delong`.
    seed, draws
        Of the swaps, which are independent for each subject.
    """
    rng, n = np.random.default_rng(seed), len(labels)
    once, ranks = np.ones(n), (rankdata(first), rankdata(second))

    def difference(swap: np.ndarray) -> float:
        pair = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        return abs(roc_auc(labels, pair[0], once) - roc_auc(labels, pair[1], once))

    return monte_carlo_p(difference, np.zeros(n, bool), lambda: rng.integers(0, 2, n) == 1, draws)
