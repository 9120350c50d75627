"""`--ictal`: which annotations count travels with the plan and the detector, and is stated in the outputs."""

import json
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from click.testing import CliRunner

from eeg.cli.main import main
from eeg.datasets import open_corpus
from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.reporting.model_card import render_card
from eeg.workflows.choices import make_plan
from eeg.workflows.load_model import load_model
from tests.test_eeg.recordings import write_edf
from trainers.errors import SettingsError


def test_the_plan_and_the_detector_hold_it(cohort: Path, detector: Detector, tmp_path: Path) -> None:
    corpus = open_corpus(cohort)
    assert make_plan(corpus).preprocessing.ictal == "auto"
    assert make_plan(corpus, ictal="none").preprocessing.ictal == "none"
    with pytest.raises(SettingsError, match="ictal: expected auto, none, or words"):
        make_plan(corpus, ictal=",")
    path = tmp_path / "model.safetensors"
    trained = replace(detector, preprocessing=replace(detector.preprocessing, ictal="anfall"))
    save_detector(trained, path)
    assert load_model(path, None).preprocessing.ictal == "anfall"
    assert load_model(path, None, ictal="auto").preprocessing.ictal == "auto"
    assert "annotations that mark one: anfall" in render_card(trained)
    with pytest.raises(SettingsError, match="ictal"):
        load_model(path, None, ictal=" ")


@pytest.mark.usefixtures("without_figures")
def test_detect_shows_what_excluded_a_recording_and_can_be_overruled(
    detector: Detector, tmp_path: Path
) -> None:
    model, recording = tmp_path / "model.safetensors", tmp_path / "a.edf"
    save_detector(detector, model)
    noise = 20 * np.random.default_rng(0).standard_normal((19, 20 * 128))
    write_edf(recording, noise, TEN_TWENTY, annotations=[edfio.EdfAnnotation(0, None, "Mueller: seizure")])
    command = ["detect", str(model), str(recording), "--out", str(tmp_path / "out"), "--segments", "1"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert (
        "from 0 s to the end by the annotation 'seizure'; if that is a remark, add --ictal none"
        in refused.stderr
    )
    assert "Mueller" not in refused.output
    other = ["--out", str(tmp_path / "other"), "--ictal", "none", "--json"]
    done = CliRunner().invoke(main, [*command, *other])
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)["recordings"]
    assert result["annotations"] == []
    quality = json.loads(Path(result["folder"], "quality.json").read_text(encoding="utf-8"))
    assert (quality["ictal"], quality["annotations"], quality["windows"]) == ("none", [], 10)
