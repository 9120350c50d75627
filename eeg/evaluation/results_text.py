"""Results on unseen subjects as text and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eeg.detector import conformal
from eeg.detector.conformal import EXCHANGEABILITY
from eeg.detector.results import Results
from eeg.evaluation.confounds import describe_audit
from trainers.comparison.table import text

if TYPE_CHECKING:
    from eeg.training.plan import Plan

_HEADS = {
    "roc_auc": "ROC-AUC",
    "pr_auc_epilepsy": "PR-AUC epilepsy",
    "pr_auc_control": "PR-AUC control",
    "sensitivity": "sensitivity at 90 % specificity",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier",
    "calibration_error": "ECE",
}


def results_table(results: Results) -> list[list[str]]:
    """Return the metrics as rows of cells, starting with the header."""
    levels = results.levels
    rows = [
        [head, *(str(level[name]) if name in level else "" for level in levels.values())]
        for name, head in _HEADS.items()
    ]
    return [["", *levels], *rows]


def describe_results(results: Results, plan: Plan) -> str:
    """Return the results as text, without the audit (`describe_results_audit`)."""
    lines = [text(results_table(results))]
    lines.append(
        f"{results.subjects} subjects, {results.epilepsy} with epilepsy; 95 % intervals from a bootstrap "
        f"over subjects; labels permuted across subjects: p = {results.permutation_p:.3g}"
    )
    if plan.labels == "events":
        lines.append("(a window is positive if it contains an annotated discharge)")
    lines += [f"baseline: ROC-AUC of {name}: {value}" for name, value in results.baselines.items()]
    lines += [describe_answers(results), describe_risk(results)]
    return "\n".join(lines)


def describe_results_audit(results: Results) -> str:
    """Return the audit as text."""
    return describe_audit(results.audit, results.levels["subjects"]["roc_auc"])


def describe_answers(results: Results) -> str:
    """Return a paragraph on how often subjects were assigned to a group, and correctly."""
    answers = results.answers
    if answers.alpha is None:
        return (
            f"answers: none; n = {answers.n} calibration subjects of the smaller group are too few for "
            f"alpha = {conformal.ALPHA:g}."
        )
    groups = ", ".join(
        f"of the {name} group {rates.right:.0%} correct, {rates.wrong:.0%} wrong, {rates.unsaid:.0%} "
        '"cannot say"'
        for name, rates in (("epilepsy", answers.epilepsy), ("control", answers.control))
    )
    return f"answers at alpha = {answers.alpha:g} (n = {answers.n}): {groups}. {EXCHANGEABILITY}"


def describe_risk(results: Results) -> str:
    """Return the error rates of the most certain quarter, half and three quarters of the decisions.

    Decisions of equal certainty are taken together, so that the fractions may be larger.
    """
    places = {int(np.searchsorted(results.coverage, fraction - 1e-9)) for fraction in (0.25, 0.5, 0.75)}
    points = [
        f"{results.risk[i]:.0%} at coverage {results.coverage[i]:.0%}"
        for i in sorted({*places, len(results.coverage) - 1})
    ]
    return (
        "selective risk (error rate of the most certain fraction of the decisions, at prevalence 0.5): "
        + ", ".join(points)
    )
