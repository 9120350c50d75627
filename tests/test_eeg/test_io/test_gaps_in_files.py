"""What files of every format say of gaps, joints and points in time."""

from pathlib import Path

import edfio
import mne
import numpy as np
import pytest

from eeg.datasets.seizures import find_seizures
from eeg.io.gaps import stretches
from eeg.io.reader import read_recording, read_with_header
from tests.test_eeg.recordings import write_fif
from tests.test_eeg.test_io.small_files import (
    FOUR,
    RATE,
    SECONDS,
    noise,
    refusal,
    set_times,
    write,
    write_brainvision,
    write_eeglab,
    write_persyst,
)


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
def test_gaps_of_a_file_that_calls_itself_continuous(suffix: str, tmp_path: Path) -> None:
    times = [*range(8), *range(108, 120)]
    path = set_times(write(tmp_path / f"a.{suffix}"), times, "+110\x155\x14Seizure\x14\0")
    raw, header = read_with_header(path)
    assert stretches(raw) == [(0, 8 * RATE), (108 * RATE, 120 * RATE)]
    assert [value.tolist() for value in find_seizures(raw).spans] == [[110], [5]]
    assert header.problems == []
    peer = edfio.read_bdf(path) if suffix == "bdf" else edfio.read_edf(path)
    np.testing.assert_allclose(raw.get_data(start=108 * RATE)[0] * 1e6, peer.signals[0].data[8 * RATE :])


def test_continuous_records_are_read_as_mne_reads_them(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), [i + 0.25 + 1e-3 * (i % 2) for i in range(SECONDS)])
    raw = read_recording(path, preload=False)
    assert stretches(raw) == [(0, SECONDS * RATE)]
    np.testing.assert_array_equal(raw.get_data(), mne.io.read_raw(path, verbose="error").get_data())


def test_times_that_say_nothing(tmp_path: Path) -> None:
    raw, header = read_with_header(set_times(write(tmp_path / "a.edf"), [0.0] * SECONDS))
    assert stretches(raw) == [(0, SECONDS * RATE)]
    assert header.problems == ["all its data records have the same time, so gaps are unknown"]
    _, header = read_with_header(set_times(tmp_path / "a.edf", [None] * SECONDS))
    assert header.problems == []


def test_a_gap_beside_a_record_without_a_time(tmp_path: Path) -> None:
    times = [*range(8), None, *range(109, 120)]
    assert "has gaps, and its data record 9 has no time" in refusal(
        set_times(write(tmp_path / "a.edf"), times)
    )


def test_records_beyond_those_announced_keep_their_times(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), [*range(8), *range(58, 70)])
    content = bytearray(path.read_bytes())
    content[192:197] = b"EDF+D"
    content[236:244] = b"17      "
    path.write_bytes(content + b"rest")
    raw, header = read_with_header(path)
    assert stretches(raw) == [(0, 8 * RATE), (58 * RATE, 70 * RATE)]
    assert header.problems == [
        "holds 3 data record(s) more than its header announces, which are read",
        "the 4 bytes after its last data record are ignored",
    ]
    peer = mne.io.read_raw(path, verbose="error").get_data(FOUR)
    np.testing.assert_allclose(raw.get_data(start=58 * RATE), peer[:, 8 * RATE :], rtol=1e-12)


@pytest.mark.parametrize("pause", [None, 12])
def test_the_status_of_biosemi(pause: int | None, tmp_path: Path) -> None:
    status = np.full(SECONDS * RATE, 1 << 20)
    status[:10] |= 1 << 16  # the start of the file
    status[5 * RATE : 7 * RATE] &= ~(1 << 20)
    if pause:
        status[pause * RATE : pause * RATE + 5] |= 1 << 16
    path = tmp_path / "a.bdf"
    signals = [
        edfio.BdfSignal(row, RATE, label=name, physical_dimension="uV")
        for name, row in zip(FOUR, noise(), strict=True)
    ]
    wide = (-(2.0**23), 2.0**23 - 1)
    signals.append(edfio.BdfSignal(status.astype(float), RATE, label="Status", physical_range=wide))
    edfio.Bdf(signals, data_record_duration=1).write(path)
    if pause:
        assert refusal(path) == "joined from pieces, such as at 12.0 s; split it there"
    else:
        raw, header = read_with_header(path)
        assert stretches(raw) == [(0, 5 * RATE), (7 * RATE, SECONDS * RATE)]
        assert header.problems == ["2.0 s with the electrodes out of range (CMS) are left out"]


