"""Models and rules on the same folds of the same subjects, each tested against the first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eeg import splits
from eeg.evaluate import Estimate, auc
from eeg.features import FEATURES
from eeg.significance import Comparison, delong, swapped_p
from eeg.training import Loaded, Plan, cross_validate, fingerprint, subject_scores
from trainers.files import replacing
from trainers.record import plain
from trainers.table import text


@dataclass(frozen=True)
class Row:
    """What a model reached.

    ``against`` and ``swapped`` compare it with the first one: by DeLong's test, and by scores swapped at
    random (two-sided p); None for the first itself.
    """

    name: str
    roc_auc: Estimate
    against: Comparison | None
    swapped: float | None


def compare(
    plans: Sequence[Plan],
    loaded: Loaded,
    parts: Sequence[splits.Split],
    *,
    jobs: int = 1,
    folder: Path | None = None,
) -> list[Row]:
    """Cross-validate every plan on the same ``parts``, and judge subjects.

    Parameters
    ----------
    plans
        The first is the one that the others are tested against.
    loaded
        The recordings, cut alike for all.
    parts
        See `eeg.splits.folds`.
    jobs
        Processes that work at once.
    folder
        An existing folder, where the scores of each plan are kept: a later call with the same plans and
        recordings takes them from there.
    """
    rows: list[Row] = []
    first: np.ndarray | None = None
    for plan in plans:
        scores, labels, names = _scores(plan, loaded, parts, jobs, folder)
        found = auc(labels, scores, np.array(names))
        if first is None:
            first = scores
            rows.append(Row(name_of(plan), found, None, None))
        else:
            rows.append(
                Row(name_of(plan), found, delong(labels, scores, first), swapped_p(labels, scores, first))
            )
    return rows


def name_of(plan: Plan) -> str:
    """Return the model and, of a network, the rule that it learns by."""
    if plan.model in FEATURES:
        return plan.model
    return f"{plan.model} by {plan.rule}{', then backprop' if plan.finetune else ''}"


def as_text(rows: Sequence[Row], subjects: int) -> str:
    """Return the rows as a table for people."""
    cells = [["", "ROC-AUC of subjects", "minus the first", "p (DeLong)", "p (swapped)"]]
    for row in rows:
        tested = ["", "", ""]
        if row.against is not None:
            tested = [str(row.against.difference), f"{row.against.p:.2g}", f"{row.swapped:.2g}"]
        cells.append([row.name, str(row.roc_auc), *tested])
    return f"{text(cells)}\n{subjects} subjects, the same folds for all; 95 % intervals over subjects"


def _scores(
    plan: Plan, loaded: Loaded, parts: Sequence[splits.Split], jobs: int, folder: Path | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the subjects' scores, labels and names, from ``folder`` where they are there."""
    if folder is None:
        return subject_scores(cross_validate(plan, loaded, parts, jobs))
    made_of = [plain(plan), *([fingerprint(train), fingerprint(test)] for train, test in parts)]
    path = folder / f"{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}.json"
    labelled = splits.subjects_of(entry for entry in loaded if entry.label is not None)
    names = sorted(labelled)
    if not path.exists():
        scores, _, _ = subject_scores(cross_validate(plan, loaded, parts, jobs))
        with replacing(path) as part:
            part.write_text(json.dumps({"plan": plain(plan), "scores": scores.tolist()}), encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))["scores"]
    return np.array(kept), np.array([labelled[name] for name in names]), names
