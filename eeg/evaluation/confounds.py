"""What else predicts the label: cues of how a recording was made, not of the brain.

A cue is judged as a model would be: by subjects it was not fitted to.  One cue at a time; what no header
tells cannot be ruled out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata
from sklearn.model_selection import StratifiedKFold

from eeg.evaluation.metrics import Estimate, matched_auc, stratified_auc
from trainers.comparison.table import text

Value = str | float | None
"""A category, a number, or what nobody knows."""

RecordingFacts = Mapping[str, Value]

STRONG = 0.7
"""ROC-AUC from which a cue is called strong, if chance gives as much in fewer than 5 of 100 cases."""

_BINS = 5  # of a number, each with as many subjects
_FEWEST = 5  # subjects of a class that a matched comparison needs
_DRAWS = 500


@dataclass(frozen=True)
class Matched:
    """A model's ROC-AUC among pairs of subjects who are alike in a cue, and how many have such a partner."""

    auc: Estimate
    epilepsy: int
    control: int

    @property
    def enough(self) -> bool:
        """Whether there are so many that the figure means something."""
        return min(self.epilepsy, self.control) >= _FEWEST


@dataclass(frozen=True)
class Finding:
    """What one cue tells.

    ``auc`` is cross-validated by subject, ``p`` from labels shuffled within folds (one-sided).  Of a
    model's scores, where there are any: ``within`` is their rank correlation with the cue's within the
    classes, ``within_p`` its two-sided p, and ``matched`` the analysis among subjects who are alike in a
    strong cue.
    """

    confound: str
    auc: Estimate
    p: float
    within: float | None = None
    within_p: float | None = None
    matched: Matched | None = None

    @property
    def strong(self) -> bool:
        """Whether a model can be suspected of having learned this cue."""
        return self.auc.value > STRONG and self.p < 0.05


@dataclass(frozen=True)
class Audit:
    """What the cues tell, the strongest first; those that are alike in all, or that nobody knows."""

    findings: tuple[Finding, ...]
    alike: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def strong(self) -> tuple[Finding, ...]:
        """The cues that a model can be suspected of having learned."""
        return tuple(f for f in self.findings if f.strong)


@dataclass(frozen=True)
class AuditSubject:
    """A subject: his diagnosis, the cues of each of his recordings, and a model's score if there is one."""

    label: int
    recordings: tuple[RecordingFacts, ...]
    score: float | None = None


def audit_confounds(people: Sequence[AuditSubject], *, folds: int = 5, seed: int = 0) -> Audit:
    """Judge every cue, by ``folds`` folds or as many as the smaller class has subjects.

    With fewer than two subjects of a class there is nothing to judge by, and no finding.
    """
    labels = np.array([p.label for p in people])
    smaller = int(min(np.sum(labels == 1), np.sum(labels == 0)))
    if smaller < 2:
        return Audit((), (), ())
    fold = np.empty(len(labels), int)
    parts = StratifiedKFold(min(folds, smaller), shuffle=True, random_state=seed).split(labels, labels)
    for i, (_, test) in enumerate(parts):
        fold[test] = i
    scores = np.array([p.score for p in people], float) if people[0].score is not None else None
    columns = _columns(people)
    different = {name: v for name, v in columns.items() if len(set(v)) > 1}
    findings = [_finding(name, v, labels, fold, scores, seed) for name, v in different.items()]
    alike = [name for name, v in columns.items() if len(set(v)) == 1]
    return Audit(
        findings=tuple(sorted(findings, key=lambda f: -f.auc.value)),
        alike=tuple(name for name in alike if columns[name][0] is not None),
        unknown=tuple(name for name in alike if columns[name][0] is None),
    )


def _columns(people: Sequence[AuditSubject]) -> dict[str, list[Value]]:
    """Return one value a subject of each cue, and the number of his recordings."""
    names = dict.fromkeys(name for p in people for cues in p.recordings for name in cues)
    columns = {name: [_typical([cues.get(name) for cues in p.recordings]) for p in people] for name in names}
    return {**columns, "number of recordings": [float(len(p.recordings)) for p in people]}


def _typical(values: Sequence[Value]) -> Value:
    """Return the median of numbers, the most frequent of categories, None where nothing is known."""
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
    rng = np.random.default_rng(seed)
    found = category_scores(labels, codes, fold)
    value = matched_auc(labels, found, fold, seed=seed)
    finding = Finding(name, value, _shuffled_p(labels, codes, fold, value.value, rng))
    if scores is None:
        return finding
    whole = categories(values, np.ones(len(labels), bool))
    shares = _excess(labels, whole, whole.max() + 1)[whole]
    within, within_p = within_classes(labels, scores, shares, rng)
    matched = _matched(labels, scores, whole, seed) if finding.strong else None
    return replace(finding, within=within, within_p=within_p, matched=matched)


def categories(values: Sequence[Value], train: np.ndarray) -> np.ndarray:
    """Return the number of each subject's category (n,); not to know is a category as well.

    Numbers fall into bins that hold equally many of the subjects in ``train`` (n,) bool; one that is so
    frequent that it bounds a bin has its own.
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

    By how much the share of epilepsy among the subjects of the *other* folds in the same category exceeds
    the overall one, drawn to 0 by the weight of one subject.

    Parameters
    ----------
    labels, fold
        (n,) each.
    codes
        (folds, n): the categories as the training part of each fold has them.
    """
    score = np.empty(len(labels))
    for i, code in enumerate(codes):
        test = fold == i
        score[test] = _excess(labels[~test], code[~test], code.max() + 1)[code[test]]
    return score


