"""From a recording's raw logit to a probability at a stated prevalence, and to an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import expit, logit as log_odds

from eeg.detector import conformal
from eeg.detector.conformal import Conformal


@dataclass(frozen=True)
class Calibration:
    """An affine map of the raw logit, fitted on ``n`` subjects.

    ``prevalence`` is the proportion of these subjects with epilepsy, ``conformal`` their scores, which
    assign a recording to a group.
    """

    slope: float
    intercept: float
    prevalence: float
    n: int
    conformal: Conformal = field(default_factory=Conformal)

    def __post_init__(self) -> None:
        if not (0 <= self.slope < math.inf and math.isfinite(self.intercept)):
            raise ValueError("slope and intercept: expected finite numbers, the slope not below 0")
        if not 0 < self.prevalence < 1:
            raise ValueError("prevalence: expected a number between 0 and 1")
        scores = len(self.conformal.epilepsy) + len(self.conformal.control)
        if self.n < 0 or (scores and scores != self.n):
            raise ValueError("n: expected the number of subjects, as many as conformal has scores")

    @property
    def warning(self) -> str:
        """`NOT_SEPARATED` if the slope is 0, else ""."""
        return "" if self.slope else NOT_SEPARATED

    def logit(self, score: np.ndarray | float, prevalence: float | None = None) -> np.ndarray:
        """Return the calibrated logit at ``prevalence`` (0 to 1; the training subjects' by default).

        The prior is moved as Bayes has it: the log odds of the new prevalence replace those of the
        old (Saerens et al. 2002).
        """
        shift = 0.0
        if prevalence is not None:
            if not 0 < prevalence < 1:
                raise ValueError(f"prevalence = {prevalence}, expected a number between 0 and 1")
            shift = float(log_odds(prevalence) - log_odds(self.prevalence))
        return self.slope * np.asarray(score, float) + self.intercept + shift


NOT_SEPARATED = "The calibration scores do not separate the groups: the score is only the prevalence."
"""Warning of a calibration that does not use the network's score."""

UNCALIBRATED = Calibration(1.0, 0.0, 0.5, 0)
"""Leaves raw logits as they are; of a network trained elsewhere."""


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit Platt's sigmoid (Platt 1999, with smoothed targets) to one score per subject.

    ``scores`` (n,) and ``labels`` (n,) of 0 and 1 must come from subjects outside the network's training.
    If the scores rank subjects in the wrong order, the slope is 0.
    """
    positive, negative = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    if min(positive, negative) == 0:
        raise ValueError(
            f"calibration needs both classes, got {positive} with and {negative} without epilepsy"
        )
    slope, intercept = _sigmoids(scores[None], labels)
    return Calibration(
        float(slope[0]),
        float(intercept[0]),
        positive / len(labels),
        len(labels),
        conformal.calibrate(scores, labels),
    )


def _sigmoids(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope and intercept (R,) of each row of ``scores`` (R, n), with labels (n,).

    Newton's method, all rows at once.  A step that moves a logit by more than 1 is shortened to 1: then each
    step decreases the loss, however far the minimum is (Bach 2010, "Self-concordant analysis for logistic
    regression").
    """
    positive, negative = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    target = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    low, high = scores.min(axis=1), scores.max(axis=1)
    centre, spread = (low + high) / 2, np.where(low < high, (high - low) / 2, 1.0)
    z = (scores - centre[:, None]) / spread[:, None]
    x = np.stack([z, np.ones_like(z)], axis=1)
    solution = np.zeros((len(scores), 2))
    for _ in range(1000):
        p = expit(np.einsum("rk,rkn->rn", solution, x))
        gradient = np.einsum("rkn,rn->rk", x, p - target)
        # The small ridge makes the slope 0 where all scores are equal.
        curvature = np.einsum("rkn,rn,rln->rkl", x, p * (1 - p), x) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        change = np.abs(np.einsum("rk,rkn->rn", step, x)).max(axis=1, keepdims=True)
        solution -= step / np.maximum(change, 1)
        if change.max() < 1e-8:
            break
    slope = solution[:, 0] / spread
    separates = slope > 0
    prior = log_odds(positive / len(labels))
    return np.where(separates, slope, 0.0), np.where(separates, solution[:, 1] - slope * centre, prior)


def score_interval(
    calibration: Calibration,
    score: float,
    prevalence: float | None = None,
    *,
    seed: int = 0,
    resamples: int = 200,
) -> tuple[float, float]:
    """Return the 95 % interval of the probability of a raw score: a bootstrap over calibration subjects.

    Each group is resampled separately and the sigmoid fitted again.  The uncertainty of the network's
    training is not included.

    Parameters
    ----------
    calibration
        Stores the scores of its subjects.
    score
        The raw score.
    prevalence
        Of epilepsy where the model is used; default: that of the calibration.
    seed, resamples
        Of the bootstrap.

    Raises
    ------
    ValueError
        If the calibration stores no subjects of one group.
    """
    groups = calibration.conformal.epilepsy, calibration.conformal.control
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [np.concatenate([rng.choice(group, len(group)) for group in groups]) for _ in range(resamples)]
    )
    sigmoids = _sigmoids(drawn, np.repeat([1, 0], [len(group) for group in groups]))
    refitted = [replace(calibration, slope=a, intercept=b) for a, b in zip(*sigmoids, strict=True)]
    low, high = np.quantile([expit(one.logit(score, prevalence)) for one in refitted], [0.025, 0.975])
    return float(low), float(high)
