"""Models and rules on the same folds of the same subjects, each tested against the first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eeg.budget import lasting
from eeg.datasets import splits
from eeg.evaluation.metrics import Estimate, auc
from eeg.evaluation.significance import PairedComparison, delong, swapped_p
from eeg.models.features import FEATURES
from eeg.training.cross_validation import cross_validate, subject_scores
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from trainers.comparison.table import text


@dataclass(frozen=True)
class Row:
    """What a model reached.

    ``against`` and ``swapped`` compare it with the first one: by DeLong's test, and by scores swapped at
    random (two-sided p); None for the first itself.
    """

    name: str
    roc_auc: Estimate
    against: PairedComparison | None
    swapped: float | None


def compare(
    plans: Sequence[Plan],
    loaded: Loaded,
    parts: Sequence[splits.SubjectSplit],
    *,
    jobs: int = 1,
    folder: Path | None = None,
    said: Callable[[str], object] = lambda line: None,
) -> list[Row]:
    """Cross-validate every plan on the same ``parts``, and judge subjects.

    Parameters
    ----------
    plans
        The first is the one that the others are tested against.
    loaded
        The recordings, cut alike for all.
    parts
        See `eeg.datasets.splits.split_folds`.
    jobs
        Processes that work at once.
    folder
        An existing folder, where the scores of each fold are kept: a later call with the same plans and
        recordings takes them from there.
    said
        Told how long each plan will take, as soon as that is known.
    """
    rows: list[Row] = []
    first: np.ndarray | None = None
    for plan in plans:
        timed = partial(_tell, said, name_of(plan))
        scores, labels, names = subject_scores(cross_validate(plan, loaded, parts, jobs, folder, timed))
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


def _tell(said: Callable[[str], object], name: str, seconds: float, rounds: int) -> None:
    if rounds:
        said(f"{name}: {lasting(rounds * seconds)} more")
