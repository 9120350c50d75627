"""What `eeg detect` prints and writes."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import mne
import pytest

from eeg.datasets.fingerprint import file_hash
from eeg.detector.calibration import NOT_SEPARATED
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector, save_detector
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.explanation.explain import Check
from eeg.reporting.export import WRITERS
from tests.test_eeg.test_cli.command import (
    Detected,
    Trained,
    bad_recording,
    eeg,
    recording_folders,
    refused,
)

OUTPUTS = set(WRITERS)


EVENTS = "_desc-attribution_events"


QUICK = ("--method", "grad-cam")
pytestmark = pytest.mark.usefixtures("without_figures")


def test_detect_answers_with_the_error_rate_that_it_states(
    model: Path, recording: Path, tmp_path: Path
) -> None:
    result = eeg("detect", model, recording, "--out", tmp_path / "out", "--alpha", 0.2, *QUICK)
    assert result.exit_code == 0
    assert "error rate of at most 0.2 each, by n = 8 calibration subjects" in result.output
    assert "may not hold for another hospital" in result.output
    (folder,) = recording_folders(tmp_path / "out")
    answer = json.loads((folder / "result.json").read_text())["answer"]
    assert answer["text"] in result.output
    assert (answer["alpha"], answer["n"]) == (0.2, 8)
    assert answer["text"].split(":")[0] in (folder / "report.html").read_text()


def test_detect_states_that_it_cannot_answer(detected: Detected, tmp_path: Path) -> None:
    assert "Cannot say: n = 8 calibration subjects" in detected.result.output  # 0.1 needs nine
    assert "No recording is assigned to a group: n = 8" in detected.result.output
    assert "error rate of at most" not in detected.result.output
    assert "at least 9 per group" in detected.result.output
    result = json.loads((detected.folder / "result.json").read_text())
    assert result["answer"]["grounds"] == "", "no error rate holds"
    again = ("detect", detected.model, detected.recording, "--out", tmp_path / "no", "--alpha", 0.1)
    assert "n = 8" in refused(1, *again)
    assert not (tmp_path / "no").exists()


def test_detect_warns_of_a_calibration_that_does_not_separate_the_groups(
    detector: Detector, recording: Path, tmp_path: Path, detected: Detected
) -> None:
    flat = replace(detector, calibration=replace(detector.calibration, slope=0.0, intercept=0.0))
    save_detector(flat, tmp_path / "model.safetensors")
    result = eeg("detect", tmp_path / "model.safetensors", recording, "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 0
    assert f"Warning: {NOT_SEPARATED}" in result.output
    (folder,) = recording_folders(tmp_path / "out")
    assert NOT_SEPARATED in json.loads((folder / "result.json").read_text())["model"]["warnings"]
    assert NOT_SEPARATED in (folder / "report.html").read_text()
    assert NOT_SEPARATED not in detected.result.output


def test_detect_states_why_an_explanation_is_not_shown(
    model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Check, "passed", False)
    result = eeg("detect", model, recording, "--out", tmp_path / "out")
    assert "0 segment(s)" in result.output
    assert "The explanation failed its check and is not shown: replacing the segments" in result.output


def test_detect_scores_and_explains_and_warns_of_what_it_was_trained_on(
    trained: Trained, cohort: Path, tmp_path: Path
) -> None:
    recordings = sorted(cohort.glob("sub-*/eeg/*.edf"))[:2]
    result = eeg("detect", trained.out, *recordings, "--out", tmp_path / "out", "--prevalence", 0.1, *QUICK)
    assert result.exit_code == 0
    for words in (RESEARCH_USE, NORMAL_EEG, "prevalence of 0.10", "trained on simulated EEG", "1/2", "2/2"):
        assert words in result.output
    folders = recording_folders(tmp_path / "out")
    dataset = tmp_path / "out" / "derivatives" / "hebbian-eeg"
    assert (dataset / "dataset_description.json").exists()
    assert len(list(dataset.glob(f"sub-*/eeg/sub-*{EVENTS}.tsv"))) == len(recordings)
    assert [folder.name for folder in folders] == [path.stem for path in recordings]
    known = set(load_detector(trained.out / "model.safetensors").training.recordings)
    assert result.output.count("Warning: This recording was in the training data") == sum(
        file_hash(path) in known for path in recordings
    )
    for folder, path in zip(folders, recordings, strict=True):
        assert {file.name for file in folder.iterdir()} == OUTPUTS
        found = json.loads((folder / "result.json").read_text())
        assert found["prevalence"] == 0.1
        assert 0 < found["score"] < 1
        warned = any("was in the training data" in w for w in found["model"]["warnings"])
        assert warned == (file_hash(path) in known)
        copy = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
        marks = [d for d in copy.annotations.description if d.startswith("model attribution")]
        assert len(marks) == len(found["explanation"]["segments"])


def test_detecting_again_gives_the_same_bytes(detected: Detected, tmp_path: Path) -> None:
    """Over the earlier results, by the file of the model and no longer by its folder."""
    out = Path(shutil.copytree(detected.out, tmp_path / "out"))
    again = eeg("detect", detected.model / "model.safetensors", detected.recording, "--out", out)
    assert again.exit_code == 0
    (folder,) = recording_folders(out)
    for name in ("result.json", "szcore.tsv", "annotated.edf"):
        assert (folder / name).read_bytes() == (detected.folder / name).read_bytes()


def test_no_output_contains_the_name_of_a_patient(detected: Detected, tmp_path: Path) -> None:
    """Neither that of the file nor that in its header, in any byte that is written or printed."""
    assert detected.result.exit_code == 0
    files = [file for file in detected.out.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= OUTPUTS
    everything = detected.result.output.encode() + b"".join(file.read_bytes() for file in files)
    everything += " ".join(str(file.relative_to(detected.out)) for file in files).encode()
    for name in (b"mueller", b"zebulon"):
        assert name not in everything.lower()
    named = eeg("detect", detected.model, detected.recording, "--out", tmp_path, "--keep-names", *QUICK)
    assert "Mueller_Zebulon" in named.output


def test_the_others_go_on_after_a_bad_recording(model: Path, recording: Path, tmp_path: Path) -> None:
    bad = bad_recording("truncated", tmp_path)
    result = eeg("detect", model, bad, recording, tmp_path / "none.edf", "--out", tmp_path / "out", *QUICK)
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["Error", "Error"]
    assert "2/3" in result.stdout
    (folder,) = recording_folders(tmp_path / "out")
    assert {file.name for file in folder.iterdir()} == OUTPUTS


def test_a_fault_while_writing_leaves_nothing_half_written(
    model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("eeg.reporting.html.replacing", full)
    assert "No space left" in refused(1, "detect", model, recording, "--out", tmp_path / "out", *QUICK)
    assert recording_folders(tmp_path / "out") == []
