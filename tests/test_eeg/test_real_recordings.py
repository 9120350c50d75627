"""Recordings from PhysioNet, scored by models of 19 and of 14 channels."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mne
import numpy as np
import pytest

from eeg.detector.detector import Detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from eeg.preprocessing.pipeline import Preprocessing
from eeg.reporting.analysis import summarize_model
from eeg.workflows.analyse import recording_warnings
from eeg.workflows.detect import detect
from tests.test_eeg.recordings import DATA, needs_data
from trainers.errors import DataError

EPOC = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
MMIDB, MAT = Path("eegmmidb", "S001R03.edf"), Path("eegmat", "Subject00_1.edf")


def as_mmidb_writes(name: str) -> str:
    """Every name has four characters, and a capital only in front: ``Fc5.``, ``Cz..``."""
    return name.capitalize().ljust(4, ".")


def as_mat_writes(name: str) -> str:
    return "EEG " + {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}.get(name, name)


def of(detector: Detector, channels: tuple[str, ...]) -> Detector:
    network = build_model("tvgg-gap", len(channels), 256).eval()
    return replace(detector, network=network, preprocessing=Preprocessing(channels))


@needs_data
@pytest.mark.parametrize(
    ("file", "channels", "written"),
    [(MMIDB, TEN_TWENTY, as_mmidb_writes), (MMIDB, EPOC, as_mmidb_writes), (MAT, TEN_TWENTY, as_mat_writes)],
)
def test_the_input_of_a_model_equals_the_result_of_mne(
    file: Path, channels: tuple[str, ...], written: Callable[[str], str], detector: Detector
) -> None:
    peer = mne.io.read_raw_edf(DATA / file, preload=True, verbose="error")
    peer.pick([written(name) for name in channels]).set_eeg_reference("average", verbose="error")
    peer.filter(0.5, 45.0, h_trans_bandwidth=5.0, verbose="error")
    ratio = Fraction(128 / peer.info["sfreq"]).limit_denominator(1000)
    whole = np.pad(peer.get_data(), ((0, 0), (0, -peer.n_times % ratio.denominator)), "edge")
    # MNE's default pads to a power of 2, and so stretches time by up to half a sample.
    resampled = mne.filter.resample(whole, *ratio.as_integer_ratio(), npad=ratio.denominator, method="fft")
    found = of(detector, channels).prepare(detector.open(DATA / file))
    cleaned, windows = found.cleaned, found.windows
    inner = slice(10 * 128, -10 * 128)
    apart = 1e6 * (cleaned.get_data() - resampled[:, : cleaned.n_times])[:, inner]
    assert np.sqrt(np.mean(apart**2)) < 0.01  # µV
    assert windows.data.shape[1:] == (len(channels), 256)
    quality = windows.quality
    assert quality is not None
    assert quality.flat == ()
    assert len(windows.data) + windows.flawed == cleaned.n_times // 256


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("file", [MMIDB, MAT])
def test_detecting_writes_all_its_files(file: Path, detector: Detector, tmp_path: Path) -> None:
    found = detect(detector, DATA / file, tmp_path, keep_name=True)
    analysis, folder = found.analysis, found.folder
    names = {"report.html", "result.json", "annotated.edf", "szcore.tsv", "quality.json"}
    assert {path.name for path in folder.iterdir()} == names
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["windows"] == len(analysis.decision.window_onset)
    assert 0 < analysis.decision.score < 1


@needs_data
def test_channels_that_a_recorder_has_not_are_named(detector: Detector) -> None:
    with pytest.raises(DataError, match=r"Subject00_1\.edf: lacks the channels AF3, FC5, FC6, AF4;"):
        of(detector, EPOC).prepare(detector.open(DATA / MAT))


def test_what_is_doubtful_about_a_recording_is_a_warning(detector: Detector) -> None:
    warnings = recording_warnings(problems=["electrodes without a unit, taken as uV"])
    expected = ("Of this recording: electrodes without a unit, taken as uV.",)
    assert summarize_model(detector, warnings).warnings == expected