@pytest.mark.parametrize("joint", ["boundary", "Boundary ", "BAD boundary", -99, "-99", -99.0])
def test_joints_of_eeglab(joint: str | float, tmp_path: Path) -> None:
    assert refusal(write_eeglab(tmp_path, joint)) == "joined from pieces, such as at 10.0 s; split it there"


def test_epochs_of_eeglab(tmp_path: Path) -> None:
    assert refusal(write_eeglab(tmp_path, trials=4)) == "contains epochs; expected a continuous recording"


@pytest.mark.parametrize("kind", ["New Segment,", "New Segment,LostSamples", "new segment,x"])
def test_joints_of_brainvision(kind: str, tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, ["New Segment,,1,1,0", f"{kind},{10 * RATE + 1},1,0"])
    assert refusal(path) == "joined from pieces, such as at 10.0 s; split it there"


@pytest.mark.parametrize("joint", ["32766", "EDGE boundary", "New Segment/"])
def test_joints_of_other_formats(joint: str, tmp_path: Path) -> None:
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * noise(), FOUR)
    raw = mne.io.read_raw(path, preload=True, verbose="error").set_annotations(mne.Annotations(5, 0, joint))
    raw.save(path, overwrite=True, verbose="error")
    assert refusal(path) == "joined from pieces, such as at 5.0 s; split it there"


def test_times_of_persyst(tmp_path: Path) -> None:
    for times in ("0=86390.0\n1280=0.02\n", "0=5.0\n", ""):  # past midnight, with a correction of the clock
        assert stretches(read_recording(write_persyst(tmp_path, times=times))) == [(0, SECONDS * RATE)]
    path = write_persyst(tmp_path, times=f"0=5.0\n{10 * RATE}=14.0\n")
    assert "(SampleTimes) go back, or are 12 hours or more apart, at 10.0 s" in refusal(path)


def test_gaps_of_persyst(tmp_path: Path) -> None:
    """After 4 s of signal past midnight 60 s are missing, and after 10 s half a second."""
    times = f"0=86399.0\n{2 * RATE}=1.0\n{4 * RATE}=63.0\n{10 * RATE}=69.5\n{30 * RATE}=200.0\n"
    for preload in (False, True):
        raw = read_recording(write_persyst(tmp_path, times=times), preload=preload)
        spans = [(0, 4 * RATE), (64 * RATE, 70 * RATE), (round(70.5 * RATE), round(80.5 * RATE))]
        assert stretches(raw) == spans
        volts = np.concatenate([raw.get_data(start=start, stop=stop) for start, stop in spans], axis=1)
        np.testing.assert_allclose(volts, 1e-6 * noise(), atol=0.101e-6)  # it is cut to 0.1 µV
        assert not raw.get_data(start=4 * RATE, stop=64 * RATE).any()
        onset = raw.annotations.onset[raw.annotations.description == "Müller blinks"]
        assert onset.tolist() == [65]  # after 5 s of signal


def test_a_marker_of_a_sample_is_a_point_in_time(tmp_path: Path) -> None:
    markers = [
        f"Comment,Seizure {end},{second * RATE + 1},1,0" for end, second in (("start", 5), ("end", 15))
    ]
    markers.append(f"Comment,Seizure,{17 * RATE + 1},{RATE},0")
    raw = read_recording(write_brainvision(tmp_path, markers))
    assert [value.tolist() for value in find_seizures(raw).spans] == [[5, 17], [10, 1]]