def _excess(labels: np.ndarray, code: np.ndarray, number: int) -> np.ndarray:
    """Return by how much the share of epilepsy in each of ``number`` categories exceeds the overall one."""
    held = np.bincount(code, minlength=number)
    return np.bincount(code, labels - labels.mean(), minlength=number) / (held + 1)


def _shuffled_p(
    labels: np.ndarray, codes: np.ndarray, fold: np.ndarray, found: float, rng: np.random.Generator
) -> float:
    """Return how often labels that are shuffled within folds are told apart as well as ``found``."""
    once = np.ones(len(labels))
    hits = 0
    for _ in range(_DRAWS):
        y = _shuffled(labels, fold, rng)
        hits += stratified_auc(y, category_scores(y, codes, fold), once, fold) >= found
    return (hits + 1) / (_DRAWS + 1)


def _shuffled(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle within groups."""
    shuffled = labels.copy()
    for group in np.unique(groups):
        rows = groups == group
        shuffled[rows] = rng.permutation(labels[rows])
    return shuffled


def within_classes(
    labels: np.ndarray, scores: np.ndarray, cue: np.ndarray, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the rank correlation of a model's scores with a cue's within the classes, and its p.

    A model that knows the brain only has none; all arguments are (n,).  The p is two-sided, of scores
    shuffled within classes.  No correlation, with p 1, where the cue is the same in a whole class.
    """

    def centred(values: np.ndarray) -> np.ndarray:
        ranks = np.empty(len(values))
        for c in (0, 1):
            ranks[labels == c] = rankdata(values[labels == c])
            ranks[labels == c] -= ranks[labels == c].mean()
        return ranks

    a, b = centred(scores), centred(cue)
    norm = float(np.sqrt((a @ a) * (b @ b)))
    if norm == 0:
        return 0.0, 1.0
    found = float(a @ b)
    hits = sum(abs(_shuffled(a, labels, rng) @ b) >= abs(found) - 1e-9 for _ in range(_DRAWS))
    return found / norm, (hits + 1) / (_DRAWS + 1)


def _matched(labels: np.ndarray, scores: np.ndarray, strata: np.ndarray, seed: int) -> Matched:
    both = set(strata[labels == 1]) & set(strata[labels == 0])
    partnered = np.isin(strata, list(both))
    return Matched(
        auc=matched_auc(labels, scores, strata, seed=seed),
        epilepsy=int((partnered & (labels == 1)).sum()),
        control=int((partnered & (labels == 0)).sum()),
    )


def describe_audit(found: Audit, model: Estimate | None = None) -> str:
    """Write an audit for people: a table and a verdict; ``model`` is the ROC-AUC of a model's scores."""
    judged = any(f.within is not None for f in found.findings)
    rows = [["cue alone", "ROC-AUC", "p", *(["correlation with the model's score"] if judged else [])]]
    for f in found.findings:
        more = [f"{f.within:+.2f} (p = {f.within_p:.2g})"] if f.within is not None else []
        rows.append([f.confound, str(f.auc), f"{f.p:.2g}", *more])
    lines = [text(rows)] if found.findings else []
    if any(f.auc.value < 0.5 for f in found.findings):
        lines.append("A ROC-AUC below 0.5 is chance: it is usual where few subjects are cross-validated.")
    if found.alike:
        lines.append(f"alike in all: {', '.join(found.alike)}")
    if found.unknown:
        lines.append(f"not known of anybody: {', '.join(found.unknown)}")
    return "\n".join([*lines, *verdict(found, model)])


def verdict(found: Audit, model: Estimate | None = None) -> list[str]:
    """Return in plain sentences what the audit means for a model on this data."""
    if not found.strong:
        best = found.findings[0] if found.findings else None
        most = f"; the strongest, {best.confound}, has a ROC-AUC of {best.auc}" if best else ""
        return [
            f"Verdict: no cue that could be read tells the groups apart by itself{most}. What nobody wrote "
            "down cannot be ruled out."
        ]
    names = ", ".join(f"the {f.confound} alone (ROC-AUC {f.auc}, p = {f.p:.2g})" for f in found.strong)
    verb = "tells" if len(found.strong) == 1 else "tell"
    lines = [f"Verdict: {names} {verb} the groups apart without any EEG."]
    if model is not None and any(model.value <= f.auc.value for f in found.strong):
        lines.append("The model does no better than the strongest of them.")
    lines += [_comparison(f) for f in found.strong if f.matched is not None]
    return [*lines, "A score on this data is by itself no evidence that a model knows epilepsy from EEG."]


def _comparison(f: Finding) -> str:
    assert f.matched is not None
    who = f"{f.matched.epilepsy} with epilepsy and {f.matched.control} controls"
    if not f.matched.enough:
        return (
            f"Alike in the {f.confound}: {who}, too few to tell whether the model has learned more than that."
        )
    return f"Among subjects alike in the {f.confound} ({who}) the model has a ROC-AUC of {f.matched.auc}."
