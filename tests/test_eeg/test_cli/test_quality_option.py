"""A model scores the same windows in use as in training, unless --quality specifies otherwise."""

import json
from dataclasses import replace
from pathlib import Path

import edfio
import numpy as np
import pytest
from click.testing import CliRunner, Result

from eeg.cli.main import main
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector, save_detector
from eeg.explanation.explain import Explanation
from eeg.explanation.segments import Segment, in_recording
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.windows import Windows

FLAT = 6.0  # s from the beginning in which one channel does not change: three windows of 2 s
SECONDS = 20
pytestmark = pytest.mark.usefixtures("without_figures")


def eeg(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Noise, much of it within the first seconds, in which one channel is flat."""
    data = 2e-5 * np.random.default_rng(0).normal(size=(19, SECONDS * 128))
    data[:, : int(FLAT * 128)] *= 3
    data[4, : int(FLAT * 128)] = 0
    signals = [
        edfio.EdfSignal(1e6 * x, 128, label=name, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for name, x in zip(TEN_TWENTY, data, strict=True)
    ]
    edfio.Edf(signals).write(tmp_path / "recording.edf")
    return tmp_path / "recording.edf"


@pytest.mark.parametrize(
    ("trained", "options", "flawed"),
    [("exclude", (), 3), ("keep", (), 0), ("keep", ("--quality", "exclude"), 3)],
)
def test_detect_scores_the_windows_that_training_would_use(
    detector: Detector, recording: Path, tmp_path: Path, trained: str, options: tuple[str, ...], flawed: int
) -> None:
    save_detector(replace(detector, quality=trained), tmp_path / "m.safetensors")
    quick = ("--method", "grad-cam", *options)
    eeg("detect", tmp_path / "m.safetensors", recording, "--out", tmp_path / "out", *quick)
    (written,) = tmp_path.glob("out/*/quality.json")
    found = json.loads(written.read_text())
    assert (found["windows"], found["flawed"]) == (SECONDS // 2 - flawed, flawed)


@pytest.mark.parametrize(("options", "first"), [((), FLAT), (("--quality", "keep"), 0.0)])
def test_explain_uses_the_windows_that_detect_scores_and_reports_their_time(
    detector: Detector,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    first: float,
) -> None:
    save_detector(detector, tmp_path / "m.safetensors")
    explained: list[np.ndarray] = []

    def first_second(
        detector: Detector, windows: Windows, logits: np.ndarray, *how: object, **more: object
    ) -> Explanation:
        explained.append(windows.data)
        times = np.arange(windows.data.shape[0] * windows.data.shape[2]) / 128
        segment = Segment(*in_recording(windows, (0, 128), 128), ("Cz",), 0.1, 0.1)
        return Explanation("occlusion", (segment,), times, 0 * times, contribution=0 * logits)

    monkeypatch.setattr("eeg.workflows.analyse.explain", first_second)
    for command in ("detect", "explain"):
        eeg(command, tmp_path / "m.safetensors", recording, "--out", tmp_path / command, *options)
    np.testing.assert_array_equal(*explained)
    (written,) = tmp_path.glob("explain/*/explanation.json")
    (segment,) = json.loads(written.read_text())["segments"]
    assert segment["onset"] == first


@pytest.mark.slow
def test_training_keeps_its_policy_and_evaluation_takes_it_up(cohort: Path, tmp_path: Path) -> None:
    options = ("--epochs", 1, "--folds", 2, "--hold-out", 0.25, "--quality", "strict")
    output = eeg("train", cohort, "--out", tmp_path / "run", *options).output
    assert load_detector(tmp_path / "run" / "model.safetensors").quality == "strict"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["plan"]["quality"] == "strict"
    flaws = "flat, clipped, artefact, muscle, blink, seizure"
    assert f"windows that touch {flaws}" in (tmp_path / "run/card.md").read_text()
    (left_out,) = [line for line in output.splitlines() if line.startswith("Excluded of")]
    assert " with artefacts" in left_out
    assert "within seizures" not in left_out
    evaluate = ("evaluate", tmp_path / "run", cohort, "--method", "grad-cam")
    assert left_out in eeg(*evaluate).output
    assert " windows: none." in eeg(*evaluate, "--quality", "keep").output
