"""Models on the same folds: their metrics, the significance tests, and the stored scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from eeg.cli.main import main
from eeg.datasets import Entry
from eeg.datasets.splits import split_folds
from eeg.evaluation.metrics import auc
from eeg.evaluation.significance import delong
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.training import cross_validation
from eeg.training.cross_validation import cross_validate, subject_scores
from eeg.training.fit import Loaded
from eeg.training.plan import Plan, describe_model
from eeg.workflows.compare import ModelComparison, compare_plans

PLAN = Plan(Preprocessing(("Fp1", "T7", "Cz", "O2")), "recording", 2.0, "mean", model="tangent", epochs=1)
PLANS = [PLAN, replace(PLAN, model="svm"), replace(PLAN, model="tvgg-gap", rule="dfa")]
pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """Noise, with more of it at 11 Hz in every second subject."""
    rng = np.random.default_rng(0)
    found = {}
    for i in range(12):
        x = rng.normal(size=(5, 4, 256)) + 0.15 * (i % 2) * np.sin(2 * np.pi * 11 * np.arange(256) / 128)
        path = tmp_path / f"{i}.edf"
        path.write_bytes(bytes([i]))
        windows = Windows(x.astype(np.float32), 2.0 * np.arange(5), 2.0, i % 2, None)
        found[Entry(path, f"s{i}", i % 2)] = windows
    return found


def test_each_model_has_its_own_figure_and_is_tested_against_the_first(loaded: Loaded) -> None:
    parts = split_folds(list(loaded), 3, 0)
    rows = compare_plans(PLANS, loaded, parts)
    scores = [subject_scores(cross_validate(plan, loaded, parts)) for plan in PLANS]
    labels, names = scores[0][1], np.array(scores[0][2])
    assert [row.name for row in rows] == ["tangent", "svm", "tvgg-gap by dfa"]
    assert rows[0].against is rows[0].swapped is None
    for row, (mine, _, _) in zip(rows, scores, strict=True):
        assert row.roc_auc == auc(labels, mine, names)
    for row, (mine, _, _) in zip(rows[1:], scores[1:], strict=True):
        assert row.against == delong(labels, mine, scores[0][0])
    lines = str(ModelComparison("a", True, 12, 3, tuple(rows))).splitlines()
    assert len(lines) == 6
    assert "12 subjects, the same folds for all" in lines[-1]


def test_stored_folds_are_not_trained_again(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = split_folds(list(loaded), 3, 0)
    kept = tmp_path / "kept"
    kept.mkdir()
    once = compare_plans(PLANS[:2], loaded, parts, folder=kept)
    assert once == compare_plans(PLANS[:2], loaded, parts)
    made: list[Plan] = []

    def spy(plan: Plan, *rest: object) -> object:
        made.append(plan)
        return fit(plan, *rest)  # type: ignore[arg-type]

    fit = cross_validation.fit_model
    monkeypatch.setattr(cross_validation, "fit_model", spy)
    assert compare_plans(PLANS[:2], loaded, parts, folder=kept) == once
    assert made == []
    other = replace(PLAN, seed=1)
    compare_plans([PLAN, other], loaded, parts, folder=kept)
    assert made == [other] * 3
    compare_plans(
        [PLAN], loaded, split_folds(list(loaded), 3, 1), folder=kept
    )  # other folds are another question
    assert made == [other] * 3 + [PLAN] * 3
    assert not any("s1" in file.read_text() for file in kept.iterdir())


def test_names_contain_the_rule_and_the_fine_tuning() -> None:
    assert describe_model(PLAN) == "tangent"
    tuned = replace(PLAN, model="eegnet", rule="oja", finetune=True)
    assert describe_model(tuned) == "eegnet by oja, then backprop"


def test_the_command_compares_and_can_be_read_by_machines(cohort: Path, tmp_path: Path) -> None:
    start = ["compare", str(cohort), "--model", "tangent", "--model", "tangent-bands", "--folds", "2"]
    run = CliRunner().invoke(main, [*start, "--out", str(tmp_path / "kept")])
    assert run.exit_code == 0, run.output
    assert "SIMULATED" in run.output
    assert "Research use only" in run.output
    assert "tangent-bands" in run.output
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2 * 2  # models, folds
    run = CliRunner().invoke(main, [*start, "--out", str(tmp_path / "kept"), "--json"])
    found = json.loads(run.stdout)
    assert "Research use only" in found["statement"]
    assert found["subjects"] == 8
    assert [row["name"] for row in found["rows"]] == ["tangent", "tangent-bands"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--model", "resnet"], 2, "--model: no model named 'resnet'"),
        (["--model", "tvgg-gap", "--rule", "ojja"], 2, "did you mean 'oja'"),
        (
            ["--model", "tvgg-gap", "--labels", "bag", "--rule", "dfa"],
            2,
            "--labels bag: need --rule backprop, not dfa",
        ),
        (["--model", "deep4", "--window", "0.5"], 2, "too short for its poolings"),
        (
            ["--model", "rf", "--window", "0.5", "--folds", "2"],
            1,
            "--model rf, --window 0.5: windows of 0.5 s resolve no frequency",
        ),
    ],
)
def test_bad_choices_are_one_line(cohort: Path, args: list[str], code: int, message: str) -> None:
    run = CliRunner().invoke(main, ["compare", str(cohort), *args])
    assert run.exit_code == code
    assert message in run.output
    assert "Traceback" not in run.output
