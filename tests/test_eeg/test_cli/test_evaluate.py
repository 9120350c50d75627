"""`eeg evaluate` and `eeg card`."""

from dataclasses import replace
from pathlib import Path

import pytest

from eeg.detector.model_file import load_detector, save_detector
from eeg.disclaimers import RESEARCH_USE
from tests.test_eeg.test_cli.command import Trained, eeg, refused

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_evaluate_reports_the_results_again_and_evaluates_held_out_recordings(
    trained: Trained, cohort: Path
) -> None:
    shown = eeg("evaluate", trained.out)
    assert shown.exit_code == 0
    table = shown.output.split("\n\n")[0]
    assert table in trained.result.output
    evaluated = eeg("evaluate", trained.out, cohort)
    assert evaluated.exit_code == 0
    assert "6 recording(s) of training subjects are excluded" in evaluated.output
    assert "precision at R of the explanation (occlusion)" in evaluated.output
    held = shown.output.split("Held-out subjects, not used in any training:\n")[1].splitlines()[1]
    assert held.startswith("ROC-AUC")
    assert held in evaluated.output


@pytest.mark.slow
def test_two_models_are_compared_on_subjects_new_to_both(trained: Trained, cohort: Path, model: Path) -> None:
    assert "subjects are new to both" in refused(1, "evaluate", trained.out, cohort, "--against", trained.out)
    result = eeg("evaluate", model, cohort, "--against", model, "--method", "grad-cam")
    assert result.exit_code == 0
    assert "0.000 (0.000-0.000), n = 8, p = 1 (DeLong), 1 (scores swapped" in result.output


def test_evaluate_reports_the_rule_that_the_model_was_trained_by(
    trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    detector = load_detector(trained.out / "model.safetensors")
    other = replace(detector, training=replace(detector.training, rule="oja", recordings=(), signals=()))
    save_detector(other, tmp_path / "model.safetensors")
    assert "tvgg-gap by oja" in eeg("evaluate", tmp_path, cohort, "--method", "grad-cam").output


def test_the_card_is_written_with_the_model_and_printed(trained: Trained) -> None:
    written = (trained.out / "card.md").read_text()
    for place in (trained.out, trained.out / "model.safetensors"):
        assert eeg("card", place).output == written + "\n"
    for words in (RESEARCH_USE, "Not tested on", "sensitivity at 90 %", "Held-out subjects", "Verdict: "):
        assert words in written
