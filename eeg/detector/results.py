"""Results on unseen subjects, as a detector stores them: metrics of their scores, and confounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from eeg.detector.conformal import Answers

STRONG = 0.7
"""ROC-AUC above which a confound is called strong, if its p-value is below 0.05."""

_MIN_MATCHED = 5  # subjects of a class that a matched comparison needs

LEVELS = ("windows", "recordings", "subjects")
"""What is scored, from the smallest to the largest."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval (percentile bootstrap over subjects); NaN if it cannot be estimated."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True)
class Matched:
    """A model's ROC-AUC among pairs of subjects with the same value, and the number of subjects in pairs."""

    auc: Estimate
    epilepsy: int
    control: int

    @property
    def enough(self) -> bool:
        """Whether there are enough subjects to interpret the ROC-AUC."""
        return min(self.epilepsy, self.control) >= _MIN_MATCHED


@dataclass(frozen=True)
class Finding:
    """How well one confound predicts the label.

    Parameters
    ----------
    confound
        Its name.
    auc
        ROC-AUC of the confound alone, cross-validated by subject.
    p
        One-sided p-value, from labels permuted within folds.
    within, within_p
        If a model's scores are given: their rank correlation with the confound within the classes, and its
        two-sided p-value.
    matched
        If they are given and the confound is strong: the model among subjects with the same value.
    """

    confound: str
    auc: Estimate
    p: float
    within: float | None = None
    within_p: float | None = None
    matched: Matched | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError("p: expected a number from 0 to 1")
        if (self.within is None) != (self.within_p is None):
            raise ValueError("within and within_p: expected both or neither")

    @property
    def strong(self) -> bool:
        """Whether a model may have learned this confound."""
        return self.auc.value > STRONG and self.p < 0.05


@dataclass(frozen=True)
class Audit:
    """The confounds, the strongest first; and the names of those that are constant or unknown."""

    findings: tuple[Finding, ...]
    constant: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def strong(self) -> tuple[Finding, ...]:
        """The confounds that a model may have learned."""
        return tuple(f for f in self.findings if f.strong)


@dataclass(frozen=True)
class Results:
    """Metrics of a set of unseen subjects, with 95 % intervals over subjects."""

    subjects: int
    epilepsy: int
    levels: Mapping[str, Mapping[str, Estimate]]  # one of `LEVELS` -> metric -> estimate
    permutation_p: float  # of the ROC-AUC of subjects, labels permuted across subjects
    baselines: Mapping[str, Estimate]  # ROC-AUC of subjects, without a network
    answers: Answers
    coverage: tuple[float, ...]  # fraction of subjects decided, the most certain first,
    risk: tuple[float, ...]  # and their error rate at prevalence 0.5
    audit: Audit

    def __post_init__(self) -> None:
        if not 0 <= self.epilepsy <= self.subjects:
            raise ValueError("epilepsy: expected a number of the subjects")
        if set(self.levels) != set(LEVELS) or "roc_auc" not in self.levels["subjects"]:
            raise ValueError(f"levels: expected {', '.join(LEVELS)}, the last with roc_auc")
        if not 0 <= self.permutation_p <= 1:
            raise ValueError("permutation_p: expected a number from 0 to 1")
        if not 0 < len(self.coverage) == len(self.risk):
            raise ValueError("coverage and risk: expected as many values of each, and at least one")
        if not all(math.isfinite(value) for value in (*self.coverage, *self.risk)):
            raise ValueError("coverage and risk: expected finite numbers")
