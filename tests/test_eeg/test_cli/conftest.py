"""Fixtures: what the commands are given, and one training and one detection whose outputs many tests read."""

from pathlib import Path

import pytest

from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from tests.test_eeg.helpers import drawing_few_resamples, untrained_detector
from tests.test_eeg.test_cli.command import Detected, Trained, eeg, noise, write_edf


@pytest.fixture
def model(detector: Detector, tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    save_detector(detector, tmp_path / "model" / "model.safetensors")
    return tmp_path / "model"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_edf(tmp_path / "recording.edf", noise())


@pytest.fixture(scope="session")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("trained") / "run"
    options = ("--epochs", 1, "--folds", 2, "--hold-out", 0.25)
    with drawing_few_resamples():
        return Trained(out, eeg("train", cohort, "--out", out, *options))


@pytest.fixture(scope="session")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    folder = tmp_path_factory.mktemp("detected")
    (folder / "model").mkdir()
    save_detector(untrained_detector(), folder / "model" / "model.safetensors")
    path = write_edf(folder / "Mueller_Zebulon.edf", noise(), name="Mueller_Zebulon")
    result = eeg("detect", folder / "model", path, "--out", folder / "out")
    return Detected(folder / "model", path, folder / "out", result)
