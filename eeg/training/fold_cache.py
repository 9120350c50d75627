"""The scores of the finished folds of a cross-validation, one file per fold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from eeg.datasets import Entry
from eeg.datasets.fingerprint import hash_facts
from eeg.datasets.splits import SubjectSplit
from eeg.labels import check_name
from eeg.models.pooling import POOLINGS
from eeg.preprocessing.windows import Windows
from trainers.errors import DataError
from trainers.files import replacing
from trainers.provenance import from_plain, parse_json, to_plain, versions


@dataclass(frozen=True)
class FoldScores:
    """The window logits (N,) of each test recording of a fold, and the aggregation of its model."""

    logits: tuple[np.ndarray, ...]
    aggregation: str


@dataclass(frozen=True)
class _Stored:
    """`FoldScores` in its file."""

    logits: tuple[tuple[float, ...], ...]
    aggregation: str

    def __post_init__(self) -> None:
        check_name("aggregation", self.aggregation, POOLINGS)
        if not all(map(math.isfinite, chain(*self.logits))):
            raise ValueError("logits: expected finite numbers")


def write_fold(fold: FoldScores, path: Path) -> None:
    """Write the scores of a fold, whole or not at all; they identify no subject."""
    facts = {"aggregation": fold.aggregation, "logits": [z.tolist() for z in fold.logits]}
    with replacing(path) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")


def read_fold(path: Path) -> FoldScores:
    """Read what `write_fold` wrote, bit for bit.

    Raises
    ------
    DataError
        If the file holds anything else.
    """
    try:
        stored = from_plain(_Stored, parse_json(path.read_bytes()))
        return FoldScores(tuple(np.array(z, float) for z in stored.logits), stored.aggregation)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected the scores of a fold; "
            "delete the file to train the fold again"
        ) from error


def fold_names(plan: object, loaded: Mapping[Entry, Windows], folds: Sequence[SubjectSplit]) -> list[str]:
    """Return the file name of each fold: a hash of everything that its scores depend on.

    These are the plan, the versions of the packages, the training and test recordings of each subject, and
    the recordings without a diagnosis.
    """
    seen = {entry: f"{entry.subject} {windows_digest(windows)}" for entry, windows in loaded.items()}
    unlabelled = [seen[entry] for entry in loaded if entry.label is None]
    common = [to_plain(plan), versions(), unlabelled]
    facts = [[*common, [seen[e] for e in train], [seen[e] for e in test]] for train, test in folds]
    return [f"{hash_facts(fold)}.json" for fold in facts]


def windows_digest(windows: Windows) -> str:
    """Return a hash of what a model learns from a recording."""
    events = windows.events and [times.tolist() for times in windows.events]
    return hash_facts([windows.length, windows.onset.tolist(), windows.label, events], windows.data.data)


def corpus_windows_digest(loaded: Mapping[Entry, Windows]) -> str:
    """Return the hash of all recordings together, in their order."""
    return hash_facts([windows_digest(windows) for windows in loaded.values()])
