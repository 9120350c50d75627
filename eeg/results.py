"""What a training showed: scores of unseen subjects, their metrics, and the baselines beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eeg import amplitude, audit, calibrate
from eeg.aggregate import AGGREGATIONS
from eeg.calibrate import Calibration
from eeg.evaluate import METRICS, Estimate, auc, evaluate, permutation_p
from eeg.training import Plan, Scored, subject_scores, targets
from trainers.files import replacing

Level = Mapping[str, Estimate]
_RANKING = {name: metric for name, metric in METRICS.items() if name != "balanced_accuracy"}
_DECIDING = {"balanced_accuracy": METRICS["balanced_accuracy"]}


@dataclass(frozen=True)
class Results:
    """Figures of one set of unseen subjects, each with its 95 % interval over subjects."""

    subjects: int
    epilepsy: int
    levels: Mapping[str, Level]  # windows, recordings, subjects -> metric -> estimate
    permutation_p: float  # of the subjects' ROC-AUC when labels are shuffled among subjects
    baselines: Mapping[str, Estimate]  # ROC-AUC, subjects, of what needs no network


def judge(
    plan: Plan,
    scored: Sequence[Scored],
    calibration: Calibration | None,
    *,
    folds: int,
) -> Results:
    """Return the figures of ``scored``.

    Parameters
    ----------
    calibration
        Decides between the classes (at even prevalence); without it every fold is decided by what the
        other folds calibrate.
    folds
        How many folds the cue baselines are cross-validated in.
    """
    thresholds = _thresholds(plan, scored, calibration)
    levels = {
        "windows": _windows(plan, scored),
        "recordings": _recordings(plan, scored, thresholds),
        "subjects": _subjects(plan, scored, thresholds),
    }
    scores, labels, _ = subject_scores(scored, plan.aggregation)
    return Results(
        subjects=len(labels),
        epilepsy=int(labels.sum()),
        levels=levels,
        permutation_p=permutation_p(labels, scores),
        baselines={**amplitude_aucs(scored), **audit.cue_aucs([s.entry for s in scored], folds)},
    )


def amplitude_aucs(scored: Sequence[Scored]) -> dict[str, Estimate]:
    """Return the subject-level ROC-AUC of the best amplitude detector, named with its statistic."""
    rows = [amplitude.subject_scores(s.windows) for s in scored]
    labels = np.array([s.entry.label for s in scored])
    subjects = np.array([s.entry.subject for s in scored])
    found = {
        f"amplitude ({name}, best of {len(rows[0])})": auc(
            labels, np.array([row[name] for row in rows]), subjects
        )
        for name in rows[0]
    }
    best = max(found, key=lambda name: found[name].value)
    return {best: found[best]}


def _thresholds(plan: Plan, scored: Sequence[Scored], calibration: Calibration | None) -> dict[str, float]:
    """Return, for each part, the raw score at which both classes are equally likely."""
    parts = sorted({s.part for s in scored})
    if calibration is not None:
        return dict.fromkeys(parts, calibration.threshold())
    return {
        part: calibrate.fit(
            *subject_scores([s for s in scored if s.part != part], plan.aggregation)[:2]
        ).threshold()
        for part in parts
    }


def _levels(labels: np.ndarray, scores: np.ndarray, decided: np.ndarray, subjects: np.ndarray) -> Level:
    return {
        **evaluate(labels, scores, subjects, metrics=_RANKING),
        **evaluate(labels, decided, subjects, metrics=_DECIDING),
    }


def _windows(plan: Plan, scored: Sequence[Scored]) -> Level:
    labels = np.concatenate([targets(s.windows, plan.labels) for s in scored]).astype(int)
    logits = np.concatenate([s.logits for s in scored])
    subjects = np.repeat([s.entry.subject for s in scored], [len(s.logits) for s in scored])
    return evaluate(labels, logits, subjects, resamples=200)


def _recordings(plan: Plan, scored: Sequence[Scored], thresholds: Mapping[str, float]) -> Level:
    raw = np.array([float(AGGREGATIONS[plan.aggregation](s.logits)) for s in scored])
    decided = raw - np.array([thresholds[s.part] for s in scored])
    labels = np.array([s.entry.label for s in scored])
    return _levels(labels, raw, decided, np.array([s.entry.subject for s in scored]))


def _subjects(plan: Plan, scored: Sequence[Scored], thresholds: Mapping[str, float]) -> Level:
    raw, labels, names = subject_scores(scored, plan.aggregation)
    part = {s.entry.subject: s.part for s in scored}
    return _levels(labels, raw, raw - np.array([thresholds[part[n]] for n in names]), np.array(names))


def write_predictions(plan: Plan, scored: Sequence[Scored], path: Path) -> None:
    """Write every window's logit as CSV; subjects and recordings are numbered, not named."""
    subjects = {name: i for i, name in enumerate(sorted({s.entry.subject for s in scored}), 1)}
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["part", "subject", "recording", "label", "onset", "target", "logit"])
        for number, s in enumerate(scored, 1):
            target = targets(s.windows, plan.labels).astype(int)
            for onset, y, logit in zip(s.windows.onset, target, s.logits, strict=True):
                rows.writerow(
                    [s.part, subjects[s.entry.subject], number, s.entry.label, onset, y, f"{logit:.6g}"]
                )


def recorded(figures: Mapping[str, Any]) -> Results:
    """Return the results that a run's record holds as JSON."""

    def estimates(level: Mapping[str, Any]) -> Level:
        return {name: Estimate(**value) for name, value in level.items()}

    return Results(
        subjects=figures["subjects"],
        epilepsy=figures["epilepsy"],
        levels={name: estimates(level) for name, level in figures["levels"].items()},
        permutation_p=figures["permutation_p"],
        baselines=estimates(figures["baselines"]),
    )


def describe(results: Results, plan: Plan) -> str:
    """Return the figures as a table for people."""
    heads = ["", "ROC-AUC", "PR-AUC epilepsy", "PR-AUC control", "balanced accuracy"]
    rows = [heads] + [
        [level, *(str(figures[name]) for name in METRICS)] for level, figures in results.levels.items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"{results.subjects} subjects, {results.epilepsy} with epilepsy; 95 % intervals from a bootstrap "
        f"over subjects; labels permuted among subjects: p = {results.permutation_p:.3g}"
    )
    if plan.labels == "events":
        lines.append("(a window counts as positive when it holds an annotated discharge)")
    lines += [f"beside it, ROC-AUC of {name}: {value}" for name, value in results.baselines.items()]
    return "\n".join(lines)
