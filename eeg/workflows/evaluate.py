"""A detector on recordings that it has not seen: what `eeg evaluate` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eeg.datasets import Corpus, splits
from eeg.datasets.fingerprint import file_hash
from eeg.detector.detector import Detector
from eeg.evaluation.localization import Precision, precision
from eeg.evaluation.recording_metadata import read_confounds
from eeg.evaluation.results import Results, compute_results
from eeg.evaluation.significance import PairedComparison, delong, swapped_p
from eeg.training.cross_validation import Scored, score, subject_scores
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from trainers.errors import DataError


def unseen(detector: Detector, corpus: Corpus, loaded: Loaded) -> tuple[list[Scored], int]:
    """Return what a detector gives for new subjects, and how many recordings are of others.

    A subject is known by a recording of his that the detector was trained on; where the corpus holds none of
    these, nobody can tell.

    Raises
    ------
    DataError
        If nothing is left that it has not seen, or of one class only.
    """
    known = set(detector.training.recordings)
    subjects = {e.subject for e in loaded if file_hash(e.path) in known}
    fresh = [e for e in loaded if e.subject not in subjects]
    if not fresh:
        raise DataError(f"{corpus.name}: the model was trained on every subject; evaluate it on others")
    splits.subjects_of(fresh)
    scored = score(detector.network, loaded, fresh, "held out", detector.aggregation)
    return scored, len(loaded) - len(fresh)


def judged(detector: Detector, scored: Sequence[Scored]) -> Results:
    """Return the figures of recordings that the detector had not seen."""
    confounds = read_confounds([s.entry for s in scored])
    return compute_results(plan_of(detector), scored, detector.calibration, folds=5, confounds=confounds)


@dataclass(frozen=True)
class Against:
    """How much larger a model's ROC-AUC is than another's, on the subjects that neither had seen."""

    subjects: int
    roc_auc: PairedComparison  # by DeLong's test
    swapped: float  # two-sided p by scores swapped at random

    def __str__(self) -> str:
        """Tell it in a line."""
        return (
            f"ROC-AUC of subjects minus that of the other model: {self.roc_auc.difference}, "
            f"n = {self.subjects}, p = {self.roc_auc.p:.2g} (DeLong), {self.swapped:.2g} (scores swapped at "
            "random)"
        )


def compared(first: Sequence[Scored], second: Sequence[Scored]) -> Against:
    """Compare two models on the subjects that neither had seen.

    Raises
    ------
    DataError
        If there are fewer than two such subjects of a class.
    """
    scores, labels, names = subject_scores(first)
    others, _, other_names = subject_scores(second)
    both = sorted(set(names) & set(other_names))
    mine, theirs = [names.index(n) for n in both], [other_names.index(n) for n in both]
    y, one, other = labels[mine], scores[mine], others[theirs]
    if min(np.sum(y == 1), np.sum(y == 0)) < 2:
        raise DataError(f"{len(both)} subjects are new to both models; a comparison needs two of each class")
    return Against(len(both), delong(y, one, other), swapped_p(y, one, other))


def plan_of(detector: Detector) -> Plan:
    """Return the part of the plan that a detector remembers."""
    return Plan(
        preprocessing=detector.preprocessing,
        labels=detector.labels,
        window=detector.window,
        aggregation=detector.aggregation,
        model=detector.model,
        rule=detector.training.rule,
        quality=detector.quality,
    )


def explained(detector: Detector, scored: Sequence[Scored], method: str = "occlusion") -> Precision | None:
    """Return the mean precision at R over the recordings with annotated discharges, None if none has."""
    found = [p for p in (precision(detector, s, method) for s in scored) if p is not None]
    if not found:
        return None
    return Precision(*(float(np.mean([getattr(p, f) for p in found])) for f in Precision.__annotations__))
