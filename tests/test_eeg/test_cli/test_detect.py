"""`eeg detect` of many recordings: a fault in one, or in one of its outputs, costs no other."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from click.testing import CliRunner, Result

import eeg.workflows.detect
from eeg.cli.main import main
from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.explanation.options import ExplanationOptions
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.suffixes import recording_stem
from eeg.preprocessing.recording import open_recording
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export import ESSENTIAL, WRITERS
from eeg.workflows.analyse import analyse, output_name
from tests.test_eeg.recordings import write_edf, write_fif


def noise(seed: int = 0, channels: int = 19, seconds: int = 20) -> np.ndarray:
    """Return (C, T) µV at 128 Hz."""
    return 20 * np.random.default_rng(seed).normal(size=(channels, seconds * 128))


def detect(model: Path, *words: object) -> Result:
    result = CliRunner().invoke(main, ["detect", str(model), *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return [write_edf(folder / f"{name}.edf", noise(i), TEN_TWENTY) for i, name in enumerate("abc")]


@pytest.fixture
def model(detector: Detector, tmp_path: Path) -> Path:
    save_detector(detector, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


_ANALYSED: list[RecordingAnalysis] = []  # one for all tests


@pytest.fixture(autouse=True)
def quick(
    detector: Detector, recordings: list[Path], without_figures: None, monkeypatch: pytest.MonkeyPatch
) -> RecordingAnalysis:
    """Give every recording the analysis of the first one, without figures: what is tested is around them."""
    if not _ANALYSED:
        _ANALYSED.append(analyse(detector, recordings[0], ExplanationOptions("grad-cam", "zero", 1)))
    (analysis,) = _ANALYSED

    def analyse_quickly(_: Detector, path: Path, *args: object, **named: object) -> RecordingAnalysis:
        opened = open_recording(path)
        return replace(analysis, recording=opened, name=output_name(path, opened.digest))

    monkeypatch.setattr("eeg.workflows.detect.analyse", analyse_quickly)
    return analysis


def fail_with(error: Exception) -> Any:
    def failing(*args: object, **named: object) -> None:
        raise error

    return failing


def folders(out: Path) -> list[Path]:
    return sorted(out.glob("recording-*"))


@pytest.mark.parametrize(
    "error",
    [KeyError("Mueller"), MemoryError(), RecursionError("Mueller"), OSError(5, "Input/output error")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("debug", [False, True])
def test_any_error_in_one_recording_is_one_line_and_the_others_go_on(
    error: Exception,
    debug: bool,
    model: Path,
    recordings: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quickly = eeg.workflows.detect.analyse
    monkeypatch.setattr(
        "eeg.workflows.detect.analyse",
        lambda detector, path, *a, **k: (
            fail_with(error)() if path == recordings[0] else quickly(detector, path, *a, **k)
        ),
    )
    result = detect(model, *recordings[:2], "--out", tmp_path / "out", *["--debug"] * debug)
    assert result.exit_code == 1
    assert len(folders(tmp_path / "out")) == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert str(recordings[0]) in lines[0]
    assert "Mueller" not in lines[0]
    assert ("Traceback" in result.stderr) == debug


@pytest.mark.parametrize(
    ("place", "output"),
    [
        *((name, name) for name in WRITERS if name not in ESSENTIAL),
        ("eeg.workflows.detect.write_derivative", "derivatives"),
        ("eeg.reporting.tensorboard.write_recording", "tensorboard"),
        ("eeg.reporting.figures.draw_pages", None),
    ],
)
def test_a_fault_in_one_output_does_not_cost_the_result(
    place: str,
    output: str | None,
    model: Path,
    recordings: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = fail_with(ValueError("exceeds maximum field length"))
    if place == output:
        monkeypatch.setitem(WRITERS, place, failing)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(place, failing)
    tensorboard = ["--tensorboard"] * (output == "tensorboard")
    result = detect(model, recordings[0], "--out", tmp_path / "out", *tensorboard)
    (folder,) = folders(tmp_path / "out")
    written = {path.name for path in folder.iterdir()}
    assert written == set(WRITERS) - {output}
    found, report = json.loads((folder / "result.json").read_text()), (folder / "report.html").read_text()
    assert 0 < found["score"] < 1
    if output is None:
        assert result.exit_code == 0
        assert "A figure cannot be drawn: unexpected ValueError" in report
    else:
        line = f"{output} is not written: unexpected ValueError"
        assert result.exit_code == 1
        assert f"Warning: {line}" in result.output
    if place == output:
        assert line in report
        assert any(line in warning for warning in found["model"]["warnings"])


@pytest.mark.parametrize("offset", [0.0, -20.5])
def test_the_copy_clips_what_edf_cannot_hold(offset: float, model: Path, tmp_path: Path) -> None:
    volts = 1e-6 * noise(channels=20)
    volts[19, 1000:1400] = -20.5
    volts[19] += offset
    write_fif(tmp_path / "open_raw.fif", volts, [*TEN_TWENTY, "CP5"])
    result = detect(model, tmp_path / "open_raw.fif", "--out", tmp_path / "out")
    assert result.exit_code == 0
    line = "annotated.edf: clipped, since EDF cannot hold the range: CP5"
    (folder,) = folders(tmp_path / "out")
    assert line in result.output
    assert line in (folder / "report.html").read_text()
    copy = mne.io.read_raw_edf(folder / "annotated.edf", preload=True, verbose="error")
    seen = copy.get_data(["Fp1", "CP5"])
    np.testing.assert_allclose(seen[0], volts[0], atol=1e-7)
    if not offset:  # the EEG beside the fault is held in steps of at most 1 µV
        np.testing.assert_allclose(seen[1, :1000], volts[19, :1000], atol=1e-6)
        assert np.ptp(seen[1, 1000:1400]) == 0


def test_recordings_of_the_same_content_are_all_reported(
    model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.edf"
    copy.write_bytes(recordings[0].read_bytes())
    result = detect(model, recordings[0], recordings[1], copy, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0
    first, other, again = json.loads(result.stdout)["recordings"]
    assert (first["same_as"], other["same_as"], again["same_as"]) == (None, None, 1)
    assert again["folder"] == first["folder"] != other["folder"]
    text = detect(model, recordings[0], copy, "--out", tmp_path / "out").stdout
    assert "the same content as recording 1" in text


def test_results_of_one_recording_never_replace_those_of_another(
    model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    name, out = "sub-01_task-rest_eeg.edf", tmp_path / "out"
    for site, source in zip(("x", "y"), recordings, strict=False):
        (tmp_path / site).mkdir()
        (tmp_path / site / name).write_bytes(source.read_bytes())
    result = detect(model, tmp_path / "x" / name, tmp_path / "y" / name, "--out", out)
    assert result.exit_code == 1
    assert "for the results of another recording of this call with the same name" in result.stderr
    before = (out / "sub-01_task-rest_eeg" / "result.json").read_bytes()
    assert detect(model, tmp_path / "y" / name, "--out", out).exit_code == 1
    assert (out / "sub-01_task-rest_eeg" / "result.json").read_bytes() == before
    assert detect(model, tmp_path / "x" / name, "--out", out).exit_code == 0, "the same one again"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("2020.01.02.edf", "2020.01.02"),
        ("a.EDF", "a"),
        ("a.fif.gz", "a"),
        (".hidden.edf", "hidden"),
        ("...edf", "recording"),
        (".edf", "recording"),
        ("a.txt", "a"),
        ("a\nb\x1b.edf", "a_b_"),
        (os.fsdecode(b"\xff.edf"), "_"),
        (f"{'n' * 250}.edf", "n" * 250),
    ],
)
def test_names_are_whole_and_never_those_of_folders_above(file: str, name: str) -> None:
    assert recording_stem(Path("x", file)) == name


def test_named_outputs_are_in_a_folder_of_each_recording(
    model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    names = ["2020.01.02.edf", "2020.05.06.edf", ".hidden.edf"]
    for name, source in zip(names, recordings, strict=True):
        (tmp_path / name).write_bytes(source.read_bytes())
    paths = [tmp_path / name for name in names]
    assert detect(model, *paths, "--keep-names", "--out", tmp_path / "out").exit_code == 0
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"2020.01.02", "2020.05.06", "hidden", "derivatives", "detections"}
    assert len(list((tmp_path / "out" / "derivatives" / "hebbian-eeg").glob("sub-*"))) == 3


def test_tensorboard_shows_the_last_detection_only(
    model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    for _ in range(2):
        words = ("--out", tmp_path / "out", "--tensorboard")
        assert detect(model, recordings[0], *words).exit_code == 0
    assert len(list((tmp_path / "out" / "tensorboard").rglob("events.*"))) == 1


def test_doubts_about_a_recording_are_printed_with_its_score(
    model: Path, recordings: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(recordings[0].read_bytes() + b"more")
    doubt = "the 4 bytes after its last data record are ignored"
    assert doubt in detect(model, path, "--out", tmp_path / "out").stdout
    (found,) = json.loads(detect(model, path, "--out", tmp_path / "out", "--json").stdout)["recordings"]
    assert found["problems"] == [doubt]


def test_what_a_killed_run_left_is_removed(model: Path, recordings: list[Path], tmp_path: Path) -> None:
    left = tmp_path / "out" / ".partial-recording-of-another-x"
    left.mkdir(parents=True)
    assert detect(model, recordings[0], "--out", tmp_path / "out").exit_code == 0
    assert not list((tmp_path / "out").rglob(".partial-*"))


PRINTING = """
import os
import eeg.workflows.inspect as workflow
from eeg.cli.main import main
read = workflow.read_with_header
def noisy(*args, **named):
    print("a library prints")
    os.system("echo a program prints")
    return read(*args, **named)
