"""Results on unseen subjects: metrics of their scores, and controls."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eeg.datasets import Entry
from eeg.detector import conformal
from eeg.detector.calibration import Calibration, fit_calibration
from eeg.detector.results import Estimate, Results
from eeg.evaluation.confounds import RecordingFacts
from eeg.evaluation.metrics import (
    CALIBRATED,
    DECIDING,
    RANKING,
    auc,
    compute_metrics,
    risk_coverage,
)
from eeg.evaluation.recording_metadata import audit_recordings
from eeg.evaluation.significance import permutation_p
from eeg.models import amplitude
from eeg.training.cross_validation import Scored, recording_score, subject_scores
from eeg.training.fit import targets
from eeg.training.plan import Plan
from trainers.files import replacing

Level = Mapping[str, Estimate]


def compute_results(
    plan: Plan,
    scored: Sequence[Scored],
    calibration: Calibration | None,
    *,
    folds: int,
    confounds: Mapping[Entry, RecordingFacts],
) -> Results:
    """Return the results of scored recordings.

    Parameters
    ----------
    plan
        The plan of the training.
    scored
        Recordings with out-of-fold scores.
    calibration
        For probabilities, decisions (at prevalence 0.5) and answers; None fits that of each fold to the
        other folds.
    folds
        Of the cross-validation of confounds.
    confounds
        Facts of how each recording was made.
    """
    fitted = fit_calibrations(scored, calibration)
    scores, labels, names = subject_scores(scored)
    part = {s.entry.subject: s.part for s in scored}
    calibrations = [fitted[part[name]] for name in names]
    even = np.array([float(c.logit(z, 0.5)) for c, z in zip(calibrations, scores, strict=True)])
    weights = np.where(labels == 1, 0.5 / np.mean(labels == 1), 0.5 / np.mean(labels == 0))
    coverage, risk = risk_coverage(labels, even, weights)
    return Results(
        subjects=len(labels),
        epilepsy=int(labels.sum()),
        levels={
            "windows": _windows(plan, scored),
            "recordings": _recordings(scored, fitted),
            "subjects": _level(labels, scores, calibrations, np.array(names), _comparable(scored)),
        },
        permutation_p=permutation_p(labels, scores if _comparable(scored) else even),
        baselines=amplitude_baseline(scored),
        answers=conformal.answers(labels, scores, [c.conformal for c in calibrations]),
        coverage=tuple(coverage.tolist()),
        risk=tuple(risk.tolist()),
        audit=audit_recordings(
            {s.entry: confounds.get(s.entry, {}) for s in scored},
            folds=folds,
            scores=dict(zip(names, even.tolist(), strict=True)),
        ),
    )


def amplitude_baseline(scored: Sequence[Scored]) -> dict[str, Estimate]:
    """Return the ROC-AUC of the best amplitude statistic, by its name.

    The score of a subject is the mean over their recordings, as for a model.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for s in scored:
        rows.setdefault(s.entry.subject, []).append(amplitude.amplitude_scores(s.windows))
    labels = {s.entry.subject: s.entry.label for s in scored}
    names = np.array(list(rows))
    estimates = {
        f"amplitude ({name}, best of {len(amplitude.AMPLITUDE_STATISTICS)})": auc(
            np.array([labels[n] for n in names]),
            np.array([np.mean([row[name] for row in rows[n]]) for n in names]),
            names,
        )
        for name in amplitude.AMPLITUDE_STATISTICS
    }
    best = max(estimates, key=lambda name: estimates[name].value)
    return {best: estimates[best]}


def _comparable(scored: Sequence[Scored]) -> bool:
    """Return whether the raw scores of all parts are comparable; otherwise only calibrated ones are."""
    return len({s.aggregation for s in scored}) == 1


def fit_calibrations(scored: Sequence[Scored], calibration: Calibration | None) -> dict[str, Calibration]:
    """Return the calibration of each part: ``calibration``, or one that is fitted to the other parts."""
    parts = {s.part: s.aggregation for s in scored}
    if calibration is not None:
        return dict.fromkeys(parts, calibration)
    return {
        part: fit_calibration(
            *subject_scores([replace(s, aggregation=how) for s in scored if s.part != part])[:2]
        )
        for part, how in parts.items()
    }


def _level(
    labels: np.ndarray,
    raw: np.ndarray,
    calibrations: Sequence[Calibration],
    subjects: np.ndarray,
    comparable: bool,
) -> Level:
    pairs = list(zip(calibrations, raw, strict=True))
    even = np.array([float(c.logit(z, 0.5)) for c, z in pairs])
    return {
        **compute_metrics(labels, raw if comparable else even, subjects, metrics=RANKING),
        **compute_metrics(labels, even, subjects, metrics=DECIDING),
        **compute_metrics(
            labels, np.array([float(c.logit(z)) for c, z in pairs]), subjects, metrics=CALIBRATED
        ),
    }


def _windows(plan: Plan, scored: Sequence[Scored]) -> Level:
    labels = np.concatenate([targets(s.windows, plan.labels) for s in scored]).astype(int)
    logits = np.concatenate([s.logits for s in scored])
    subjects = np.repeat([s.entry.subject for s in scored], [len(s.logits) for s in scored])
    return compute_metrics(labels, logits, subjects, resamples=200, metrics={**RANKING, **DECIDING})


def _recordings(scored: Sequence[Scored], fitted: Mapping[str, Calibration]) -> Level:
    return _level(
        np.array([s.entry.label for s in scored]),
        np.array([recording_score(s) for s in scored]),
        [fitted[s.part] for s in scored],
        np.array([s.entry.subject for s in scored]),
        _comparable(scored),
    )


def write_predictions(plan: Plan, scored: Sequence[Scored], path: Path) -> None:
    """Write the logit of every window as CSV; subjects and recordings are numbered, not named."""
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
