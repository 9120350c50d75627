"""Confounds: facts of how a recording was made that predict the label without any EEG.

Each is evaluated separately, like a model: on subjects that it was not fitted to.  Confounds that are not
recorded cannot be ruled out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from eeg.detector.results import STRONG, Audit, Estimate, Finding, Matched
from eeg.evaluation.metrics import matched_auc, stratified_auc
from eeg.evaluation.resampling import monte_carlo_p, permute_within
from trainers.comparison.table import text

Value = str | float | None
"""A category, a number, or None if unknown."""

RecordingFacts = Mapping[str, Value]

_BINS = 5  # of a number, with equally many subjects
_DRAWS = 500


@dataclass(frozen=True)
class AuditSubject:
    """A subject: the label, the facts of each recording, and a model's score if there is one."""

    label: int
    recordings: tuple[RecordingFacts, ...]
    score: float | None = None


def audit_confounds(subjects: Sequence[AuditSubject], *, folds: int = 5, seed: int = 0) -> Audit:
    """Evaluate every confound, by ``folds`` folds or as many as the smaller class has subjects.

    There are no findings if a class has fewer than two subjects.

    >>> subjects = [AuditSubject(i % 2, ({"device": "AB"[i % 2]},)) for i in range(20)]
    >>> audit_confounds(subjects).findings[0].auc.value
    1.0
    """
    from sklearn.model_selection import StratifiedKFold  # takes half a second

    labels = np.array([s.label for s in subjects])
    smaller = int(min(np.sum(labels == 1), np.sum(labels == 0)))
    if smaller < 2:
        return Audit((), (), ())
    fold = np.empty(len(labels), int)
    parts = StratifiedKFold(min(folds, smaller), shuffle=True, random_state=seed).split(labels, labels)
    for i, (_, test) in enumerate(parts):
        fold[test] = i
    scores = np.array([s.score for s in subjects], float) if subjects[0].score is not None else None
    columns = _columns(subjects)
    constant = [name for name, v in columns.items() if len(set(v)) == 1]
    findings = [
        _finding(name, v, labels, fold, scores, seed) for name, v in columns.items() if len(set(v)) > 1
    ]
    return Audit(
        findings=tuple(sorted(findings, key=lambda f: -f.auc.value)),
        constant=tuple(name for name in constant if columns[name][0] is not None),
        unknown=tuple(name for name in constant if columns[name][0] is None),
    )


def _columns(subjects: Sequence[AuditSubject]) -> dict[str, list[Value]]:
    """Return one value per subject of each fact, and the number of their recordings."""
    names = dict.fromkeys(name for s in subjects for facts in s.recordings for name in facts)
    columns = {name: [_typical([r.get(name) for r in s.recordings]) for s in subjects] for name in names}
    return {**columns, "number of recordings": [float(len(s.recordings)) for s in subjects]}


def _typical(values: Sequence[Value]) -> Value:
    """Return the median of numbers, the most frequent category, or None if all are unknown."""
    known = [v for v in values if v is not None]
    numbers = [v for v in known if not isinstance(v, str)]
    if not known or numbers:
        return float(np.median(numbers)) if numbers else None
    counts = Counter(sorted(v for v in known if isinstance(v, str)))
    return counts.most_common(1)[0][0]


def _finding(
    name: str,
    values: Sequence[Value],
    labels: np.ndarray,
    fold: np.ndarray,
    scores: np.ndarray | None,
    seed: int,
) -> Finding:
    codes = np.array([categories(values, fold != i) for i in range(fold.max() + 1)])
    rng, once = np.random.default_rng(seed), np.ones(len(labels))
    finding = Finding(
        name,
        auc=matched_auc(labels, category_scores(labels, codes, fold), fold, seed=seed),
        p=monte_carlo_p(
            lambda y: stratified_auc(y, category_scores(y, codes, fold), once, fold),
            labels,
            lambda: permute_within(labels, fold, rng),
            _DRAWS,
        ),
    )
    if scores is None:
        return finding
    whole = categories(values, np.ones(len(labels), bool))
    excess = _excess(labels, whole, whole.max() + 1)[whole]
    within, within_p = within_classes(labels, scores, excess, rng)
    matched = _matched(labels, scores, whole, seed) if finding.strong else None
    return replace(finding, within=within, within_p=within_p, matched=matched)


def categories(values: Sequence[Value], train: np.ndarray) -> np.ndarray:
    """Return the number of each subject's category (n,); unknown is a category too.

    Numbers are binned so that bins have equally many of the subjects in ``train`` (n,) bool; a value that
    bounds a bin has its own.
    """
    if not any(isinstance(v, float) for v in values):
        return np.unique([v or "" for v in values], return_inverse=True)[1]
    numbers = np.array([np.nan if v is None else v for v in values], float)
    known = np.isfinite(numbers)
    if not (known & train).any():
        return known.astype(int)
    edges = np.unique(np.quantile(numbers[known & train], np.arange(1, _BINS) / _BINS))
    below, up_to = (np.searchsorted(edges, numbers, side=side) for side in ("left", "right"))
    return np.where(known, below + up_to, 2 * _BINS)


