"""Compare models and rules on the same folds of the same subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eeg.datasets import Corpus, splits
from eeg.detector.results import Estimate
from eeg.disclaimers import RESEARCH_USE
from eeg.evaluation.metrics import auc
from eeg.evaluation.significance import PairedComparison, delong, swapped_p
from eeg.models.features import FEATURES
from eeg.training.cross_validation import cross_validate, subject_scores
from eeg.training.fit import Loaded
from eeg.training.plan import Plan, describe_model
from eeg.workflows.choices import check_names, check_plan, make_plan
from eeg.workflows.corpus import OnError, OnMessage, load_corpus, usable
from eeg.workflows.run_folder import make_folder
from trainers.comparison.table import text


@dataclass(frozen=True)
class ComparisonRow:
    """The out-of-fold result of a model.

    ``against`` and ``swapped`` compare it with the first model: DeLong's test, and a permutation test that
    swaps scores between the two (two-sided p); None for the first itself.
    """

    name: str
    roc_auc: Estimate
    against: PairedComparison | None
    swapped: float | None


@dataclass(frozen=True)
class ModelComparison:
    """Models on the same folds of a corpus, each tested against the first."""

    corpus: str
    simulated: bool
    subjects: int
    folds: int
    rows: tuple[ComparisonRow, ...]

    def __str__(self) -> str:
        table = [["", "ROC-AUC of subjects", "minus the first", "p (DeLong)", "p (swapped)"]]
        for row in self.rows:
            tested = ["", "", ""]
            if row.against is not None:
                tested = [str(row.against.difference), f"{row.against.p:.2g}", f"{row.swapped:.2g}"]
            table.append([row.name, str(row.roc_auc), *tested])
        return (
            f"{self.corpus}{' (SIMULATED)' if self.simulated else ''}.  {RESEARCH_USE}\n{text(table)}\n"
            f"{self.subjects} subjects, the same folds for all; 95 % intervals over subjects"
        )


def compare_models(
    corpus: Corpus,
    models: Sequence[str],
    rules: Sequence[str] = ("backprop",),
    *,
    folds: int = 5,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    on_error: OnError | None = None,
    on_message: OnMessage | None = None,
    **settings: Any,
) -> ModelComparison:
    """Cross-validate models on the same folds: every network with every rule, and feature models.

    Parameters
    ----------
    corpus
        Recordings and diagnoses.
    models, rules
        Names of networks and feature models, and of the rules that train the networks.
    folds
        Number of folds by subject.
    seed, **settings
        See `eeg.workflows.choices.make_plan`.
    out
        A folder that stores the scores of each fold for later calls.
    cache, jobs, on_error, on_message
        See `eeg.workflows.corpus.load_corpus`.

    Raises
    ------
    SettingsError
        If a setting is unknown or excludes another.
    DataError
        If the corpus cannot be used or split.
    """
    corpus = usable(corpus, on_error=on_error, on_message=on_message)
    plans = []
    for model in models:
        for rule in rules[:1] if model in FEATURES else rules:
            plan = make_plan(corpus, model=model, rule=rule, seed=seed, **settings)
            if model not in FEATURES:
                check_names(model, rule)
                check_plan(plan)
            plans.append(plan)
    splits.split_folds(splits.diagnosed(corpus), folds, seed)  # refused before anything is loaded
    loaded = load_corpus(corpus, plans[0], cache=cache, jobs=jobs, on_error=on_error, on_message=on_message)
    parts = splits.split_folds(list(loaded), folds, seed)
    rows = compare_plans(
        plans, loaded, parts, jobs=jobs, folder=out and make_folder(out), on_message=on_message
    )
    subjects = len({entry.subject for entry in loaded})
    return ModelComparison(corpus.name, corpus.simulated, subjects, folds, tuple(rows))


def compare_plans(
    plans: Sequence[Plan],
    loaded: Loaded,
    folds: Sequence[splits.SubjectSplit],
    *,
    jobs: int = 1,
    folder: Path | None = None,
    on_message: OnMessage | None = None,
) -> list[ComparisonRow]:
    """Cross-validate every plan on the same folds.

    Parameters
    ----------
    plans
        The others are tested against the first.
    loaded
        The windows of each recording, the same for all plans.
    folds, jobs, folder, on_message
        See `eeg.training.cross_validation.cross_validate`.
    """
    rows: list[ComparisonRow] = []
    first: np.ndarray | None = None
    for plan in plans:
        scores, labels, names = subject_scores(cross_validate(plan, loaded, folds, jobs, folder, on_message))
        estimate = auc(labels, scores, np.array(names))
        if first is None:
            first = scores
            rows.append(ComparisonRow(describe_model(plan), estimate, None, None))
        else:
            tests = delong(labels, scores, first), swapped_p(labels, scores, first)
            rows.append(ComparisonRow(describe_model(plan), estimate, *tests))
    return rows
