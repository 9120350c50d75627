"""What a training that was killed had done: the scores of its folds, each in a file of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eeg.datasets import Entry
from eeg.datasets.fingerprint import hash_facts
from eeg.datasets.splits import SubjectSplit
from eeg.preprocessing.windows import Windows
from trainers.errors import DataError
from trainers.files import replacing
from trainers.provenance import to_plain, versions


@dataclass(frozen=True)
class Fold:
    """How the test recordings of a fold were judged: logits (N,) of each, and how they are put together."""

    logits: tuple[np.ndarray, ...]
    aggregation: str


def store(fold: Fold, path: Path) -> None:
    """Write a fold's scores, whole or not at all; they name nobody."""
    facts = {"aggregation": fold.aggregation, "logits": [z.tolist() for z in fold.logits]}
    with replacing(path) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")


def recall(path: Path) -> Fold:
    """Read what `store` wrote, bit for bit.

    Raises
    ------
    DataError
        If the file holds anything else.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return Fold(tuple(np.array(z, float) for z in facts["logits"]), facts["aggregation"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no scores of a fold ({error}); delete it, and it is made anew") from error


def names(plan: object, loaded: Mapping[Entry, Windows], folds: Sequence[SubjectSplit]) -> list[str]:
    """Return what the file of each fold is called: another name for whatever could change its scores.

    That is the plan, the versions of what it is trained by, what it is trained on and tested on, subject by
    subject, and the recordings without a diagnosis.
    """
    seen = {entry: f"{entry.subject} {windows_digest(windows)}" for entry, windows in loaded.items()}
    unlabelled = [seen[entry] for entry in loaded if entry.label is None]
    common = [to_plain(plan), versions(), unlabelled]
    made_of = [[*common, [seen[e] for e in train], [seen[e] for e in test]] for train, test in folds]
    return [f"{hash_facts(facts)}.json" for facts in made_of]


def windows_digest(windows: Windows) -> str:
    """Return a hash of what a model learns from a recording."""
    events = windows.events and [times.tolist() for times in windows.events]
    return hash_facts([windows.length, windows.onset.tolist(), windows.label, events], windows.data.data)


def corpus_windows_digest(loaded: Mapping[Entry, Windows]) -> str:
    """Return the hash of all recordings together, in their order."""
    return hash_facts([windows_digest(windows) for windows in loaded.values()])