def category_scores(labels: np.ndarray, codes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return each subject's score (n,) from a category alone.

    It is the fraction of epilepsy among the subjects of the *other* folds in the same category, minus the
    overall one, shrunk towards 0 with the weight of one subject.

    Parameters
    ----------
    labels, fold
        (n,) each.
    codes
        (folds, n): the categories, fitted to the training part of each fold.
    """
    score = np.empty(len(labels))
    for i, code in enumerate(codes):
        test = fold == i
        score[test] = _excess(labels[~test], code[~test], code.max() + 1)[code[test]]
    return score


def _excess(labels: np.ndarray, code: np.ndarray, number: int) -> np.ndarray:
    """Return the shrunk fraction of epilepsy in each of ``number`` categories, minus the overall one."""
    counts = np.bincount(code, minlength=number)
    return np.bincount(code, labels - labels.mean(), minlength=number) / (counts + 1)


def within_classes(
    labels: np.ndarray, scores: np.ndarray, confound: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the rank correlation of a model's scores with a confound within the classes, and its p-value.

    A model that only uses the EEG has a correlation of 0.  It is 0 with p = 1 if the confound is constant in
    each class.

    Parameters
    ----------
    labels, scores, confound
        (n,) each.
    rng
        Permutes scores within classes; the p-value is two-sided.
    """

    def centred_ranks(values: np.ndarray) -> np.ndarray:
        ranks = np.empty(len(values))
        for c in (0, 1):
            ranks[labels == c] = rankdata(values[labels == c])
            ranks[labels == c] -= ranks[labels == c].mean()
        return ranks

    a, b = centred_ranks(scores), centred_ranks(confound)
    norm = float(np.sqrt((a @ a) * (b @ b)))
    if norm == 0:
        return 0.0, 1.0
    p = monte_carlo_p(lambda ranks: abs(ranks @ b), a, lambda: permute_within(a, labels, rng), _DRAWS)
    return float(a @ b) / norm, p


def _matched(labels: np.ndarray, scores: np.ndarray, strata: np.ndarray, seed: int) -> Matched:
    both = set(strata[labels == 1]) & set(strata[labels == 0])
    paired = np.isin(strata, list(both))
    return Matched(
        auc=matched_auc(labels, scores, strata, seed=seed),
        epilepsy=int((paired & (labels == 1)).sum()),
        control=int((paired & (labels == 0)).sum()),
    )


def describe_audit(audit: Audit, model: Estimate | None = None) -> str:
    """Return an audit as a table and a verdict; ``model`` is the ROC-AUC of a model's scores."""
    has_scores = any(f.within is not None for f in audit.findings)
    rows = [
        ["confound alone", "ROC-AUC", "p", *(["correlation with the model's score"] if has_scores else [])]
    ]
    for f in audit.findings:
        more = [f"{f.within:+.2f} (p = {f.within_p:.2g})"] if f.within is not None else []
        rows.append([f.confound, str(f.auc), f"{f.p:.2g}", *more])
    lines = [text(rows)] if audit.findings else []
    if any(f.auc.value < 0.5 for f in audit.findings):
        lines.append("A ROC-AUC below 0.5 is chance: it is usual when few subjects are cross-validated.")
    if audit.constant:
        lines.append(f"the same for all subjects: {', '.join(audit.constant)}")
    if audit.unknown:
        lines.append(f"unknown: {', '.join(audit.unknown)}")
    return "\n".join([*lines, *verdict(audit, model)])


def verdict(audit: Audit, model: Estimate | None = None) -> list[str]:
    """Return sentences on what the audit means for a model with the ROC-AUC ``model``."""
    if not (audit.findings or audit.constant or audit.unknown):
        return ["Verdict: no confound is evaluated, because a group has fewer than two subjects."]
    if not audit.strong:
        doubtful = [f for f in audit.findings if f.auc.value >= STRONG or f.p < 0.05]
        best = audit.findings[0] if audit.findings else None
        most = f"; the strongest, {best.confound}, has a ROC-AUC of {best.auc}" if best else ""
        found = f"no known confound separates the groups by itself{most}"
        if doubtful:
            found = f"{_alone(doubtful)} may separate the groups: these subjects do not decide it"
        return [f"Verdict: {found}. Confounds that are not recorded cannot be ruled out."]
    names = _alone(audit.strong)
    verb = "separates" if len(audit.strong) == 1 else "separate"
    lines = [f"Verdict: {names} {verb} the groups without any EEG."]
    if model is not None and any(model.value <= f.auc.value for f in audit.strong):
        lines.append("The model is not better than the strongest of them.")
    lines += [_comparison(f) for f in audit.strong if f.matched is not None]
    return [
        *lines,
        "A high score on this data is by itself not evidence that a model detects epilepsy from EEG.",
    ]


def _alone(findings: Sequence[Finding]) -> str:
    return ", ".join(f"the {f.confound} alone (ROC-AUC {f.auc}, p = {f.p:.2g})" for f in findings)


def _comparison(f: Finding) -> str:
    assert f.matched is not None
    numbers = f"{f.matched.epilepsy} with epilepsy and {f.matched.control} controls"
    if not f.matched.enough:
        return (
            f"Matched for the {f.confound}: {numbers}, too few to show whether the model uses anything else."
        )
    return (
        f"Among subjects matched for the {f.confound} ({numbers}) the model has a ROC-AUC of {f.matched.auc}."
    )
