"""Assign a recording to a group, or to neither: conformal prediction sets, calibrated on subjects.

A new subject is exchangeable with the calibration subjects of the same class if both come from the same
population.  Subjects of another hospital may differ; then the error rates may not hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from trainers.errors import DataError

ALPHA = 0.1
"""Default error rate: the fraction of each group that may be assigned to the other group."""

EXCHANGEABILITY = (
    "Error rates hold for subjects of the same population as the calibration subjects; they may not hold for "
    "another hospital, recorder or period."
)

Group = Literal["epilepsy", "control"]


def required_subjects(alpha: float) -> int:
    """Return the smallest number n of calibration subjects per group for which 1 / (n + 1) <= ``alpha``.

    The smallest p-value of n subjects is 1 / (n + 1): with fewer subjects no group can be excluded.
    """
    return next(n for n in count(max(1, math.ceil(1 / alpha) - 2)) if alpha >= 1 / (n + 1))


@dataclass(frozen=True)
class Answer:
    """Which group a recording resembles, None for neither, and then why.

    ``expected`` is the predictive value at the stated prevalence, estimated on the calibration subjects: the
    proportion of recordings assigned to this group that belong to it; NaN if unknown.
    """

    group: Group | None
    alpha: float
    n: int  # calibration subjects of the smaller group
    expected: float = math.nan
    why: str = ""

    def __str__(self) -> str:
        if self.group is None:
            return f"Cannot say: {self.why}"
        return f"Resembles the {self.group} group"

    @property
    def grounds(self) -> str:
        """The evidence for the answer: error rate, number of subjects, predictive value.

        Empty if there are too few subjects for any error rate to hold.
        """
        if self.n < required_subjects(self.alpha):
            return ""
        sentence = (
            f"At most {self.alpha:.0%} of each group are assigned to the other group, estimated on "
            f"n = {self.n} calibration subjects of the smaller group."
        )
        if not math.isnan(self.expected):
            sentence += (
                f" At the stated prevalence {self.expected:.0%} of those assigned to this group belong to it."
            )
        return f"{sentence} {EXCHANGEABILITY}"


@dataclass(frozen=True)
class Conformal:
    """The raw scores of the calibration subjects, one each, from networks not trained on them (out-of-fold).

    Sets are formed for each class separately (Vovk 2012), so that their error rates hold at any prevalence.
    """

    epilepsy: tuple[float, ...] = ()
    control: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.epilepsy, *self.control))):
            raise ValueError("epilepsy and control: expected finite scores")

    @property
    def n(self) -> int:
        """The number of subjects of the smaller group: what limits the error rates."""
        return min(len(self.epilepsy), len(self.control))

    def p_values(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the conformal p-values of scores (...) for epilepsy and for control, each (...) in (0, 1].

        The fraction of calibration subjects, including the new one, whose score is as far towards the
        other group.  Ties count as equally far: they increase the p-value.
        """
        scores = np.asarray(scores, float)
        low = (scores[..., None] >= np.array(self.epilepsy)).sum(-1)
        high = (scores[..., None] <= np.array(self.control)).sum(-1)
        return (low + 1) / (len(self.epilepsy) + 1), (high + 1) / (len(self.control) + 1)

    def check(self, alpha: float) -> None:
        """Refuse an error rate that the number of subjects does not support.

        Raises
        ------
        DataError
            If ``alpha`` is below 1 / (n + 1) or not below 1: no score could be assigned, or all are.
        """
        if not 1 / (self.n + 1) <= alpha < 1:
            raise DataError(
                f"alpha = {alpha:g}: calibrated on n = {self.n} subjects of the smaller group; expected at "
                f"least 1/(n+1) = {1 / (self.n + 1):.3g} and below 1; take a larger alpha or more subjects"
            )

    def too_few(self, alpha: float) -> str:
        """Return why no recording can be assigned at this error rate, "" if there are enough subjects."""
        if self.n >= (required := required_subjects(alpha)):
            return ""
        return (
            f"n = {self.n} calibration subjects of the smaller group are too few for alpha = {alpha:g}; "
            f"at least {required} per group are needed"
        )

    def group(self, score: float, alpha: float = ALPHA) -> Group | None:
        """Return the only group whose p-value of a raw score exceeds alpha, None for both or neither.

        At most a fraction ``alpha`` of each group is assigned to the other group.

        Raises
        ------
        DataError
            As `check`.
        """
        self.check(alpha)
        epilepsy, control = (float(p) > alpha for p in self.p_values(np.array(score)))
        if epilepsy == control:
            return None
        return "epilepsy" if epilepsy else "control"

    def answer(self, score: float, prevalence: float, alpha: float = ALPHA) -> Answer:
        """Return the group that a raw score is assigned to, or why it is not assigned."""
        if few := self.too_few(alpha):
            return Answer(None, alpha, self.n, why=few)
        group = self.group(score, alpha)
        if group is None:
            return Answer(None, alpha, self.n, why="the score is typical of both groups, or of neither")
        expected = dict(zip(("epilepsy", "control"), self.rates(alpha).predictive(prevalence), strict=True))
        return Answer(group, alpha, self.n, expected[group])

    def rates(self, alpha: float = ALPHA) -> Answers:
        """Return how often calibration subjects are assigned, leaving each out of the calibration."""
        labels = np.repeat([1, 0], [len(self.epilepsy), len(self.control)])
        scores = np.array([*self.epilepsy, *self.control])
        others = [calibrate(np.delete(scores, i), np.delete(labels, i)) for i in range(len(scores))]
        return answers(labels, scores, others, alpha)


