"""Evaluate a detector on subjects that it was not trained on: `eeg evaluate` and `eeg.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eeg.datasets import Corpus, splits
from eeg.datasets.copies import hash_signals
from eeg.datasets.fingerprint import file_hash
from eeg.detector.detector import Detector
from eeg.detector.results import Results
from eeg.evaluation.localization import Precision, precision
from eeg.evaluation.recording_metadata import read_confounds
from eeg.evaluation.results import compute_results
from eeg.evaluation.significance import PairedComparison, delong, swapped_p
from eeg.training.cross_validation import Scored, score_recordings, subject_scores
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from eeg.workflows.choices import describe_plan
from eeg.workflows.corpus import OnError, OnMessage, load_corpus, usable
from trainers.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """A detector evaluated on the subjects of a corpus that it was not trained on.

    Parameters
    ----------
    plan
        What the detector records of its training.
    results
        Metrics with intervals, and confounds.
    excluded
        Number of recordings of training subjects, which are excluded.
    precision
        Precision at R of the ranked segments, None without annotated discharges.
    against
        The comparison with another detector, None without one.
    """

    plan: Plan
    results: Results
    excluded: int
    precision: Precision | None
    against: DetectorComparison | None


def evaluate(
    detector: Detector,
    corpus: Corpus,
    *,
    against: Detector | None = None,
    method: str = "occlusion",
    cache: Path | None = None,
    jobs: int = 1,
    on_error: OnError | None = None,
    on_message: OnMessage | None = None,
) -> Evaluation:
    """Evaluate a detector on the subjects of a corpus that it was not trained on.

    Parameters
    ----------
    detector
        The detector.
    corpus
        Recordings and diagnoses.
    against
        Another detector, to compare on the subjects new to both.
    method
        The attribution method whose ranked segments are compared with annotated discharges.
    cache, jobs, on_error, on_message
        See `eeg.workflows.corpus.load_corpus`.

    Raises
    ------
    DataError
        If the corpus cannot be used, or no new subjects remain.
    """
    corpus = usable(corpus, on_error=on_error, on_message=on_message)
    plan = plan_of(detector)
    loaded = load_corpus(corpus, detector, cache=cache, jobs=jobs, on_error=on_error, on_message=on_message)
    scored, excluded = score_unseen(detector, corpus, loaded)
    if on_message is not None:
        on_message(describe_plan(plan, corpus))
    comparison = None
    if against is not None:
        try:
            other = load_corpus(corpus, against, cache=cache, jobs=jobs, on_error=lambda *_: None)
            comparison = compare_scored(scored, score_unseen(against, corpus, other)[0])
        except DataError as error:
            raise DataError(f"--against: {error}") from error
    precision = locate_discharges(detector, scored, method)
    return Evaluation(plan, evaluate_scored(detector, scored), excluded, precision, comparison)


def score_unseen(detector: Detector, corpus: Corpus, loaded: Loaded) -> tuple[list[Scored], int]:
    """Score the recordings of new subjects; return them and the number of recordings of training subjects.

    A training subject is recognised by a recording that the detector was trained on, or a copy of it with
    another header or format.

    Raises
    ------
    DataError
        If no new subjects remain, or only of one class.
    """
    files, signals = set(detector.training.recordings), set(detector.training.signals)
    subjects = {
        entry.subject
        for entry, signal in zip(loaded, hash_signals(loaded), strict=True)
        if signal in signals or file_hash(entry.path) in files
    }
    fresh = [e for e in loaded if e.subject not in subjects]
    if not fresh:
        raise DataError(f"{corpus.name}: the model was trained on every subject; evaluate it on others")
    splits.subjects_of(fresh)
    scored = score_recordings(detector.network, loaded, fresh, "held out", detector.aggregation)
    return scored, len(loaded) - len(fresh)


def evaluate_scored(detector: Detector, scored: Sequence[Scored]) -> Results:
    """Return the results of recordings that the detector was not trained on."""
    confounds = read_confounds([s.entry for s in scored])
    return compute_results(plan_of(detector), scored, detector.calibration, folds=5, confounds=confounds)


@dataclass(frozen=True)
class DetectorComparison:
    """The difference between the ROC-AUC of two detectors on subjects new to both."""

    subjects: int
    roc_auc: PairedComparison  # by DeLong's test
    swapped: float  # two-sided p by scores swapped at random

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"ROC-AUC of subjects minus that of the other model: {self.roc_auc.difference}, "
            f"n = {self.subjects}, p = {self.roc_auc.p:.2g} (DeLong), {self.swapped:.2g} (scores swapped at "
            "random)"
        )


def compare_scored(first: Sequence[Scored], second: Sequence[Scored]) -> DetectorComparison:
    """Compare the scores of two detectors on the subjects new to both.

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
    return DetectorComparison(len(both), delong(y, one, other), swapped_p(y, one, other))


def plan_of(detector: Detector) -> Plan:
    """Return the part of the plan that a detector records."""
    return Plan(
        preprocessing=detector.preprocessing,
        labels=detector.labels,
        window=detector.window,
        aggregation=detector.aggregation,
        model=detector.model,
        rule=detector.training.rule,
        quality=detector.quality,
    )


def locate_discharges(
    detector: Detector, scored: Sequence[Scored], method: str = "occlusion"
) -> Precision | None:
    """Return the mean precision at R over the recordings with annotated discharges, None without any."""
    values = [p for p in (precision(detector, s, method) for s in scored) if p is not None]
    if not values:
        return None
    return Precision(*(float(np.mean([getattr(p, f) for p in values])) for f in Precision.__annotations__))
