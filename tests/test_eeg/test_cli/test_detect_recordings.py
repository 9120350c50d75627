"""`eeg detect`: recordings and models that it cannot use, or only in part."""

import json
import shutil
from pathlib import Path

import mne
import numpy as np
import pytest

from eeg.datasets import open_corpus
from eeg.io.electrodes import TEN_TWENTY
from tests.test_eeg.recordings import DATA, needs_data
from tests.test_eeg.test_cli.command import bad_recording, eeg, noise, recording_folders, refused, write_edf

QUICK = ("--method", "grad-cam")
pytestmark = pytest.mark.usefixtures("without_figures")
BAD = {
    "missing": "no such file",
    "text": "not an EDF",
    "truncated": "truncated, holds",
    "channels": "lacks the channels F8, T8, P8;",
    "short": "1.0 s long; expected at least",
    "flat": "flat signal in P3",
    "nan": "not finite signal in P3",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recording_is_reported_in_one_line_and_writes_nothing(
    kind: str, model: Path, tmp_path: Path
) -> None:
    path = bad_recording(kind, tmp_path)
    message = refused(1, "detect", model, path, "--out", tmp_path / "out")
    assert path.name in message
    assert BAD[kind] in message
    assert recording_folders(tmp_path / "out") == []
    again = eeg("detect", model, path, "--out", tmp_path / "out")
    assert "No recording could be scored." in again.output
    assert "assigned" not in again.output


def test_two_missing_channels_are_interpolated_and_reported(model: Path, tmp_path: Path) -> None:
    write_edf(tmp_path / "a.edf", noise()[:17], TEN_TWENTY[:17])
    assert eeg("detect", model, tmp_path / "a.edf", "--out", tmp_path / "out", *QUICK).exit_code == 0
    (folder,) = recording_folders(tmp_path / "out")
    assert "not recorded: T8, P8." in (folder / "result.json").read_text()
    assert "not recorded: T8, P8." in (folder / "report.html").read_text()
    raw = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
    assert set(raw.ch_names) == set(TEN_TWENTY[:17])


def test_channels_that_are_not_finite_are_interpolated_and_reported(model: Path, tmp_path: Path) -> None:
    """One that the model uses, and one that it does not; an EDF copy can hold neither."""
    data = np.vstack([noise(), noise(channels=1)])
    data[3, 5] = np.nan
    data[19, 7] = np.inf
    info = mne.create_info([*TEN_TWENTY, "AF3"], 128.0, "eeg")
    path = tmp_path / "broken_raw.fif"
    mne.io.RawArray(data, info, verbose="error").save(path, fmt="double", verbose="error")
    assert eeg("detect", model, path, "--out", tmp_path / "out", *QUICK).exit_code == 0
    (folder,) = recording_folders(tmp_path / "out")
    assert "not recorded: P3." in (folder / "result.json").read_text()
    assert "not finite: P3, AF3" in (folder / "report.html").read_text()
    assert json.loads((folder / "quality.json").read_text())["quality"]["not_finite"] == ["P3", "AF3"]
    raw = mne.io.read_raw_edf(folder / "annotated.edf", verbose="error")
    assert set(raw.ch_names) == set(TEN_TWENTY) - {"P3"}


def test_a_model_that_is_none(tmp_path: Path, recording: Path) -> None:
    out = tmp_path / "out"
    assert "no such file" in refused(1, "detect", tmp_path / "none", recording, "--out", out)
    assert "not a safetensors file" in refused(1, "detect", recording, recording, "--out", out)
    assert "no such file" in refused(1, "evaluate", tmp_path)
    assert not out.exists()


def test_a_folder_without_a_recording_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(1, "detect", model, tmp_path / "empty", "--out", tmp_path / "new")
    assert f"{tmp_path / 'empty'}: contains no recording; expected files that end in" in message


EMOTIV = "F7,F3,T7,P7,O1,O2,P8,T8,F4,F8"


@pytest.mark.slow
@needs_data
def test_guinea_bissau_refuses_what_lacks_its_channels_and_detects_with_those_shared(tmp_path: Path) -> None:
    folder = tmp_path / "gb"
    (folder / "EEGs_Guinea-Bissau").mkdir(parents=True)
    source = DATA / "guinea_bissau"
    shutil.copy(source / "metadata_guineabissau.csv", folder)
    entries = open_corpus(source).entries
    for label in (0, 1):
        for entry in [e for e in entries if e.label == label][:4]:
            (folder / "EEGs_Guinea-Bissau" / entry.path.name).symlink_to(entry.path)
    recordings = sorted((DATA / "eegmat").glob("*.edf"))[:2]
    options = ("--epochs", 1, "--folds", 2)
    assert eeg("train", folder, "--out", tmp_path / "all", *options).exit_code == 0
    result = eeg("detect", tmp_path / "all", *recordings, "--out", tmp_path / "out")
    assert result.exit_code == 1
    for line, path in zip(result.stderr.splitlines(), recordings, strict=True):
        assert path.name in line
        lacking = line.split("lacks the channels ")[1].split(";")[0].split(", ")
        assert set(lacking) == {"AF3", "AF4", "FC5", "FC6"}
    assert eeg("train", folder, "--out", tmp_path / "ten", "--channels", EMOTIV, *options).exit_code == 0
    result = eeg("detect", tmp_path / "ten", *recordings, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert len(recording_folders(tmp_path / "out")) == 2
    assert "simulated EEG" not in result.output
