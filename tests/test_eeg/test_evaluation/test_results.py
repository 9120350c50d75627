"""Figures of windows, recordings and subjects are those of their rows."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eeg.detector import calibration
from eeg.detector.calibration import Calibration
from eeg.evaluation.results import compute_results
from eeg.evaluation.results_text import describe_results, describe_risk
from eeg.models.pooling import pool_logits
from eeg.training import cross_validation, fit
from tests.test_eeg.test_training.tiny import NOTHING, PLAN, made_up


def test_the_score_of_a_subject_is_the_mean_over_recordings() -> None:
    scored = made_up()
    scores, labels, names = cross_validation.subject_scores([replace(s, aggregation="mean") for s in scored])
    assert names == [f"s{i}" for i in range(8)]
    assert labels.tolist() == [0, 1] * 4
    for name, found in zip(names, scores, strict=True):
        assert found == pytest.approx(np.mean([s.logits.mean() for s in scored if s.entry.subject == name]))


def test_figures_of_all_three_levels_are_those_of_their_rows() -> None:
    scored = made_up()
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    assert (found.subjects, found.epilepsy) == (8, 4)
    rows = {
        "windows": [
            (y, z) for s in scored for y, z in zip(fit.targets(s.windows, "events"), s.logits, strict=True)
        ],
        "recordings": [(s.entry.label, pool_logits("top", s.logits)) for s in scored],
        "subjects": [
            (i % 2, np.mean([pool_logits("top", s.logits) for s in scored if s.entry.subject == f"s{i}"]))
            for i in range(8)
        ],
    }
    for level, pairs in rows.items():
        assert found.levels[level]["roc_auc"].value == pytest.approx(roc_auc_score(*zip(*pairs, strict=True)))
        assert found.levels[level]["roc_auc"].low <= found.levels[level]["roc_auc"].high
    assert found.baselines[next(iter(found.baselines))].value == 1  # the bumps are easily seen by amplitude
    assert found.audit.findings == ()  # no dates, no confounds


def test_without_a_calibration_a_fold_is_decided_by_the_others() -> None:
    scored = made_up(1)
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    right: dict[int, list[bool]] = {0: [], 1: []}
    for s in scored:
        scores, labels, _ = cross_validation.subject_scores([o for o in scored if o.part != s.part])
        decided = calibration.fit_calibration(scores, labels).logit(pool_logits("top", s.logits), 0.5) > 0
        right[s.entry.label or 0].append(bool(decided) == bool(s.entry.label))
    expected = np.mean([np.mean(v) for v in right.values()])
    for level in ("recordings", "subjects"):
        assert found.levels[level]["balanced_accuracy"].value == pytest.approx(expected)


@pytest.mark.usefixtures("few_resamples")
def test_with_a_calibration_the_decision_is_at_even_prevalence() -> None:
    """A score that is 5 for all controls and 7 for all patients, and a calibration that parts them at 6."""
    scored = [replace(s, logits=np.full(6, 5.0 + 2 * (s.entry.label or 0))) for s in made_up(1)]
    parting = Calibration(2.0, -12.0 + math.log(0.1 / 0.9), 0.1, 50)
    assert (
        compute_results(PLAN, scored, parting, folds=2, confounds={})
        .levels["subjects"]["balanced_accuracy"]
        .value
        == 1
    )
    late = replace(parting, intercept=parting.intercept - 4)
    assert (
        compute_results(PLAN, scored, late, folds=2, confounds={})
        .levels["subjects"]["balanced_accuracy"]
        .value
        == 0.5
    )


def test_discharges_in_no_window_leave_the_windows_without_figures() -> None:
    scored = [replace(s, windows=replace(s.windows, events=NOTHING)) for s in made_up(1)]
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    assert math.isnan(found.levels["windows"]["roc_auc"].value)
    assert not math.isnan(found.levels["subjects"]["roc_auc"].value)
    assert "nan" in describe_results(found, PLAN)


def test_risk_is_reported_at_each_coverage() -> None:
    """Four fifths are as sure as each other: a quarter of all has no defined risk."""
    found = compute_results(PLAN, made_up(1), None, folds=2, confounds={})
    risk = "selective risk (error rate of the most certain fraction of the decisions, at prevalence 0.5): "
    tied = replace(found, coverage=(0.8, 1.0), risk=(0.25, 0.5))
    assert describe_risk(tied) == f"{risk}25% at coverage 80%, 50% at coverage 100%"
    assert describe_risk(replace(found, coverage=(1.0,), risk=(0.5,))) == f"{risk}50% at coverage 100%"