workflow.read_with_header = noisy
main()
"""


def test_json_is_valid_whatever_a_library_prints(recordings: list[Path]) -> None:
    words = [sys.executable, "-c", PRINTING, "inspect", str(recordings[0]), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["recordings"]) == 1
    assert "a library prints" in done.stderr
    assert "a program prints" in done.stderr


def test_an_error_names_the_file_that_was_given(
    detector: Detector, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eeg.workflows.detect.analyse", analyse)
    (tmp_path / "x.eeg").write_bytes(noise(channels=12).T.astype("<f4").tobytes())
    (tmp_path / "x.vmrk").write_text(MARKERS)
    channels = "".join(f"Ch{i}={name},,1,µV\n" for i, name in enumerate(TEN_TWENTY[:12], 1))
    (tmp_path / "x.vhdr").write_text(HEADER + channels, encoding="utf-8")
    result = detect(model, tmp_path / "x.vhdr", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"{tmp_path / 'x.vhdr'}: lacks the channels" in result.stderr


MARKERS = (
    "BrainVision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=x.eeg\n[Marker Infos]\n"
)
HEADER = """BrainVision Data Exchange Header File Version 1.0
[Common Infos]
Codepage=UTF-8
DataFile=x.eeg
MarkerFile=x.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=12
SamplingInterval=7812.5
[Binary Infos]
BinaryFormat=IEEE_FLOAT_32
[Channel Infos]
"""