def calibrate(scores: np.ndarray, labels: np.ndarray) -> Conformal:
    """Keep the scores (n,) of subjects with labels (n,) of 0 and 1."""
    return Conformal(tuple(sorted(scores[labels == 1].tolist())), tuple(sorted(scores[labels == 0].tolist())))


@dataclass(frozen=True)
class Rates:
    """The answers for the subjects of one group: fractions that sum to 1."""

    right: float
    wrong: float
    unsaid: float

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.right, self.wrong, self.unsaid)):
            raise ValueError("right, wrong and unsaid: expected numbers from 0 to 1")


@dataclass(frozen=True)
class Answers:
    """How often unseen subjects are assigned to a group, and how often correctly.

    ``alpha`` is None if there are too few subjects for `ALPHA`: then none is assigned.
    """

    alpha: float | None
    n: int  # calibration subjects of the smaller group; the fewest of all parts
    epilepsy: Rates
    control: Rates

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 < self.alpha < 1:
            raise ValueError("alpha: expected a number between 0 and 1")
        if self.n < 0:
            raise ValueError("n: expected a number of subjects")

    def predictive(self, prevalence: float) -> tuple[float, float]:
        """Return the predictive values of the answers "epilepsy" and "control" at ``prevalence``.

        By Bayes' rule; NaN if the answer never occurs.
        """
        with_it, without = prevalence, 1 - prevalence
        return (
            _fraction(with_it * self.epilepsy.right, without * self.control.wrong),
            _fraction(without * self.control.right, with_it * self.epilepsy.wrong),
        )


def _fraction(right: float, wrong: float) -> float:
    return right / (right + wrong) if right + wrong else math.nan


def answers(
    labels: np.ndarray, scores: np.ndarray, calibrations: Sequence[Conformal], alpha: float = ALPHA
) -> Answers:
    """Count the answers for subjects with labels (n,) and raw scores (n,), each with a calibration.

    In cross-validation that of a subject contains the scores of the other folds (cross-conformal; Vovk 2015).

    Parameters
    ----------
    labels, scores
        Of the subjects, (n,) each.
    calibrations
        (n,) one per subject, of other subjects.
    alpha
        The error rate.
    """
    n = min(c.n for c in calibrations)
    enough = n >= required_subjects(alpha)
    groups = [c.group(float(s), alpha) if enough else None for s, c in zip(scores, calibrations, strict=True)]

    def rates(label: int, right: Group, wrong: Group) -> Rates:
        mine = [t for t, y in zip(groups, labels, strict=True) if y == label]
        return Rates(*(sum(t == kind for t in mine) / len(mine) for kind in (right, wrong, None)))

    return Answers(
        alpha if enough else None, n, rates(1, "epilepsy", "control"), rates(0, "control", "epilepsy")
    )
