"""Scores of held-out subjects, one training per line: a second call continues."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from eeg.detector.results import Estimate
from eeg.evaluation.metrics import auc


@dataclass(frozen=True)
class Scores:
    """One model on one set of subjects.

    Parameters
    ----------
    name, seed
        What was trained; each pair is run once.
    labels, scores
        One of each subject, in the order of the subjects' names, which are not stored.
    facts
        Further results, such as chosen settings.
    """

    name: str
    seed: int
    labels: Sequence[int]
    scores: Sequence[float]
    seconds: float
    facts: Mapping[str, object] = field(default_factory=dict)

    def auc(self, among: Iterable[bool] | None = None) -> Estimate:
        """Return the ROC-AUC ``among`` some of the subjects, with its interval over subjects."""
        chosen = np.ones(len(self.labels), bool) if among is None else np.array(list(among), bool)
        labels = np.array(self.labels)[chosen]
        return auc(labels, np.array(self.scores)[chosen], np.arange(len(labels)))


def read(path: Path) -> dict[tuple[str, int], Scores]:
    """Return the lines of a file by name and seed, the newest of each; none where there is no file."""
    if not path.exists():
        return {}
    lines = [Scores(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(found.name, found.seed): found for found in lines}


def append(path: Path, found: Scores) -> None:
    """Add a line at the end of the file, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found)) + "\n")
