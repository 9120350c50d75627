"""The scores of the finished folds of a cross-validation, one file per fold."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eeg import large_arrays
from eeg.datasets import Entry
from eeg.datasets.fingerprint import file_hash, hash_facts
from eeg.datasets.splits import SubjectSplit
from eeg.models.registry import find_model, is_user_code
from eeg.preprocessing.windows import Windows
from eeg.training.plan import Plan
from trainers.files import replacing
from trainers.provenance import parse_json, to_plain, versions


@dataclass(frozen=True)
class FoldScores:
    """The window logits (N,) of each test recording of a fold, and the aggregation of its model."""

    logits: tuple[np.ndarray, ...]
    aggregation: str


def write_fold(fold: FoldScores, path: Path) -> None:
    """Write the scores of a fold and their digest, whole or not at all; they identify no subject.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    facts = {"aggregation": fold.aggregation, "logits": [z.tolist() for z in fold.logits]}
    with replacing(path) as part:
        part.write_text(json.dumps({"digest": hash_facts(facts), **facts}), encoding="utf-8")


def read_fold(path: Path) -> FoldScores | None:
    """Read what `write_fold` wrote, bit for bit; None if it is missing or damaged."""
    try:
        facts = parse_json(path.read_bytes())
        if facts.pop("digest") != hash_facts(facts):
            return None
        return FoldScores(tuple(np.array(z, float) for z in facts["logits"]), facts["aggregation"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def fold_names(plan: Plan, loaded: Mapping[Entry, Windows], folds: Sequence[SubjectSplit]) -> list[str]:
    """Return the file name of each fold: a hash of everything that its scores depend on.

    These are the plan, the versions of the packages, the file of a user's network, the training and test
    recordings of each subject, and the recordings without a diagnosis.
    """
    seen = {entry: f"{entry.subject} {windows_digest(windows)}" for entry, windows in loaded.items()}
    unlabelled = [seen[entry] for entry in loaded if entry.label is None]
    common = [to_plain(plan), versions(), _user_code(plan.model), unlabelled]
    facts = [[*common, [seen[e] for e in train], [seen[e] for e in test]] for train, test in folds]
    return [f"{hash_facts(fold)}.json" for fold in facts]


def _user_code(model: str) -> str | None:
    """Return the hash of the file of a user's network, None for those of this package."""
    if not is_user_code(model):
        return None
    find_model(model)
    source = getattr(sys.modules[model.partition(":")[0]], "__file__", None)
    return source and file_hash(Path(source))


def windows_digest(windows: Windows) -> str:
    """Return a hash of what a model learns from a recording."""
    events = windows.events and [times.tolist() for times in windows.events]
    facts = [windows.data.shape, windows.length, windows.onset.tolist(), windows.label, events]
    digest = hash_facts(facts, windows.data.data)
    large_arrays.release(windows.data)
    return digest


def corpus_windows_digest(loaded: Mapping[Entry, Windows]) -> str:
    """Return the hash of all recordings together, in their order."""
    return hash_facts([windows_digest(windows) for windows in loaded.values()])
