"""One analysis of a recording: each step runs once, and MNE objects are accepted and returned."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eeg.detector.calibration import Calibration
from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage
from eeg.explanation.baselines import BASELINES
from eeg.explanation.faithfulness import highest_windows, removal_curves
from eeg.explanation.options import ExplanationOptions
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.preprocessing.recording import Recording
from eeg.reporting.analysis import RecordingAnalysis
from eeg.workflows.analyse import analyse, output_name
from tests.test_eeg.helpers import untrained_detector


class Peaks(nn.Module):
    """The logit is the mean fourth power, which depends on transients; every input is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x.clone())
        return x.pow(4).mean((1, 2))[:, None]


def build() -> Detector:
    """Return a detector without an interval of the score."""
    return replace(untrained_detector(), network=Peaks(), calibration=Calibration(1.5, -0.25, 0.4, 20))


@pytest.fixture
def peaky() -> Detector:
    return build()


@pytest.fixture(scope="module")
def opened(recording: Path) -> mne.io.BaseRaw:
    return mne.io.read_raw(recording, verbose="error")


@pytest.fixture(scope="module")
def analysed(opened: mne.io.BaseRaw) -> RecordingAnalysis:
    return analyse(build(), opened)


def counted(monkeypatch: pytest.MonkeyPatch, counts: Counter[str], *places: str) -> None:
    """Count the calls of functions, each given as its module and name."""
    for place in places:
        module, name = place.rsplit(".", 1)
        function = getattr(__import__(module, fromlist=[name]), name)

        def call(*args: Any, function: Callable[..., Any] = function, name: str = name, **named: Any) -> Any:
            counts[name] += 1
            return function(*args, **named)

        monkeypatch.setattr(place, call)


def test_the_network_scores_all_windows_once(peaky: Detector, recording: Path) -> None:
    """Decision, highest windows, check, ranking and contributions share the logits.

    Occlusion asks once more for the logits that it compares with, and contributions once for those of the
    baseline.
    """
    analysis = analyse(peaky, recording)
    assert analysis.windows is not None
    assert analysis.segments, "all that can need the network did"
    windows = torch.from_numpy(analysis.windows.data)
    inputs = peaky.network.inputs
    assert isinstance(inputs, list)
    assert sum(torch.equal(x, windows) for x in inputs) == 1 + 1
    assert sum(torch.equal(x, torch.zeros_like(windows)) for x in inputs) == 1
    np.testing.assert_array_equal(analysis.logits, peaky.logits(analysis.windows.data))


def test_faithfulness_is_that_of_the_windows_with_the_highest_logits(analysed: RecordingAnalysis) -> None:
    assert analysed.windows is not None
    size = analysed.windows.data.shape[2]
    highest = highest_windows(analysed.logits)
    evidence = np.stack([analysed.explanation.relevance.ravel()[i * size :][:size] for i in highest])
    strongest, montage = analysed.windows.data[highest], Montage(TEN_TWENTY, 128.0)
    expected = removal_curves(Peaks(), strongest, evidence[:, None], montage, BASELINES["zero"])
    assert analysed.removal is not None
    np.testing.assert_allclose(analysed.removal.deletion, expected.deletion, rtol=1e-6)
    np.testing.assert_allclose(analysed.removal.insertion, expected.insertion, rtol=1e-6)


def test_a_file_is_hashed_parsed_and_scanned_once(
    peaky: Detector, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    counted(
        monkeypatch,
        counts,
        "eeg.preprocessing.recording.file_hash",
        "eeg.io.reader.read_edf_header",
        "eeg.preprocessing.recording.stretches",
        "eeg.preprocessing.loading.stretches",
        "eeg.preprocessing.loading.examine",
        "eeg.preprocessing.loading.clean",
    )
    scan = Recording.scan
    monkeypatch.setattr(Recording, "scan", lambda *a: counts.update(scan=1) or scan(*a))
    analysis = analyse(peaky, recording)
    assert counts == {
        "file_hash": 1,
        "read_edf_header": 1,
        "scan": 1,
        "stretches": 2,  # of the recording as read, and as cleaned
        "examine": 1,
        "clean": 1,
    }
    assert analysis.recording.header is not None
    assert analysis.recording.digest is not None


def test_a_recording_of_mne_has_the_same_analysis_as_its_file(
    peaky: Detector, recording: Path, opened: mne.io.BaseRaw, analysed: RecordingAnalysis
) -> None:
    """To single precision, in which the samples of a plain EDF are read."""
    by_raw, by_path = analysed, analyse(peaky, recording)
    for one, other in zip(by_raw.segments, by_path.segments, strict=True):
        assert replace(one, attribution=0, change=0) == replace(other, attribution=0, change=0)
        assert (one.attribution, one.change) == pytest.approx((other.attribution, other.change), 1e-4, 1e-6)
    assert by_raw.decision.score == pytest.approx(by_path.decision.score, abs=1e-5)
    assert by_raw.recording.digest is None
    assert by_raw.name == "recording"
    assert by_raw.recording.header is not None
    assert by_raw.recording.header.electrodes == by_path.recording.header.electrodes  # type: ignore[union-attr]
    assert opened.ch_names == mne.io.read_raw(recording, verbose="error").ch_names, "it stays as it is"


@pytest.mark.parametrize(
    ("date", "first"), [(None, 0.0), (None, 3.0), (datetime(2020, 1, 1, tzinfo=UTC), 3.0)]
)
def test_segments_become_annotations_at_their_time(
    peaky: Detector, recording: Path, date: datetime | None, first: float
) -> None:
    raw = read_recording(recording).set_meas_date(date).rename_channels(lambda name: f"EEG {name}-REF")
    raw.set_annotations(mne.Annotations([10.0], [1.0], ["here already"]))
    raw.crop(first, first + 40)
    analysis = analyse(peaky, raw)
    assert analysis.segments
    raw.set_annotations(mne.Annotations([], [], [], raw.info["meas_date"]) + analysis.to_annotations())
    found = [a for a in raw.annotations if a["description"].startswith("model attribution")]
    onsets = {round(a["onset"] - raw.first_time, 6) for a in found}
    assert onsets == {round(segment.onset, 6) for segment in analysis.segments}
    assert all(set(a["ch_names"]) <= set(raw.ch_names) and a["ch_names"] for a in found)


def test_annotations_join_those_of_the_recording(peaky: Detector, recording: Path) -> None:
    raw = read_recording(recording).crop(tmax=40)
    before = len(raw.annotations)
    analysis = analyse(peaky, raw)
    raw.set_annotations(raw.annotations + analysis.to_annotations())
    assert len(raw.annotations) == before + len(analysis.segments)


def test_a_report_is_written_and_names_no_file(
    analysed: RecordingAnalysis, recording: Path, tmp_path: Path
) -> None:
    analysed.report(tmp_path / "report.html")
    assert recording.stem not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_unknown_method_or_baseline_is_named(peaky: Detector, recording: Path) -> None:
    with pytest.raises(ValueError, match="unknown baseline 'noise'"):
        analyse(peaky, recording, ExplanationOptions(baseline="noise"))
    with pytest.raises(ValueError, match="saliency"):
        analyse(peaky, recording, ExplanationOptions("saliency"))


def test_names_are_long_enough_for_archives() -> None:
    """Of 100,000 recordings two share 32 bits of a hash with a probability of .7, and 48 bits with 2e-5."""
    digests = ["1a2b3c4d00000000", "1a2b3c4d00010000"]
    assert len({output_name("x.edf", digest) for digest in digests}) == 2
