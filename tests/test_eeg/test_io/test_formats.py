"""What files of every format say of gaps, points in time and units, and files that must not harm."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import edfio
import mne
import numpy as np
import pytest
import scipy.io

from eeg.datasets.seizures import find_seizures
from eeg.io import isolated, reader
from eeg.io.edf_header import read_edf_header
from eeg.io.electrodes import TEN_TWENTY, contacts, electrodes, reference
from eeg.io.gaps import stretches
from eeg.io.notes import notes_from
from eeg.io.reader import read_header, read_recording, read_with_header
from eeg.preprocessing.recording import open_recording
from tests.test_eeg.recordings import write_edf, write_fif
from trainers.errors import DataError

RATE = 128
FOUR = ("Fp1", "T7", "Cz", "O2")
SECONDS = 20


def noise(seconds: int = SECONDS, channels: int = 4) -> np.ndarray:
    """Microvolts (C, T)."""
    return 25 * np.random.default_rng(0).standard_normal((channels, seconds * RATE))


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_recording(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


def write(path: Path, seconds: int = SECONDS, **fields: Any) -> Path:
    """Write an EDF+ or BDF+ with room for annotations in each record."""
    room = [edfio.EdfAnnotation(0, None, "x" * 60)]
    return write_edf(path, noise(seconds), FOUR, RATE, limits=(-400, 400), annotations=room, **fields)


def set_times(path: Path, times: Sequence[float | None], notes: str = "") -> Path:
    """Replace the annotations of each record by its time; the first one has ``notes`` too."""
    header = read_edf_header(path)
    content = bytearray(path.read_bytes())
    (place,) = header.annotations
    for number, time in enumerate(times):
        start = header.header_bytes + number * header.record_bytes
        text = "" if time is None else f"+{time:g}\x14\x14\0"
        width = place.stop - place.start
        tal = (text + notes * (number == 0)).encode().ljust(width, b"\0")
        content[start + place.start : start + place.stop] = tal
    path.write_bytes(content)
    return path


def write_brainvision(
    path: Path,
    markers: Sequence[str] | None = (),
    data: str = "a.eeg",
    codepage: str = "UTF-8",
    references: Sequence[str] = ("",) * 4,
) -> Path:
    """Write ``a.vhdr``, its signals and, unless None, its markers."""
    pairs = enumerate(zip(FOUR, references, strict=True), start=1)
    channels = "".join(f"Ch{i}={name},{reference},0.1,µV\n" for i, (name, reference) in pairs)
    (path / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={data}\nMarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=4\nSamplingInterval={1e6 / RATE}\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n"
        f"[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    if markers is not None:
        lines = "".join(f"Mk{i}={marker}\n" for i, marker in enumerate(markers, start=1))
        text = "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nDataFile=a.eeg\n\n"
        (path / "a.vmrk").write_text(f"{text}[Marker Infos]\n{lines}", encoding=codepage)
    (10 * noise()).astype("<i2").T.tofile(path / "a.eeg")
    return path / "a.vhdr"


@pytest.mark.parametrize(
    ("references", "expected"), [(("A1",) * 4, "A1"), (("A1", "A2", "A1", "A2"), "A1/A2"), (("REF",) * 4, "")]
)
def test_the_reference_of_brainvision_is_that_of_its_header(
    references: Sequence[str], expected: str, tmp_path: Path
) -> None:
    raw, header = read_with_header(write_brainvision(tmp_path, references=references))
    assert header.reference == expected
    assert raw.ch_names == list(FOUR)


def test_pairs_of_brainvision_are_not_taken_for_electrodes(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, references=("P3", "O1", "Fp2", "F4"))
    with pytest.raises(DataError, match=r"no scalp electrode .* but differences of two"):
        read_recording(path)


@pytest.mark.parametrize("data", ["/etc/passwd", "../a.eeg", "C:\\eeg\\a.eeg"])
def test_brainvision_names_no_file_elsewhere(data: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names a file in another folder"):
        read_recording(write_brainvision(tmp_path, data=data))


def write_eeglab(path: Path, event: Any = (), trials: int = 1) -> Path:
    """Write ``a.set`` with its signals inside; ``event`` is the type of one at 10 s."""
    events = np.array([(event, 10 * RATE + 0.5, 0.0)], [("type", "O"), ("latency", "O"), ("duration", "O")])
    data = noise().reshape(4, -1, trials, order="F") if trials > 1 else noise()
    structure = {"nbchan": 4, "trials": trials, "pnts": data.shape[1], "srate": float(RATE), "xmin": 0.0}
    structure |= {"xmax": 1.0, "data": data.astype(np.float32), "epoch": [], "event": events if event else []}
    structure |= {"chanlocs": np.array([(name,) for name in FOUR], [("labels", "O")])}
    scipy.io.savemat(path / "a.set", {"EEG": structure}, appendmat=False)
    return path / "a.set"


def write_persyst(path: Path, patient: str = "", times: str = "0=36000.0\n", encoding: str = "utf-8") -> Path:
    channels = "".join(f"{name}-Ref={i}\n" for i, name in enumerate(FOUR, start=1))
    (10 * noise()).astype("<i2").T.tofile(path / "a.dat")
    (path / "a.lay").write_text(
        f"[FileInfo]\nFile=C:\\eeg\\a.dat\nFileType=Interleaved\nSamplingRate={RATE}\nHeaderLength=0\n"
        f"Calibration=0.1\nWaveformCount=4\nDataType=0\n[ChannelMap]\n{channels}[SampleTimes]\n{times}"
        f"[Comments]\n5,0,0,100,Müller blinks\n[Patient]\n{patient}TestDate=2020.01.01\nTestTime=10:00:00\n",
        encoding=encoding,
    )
    return path / "a.lay"


# --- files that are none, or declare more than they hold


def test_devices_pipes_and_sockets_are_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.edf")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "s.edf"))
        (tmp_path / "device.edf").symlink_to("/dev/zero")
        for name in ("pipe.edf", "s.edf", "device.edf"):
            assert refusal(tmp_path / name) == "neither a file nor a folder but a device, a pipe or a socket"
            with pytest.raises(DataError, match="neither a file"):
                read_header(tmp_path / name)


@pytest.mark.parametrize("seconds", ["40000", "1e-12"])
def test_a_rate_that_no_recording_has(seconds: str, tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", noise(), FOUR, RATE)
    content = bytearray(path.read_bytes())
    content[244:252] = seconds.ljust(8).encode()
    path.write_bytes(content)
    assert refusal(path) == f"sampled at {RATE / float(seconds):g} Hz; expected 1 to 1e+06 Hz"


def test_a_duration_that_the_records_contradict(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), range(SECONDS))
    content = bytearray(path.read_bytes())
    content[244:252] = b"50      "
    path.write_bytes(content)
    assert refusal(path) == "its data records overlap in time from 1.0 s on; export it again"


def test_gaps_of_a_week_are_not_filled(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), [30_000.0 * i for i in range(SECONDS)])
    assert refusal(path) == "20 s of signal, spans 6.6 days with its gaps; split it there"


def test_a_fif_whose_skip_is_longer_than_any_recording(tmp_path: Path) -> None:
    raw = mne.io.RawArray(1e-6 * noise(), mne.create_info(list(FOUR), RATE, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations(10, 2, "BAD_ACQ_SKIP"))
    path = tmp_path / "a_raw.fif"
    raw.save(path, buffer_size_sec=1, overwrite=True, verbose="error")
    assert stretches(read_recording(path)) == [(0, 10 * RATE), (12 * RATE, SECONDS * RATE)]
    skip = (2).to_bytes(4, "big")  # buffers
    content = path.read_bytes()
    head = (301).to_bytes(4, "big") + (3).to_bytes(4, "big") + (4).to_bytes(4, "big")
    assert content.count(head) == 1
    place = content.index(head) + 16
    assert content[place : place + 4] == skip
    path.write_bytes(content[:place] + (2_000_000).to_bytes(4, "big") + content[place + 4 :])
    assert "days with its gaps" in refusal(path)


def test_a_crash_and_a_hang_of_the_reader_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a process that read a file before."""
    program = tmp_path / "reader.py"
    monkeypatch.setattr(isolated, "_PROGRAM", program)
    monkeypatch.setattr(isolated, "_SECONDS", 1.0)
    monkeypatch.setattr(isolated, "_PATIENCE", 1.0)
    path = write_brainvision(tmp_path)
    isolated._stop()
    program.write_text("import os, signal; input(); os.kill(os.getpid(), signal.SIGSEGV)")
    for _ in range(2):
        assert refusal(path) == "damaged, its reader stopped (SIGSEGV); export it again"
    program.write_text("import time; time.sleep(60)")
    assert refusal(path) == "damaged, cannot be opened within 1 s; export it again"


def test_a_reader_that_a_file_before_damaged_is_replaced(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    assert read_recording(path).ch_names == list(FOUR)
    isolated._CHILDREN[os.getpid()].kill()
    assert read_recording(path).ch_names == list(FOUR)


def test_memory_and_time_are_limited_in_the_reader() -> None:
    code = (
        f"import runpy\nlimit = runpy.run_path({str(isolated._PROGRAM)!r})['_limit']\n"
        "limit(2 << 30, 0)\n"
        "try:\n    bytearray(4 << 30)\nexcept MemoryError:\n    print('refused', flush=True)\n"
        "while True:\n    pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "refused\n"
    assert done.returncode == -signal.SIGXCPU == -isolated._XCPU


def test_a_damaged_set_is_refused(tmp_path: Path) -> None:
    """Types of elements that MATLAB does not have, where SciPy 1.17 reads outside its table."""
    path = write_eeglab(tmp_path)
    content = bytearray(path.read_bytes())
    for place in range(128, 400, 8):
        content[place : place + 4] = (200).to_bytes(4, "little")
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("suffix", ["vhdr", "set", "fif", "gdf", "csv", "lay"])
def test_errors_do_not_quote_the_file(suffix: str, tmp_path: Path) -> None:
    text = "0       PIDMRK F 02-AUG-1951 Muster_Anna\n\x07[FileInfo]\nPIDMRK\n" * 9
    path = tmp_path / f"a.{suffix}"
    path.write_text(text)
    message = refusal(path)
    assert not {"PIDMRK", "Muster", "1951", "'"} & {*message.replace("_", " ").split(), *message}
    assert len(message) < 120


@pytest.mark.parametrize("name", ["a.txt", "a.docx", "a.vmrk", "notes"])
def test_what_is_not_a_recording_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("electrode 1 2 3\n")
    message = refusal(tmp_path / name)
    assert message.startswith("not a recording by its name; expected .ahdr, .bdf, ")
    assert message.endswith(", .vhdr")


@pytest.mark.parametrize("kind", ["AssertionError", "KeyError", "struct.error", "ParsingError", "OSError"])
def test_no_reader_shows_the_class_of_its_error(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise isolated.ReaderError(kind, "", None)

    monkeypatch.setattr(reader, "open_isolated", fail)
    (tmp_path / "a.gdf").write_text("GDF")
    assert refusal(tmp_path / "a.gdf") == (
        "cannot be read as EEG: its content is not of the format of its name; damaged, or renamed: copy or "
        "export it again"
    )


@pytest.mark.parametrize("kind", ["set", "fif"])
def test_a_truncated_file(kind: str, tmp_path: Path) -> None:
    path = write_eeglab(tmp_path) if kind == "set" else write_fif(tmp_path / "a_raw.fif", noise(), FOUR)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "truncated or damaged; copy it again" in refusal(path)


@pytest.mark.parametrize("interval", ["0", "-7812.5", "nan", "Fp1", ""])
def test_a_sampling_interval_that_none_can_have(interval: str, tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    path.write_text(path.read_text().replace(f"Interval={1e6 / RATE}", f"Interval={interval}"))
    message = "its SamplingInterval is not a positive number (of µs); correct the header"
    assert refusal(path) == message


# --- gaps


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


# --- points in time


def test_a_marker_of_a_sample_is_a_point_in_time(tmp_path: Path) -> None:
    markers = [
        f"Comment,Seizure {end},{second * RATE + 1},1,0" for end, second in (("start", 5), ("end", 15))
    ]
    markers.append(f"Comment,Seizure,{17 * RATE + 1},{RATE},0")
    raw = read_recording(write_brainvision(tmp_path, markers))
    assert [value.tolist() for value in find_seizures(raw).spans] == [[5, 17], [10, 1]]


# --- warnings of MNE


def test_a_marker_file_that_is_missing(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, None)
    note = "its marker file is missing, so neither seizures nor joints are known"
    assert read_with_header(path)[1].problems == read_header(path).problems == [note]


def test_signals_of_brainvision_that_are_not_as_long_as_announced(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    samples = noise().shape[1]
    header = path.read_text(encoding="utf-8").replace("[Binary", f"DataPoints={samples}\n\n[Binary")
    path.write_text(header, encoding="utf-8")
    assert read_header(path).notes == ()
    (tmp_path / "a.eeg").write_bytes((tmp_path / "a.eeg").read_bytes()[:-13])
    assert read_header(path).notes == (
        f"holds {samples - 2} of the {samples} samples that its header announces",
        "the 3 bytes after its last sample are ignored",
    )


def test_a_signal_file_that_is_missing(tmp_path: Path) -> None:
    assert "a file that it names is missing" in refusal(write_brainvision(tmp_path, data="old.eeg"))


def test_annotations_outside_the_signal(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), range(SECONDS), "+90\x14Seizure\x14\0")
    assert read_with_header(path)[1].problems == ["annotations outside its signal are cut off"]


def test_an_unknown_warning_is_not_quoted() -> None:
    text = "Muster, Anna is odd"
    assert notes_from([text, text]) == ["MNE warns of it; open it with mne.io.read_raw to see the text"]


# --- names, units and headers


@pytest.mark.parametrize(
    "written",
    [
        *("T3-LER", "T3-CLE", "T3-AA", "T3-AVG", "T3-Ref", "T3:M2", "T3-(M1+M2)/2", "EEG T3-LE", "T3-A1A2"),
        *("T3-((A1+A2)/2)", "T3-A1/A2", "T3-M1M2", "T3-Average", "T3-AvgRef", "EEG T3:REF", "T3-AVR"),
    ],
)
def test_references(written: str) -> None:
    names = [written, written.replace("T3", "Cz")]
    assert electrodes(names) == dict(zip(names, ("T7", "Cz"), strict=True))
    assert "/" not in reference(names).replace("/2", "").replace("A1/A2", "")


def test_contacts_of_grids_are_not_scalp_electrodes(tmp_path: Path) -> None:
    grid = [f"{letter}{i}" for letter in "ABCF" for i in range(1, 9)]
    assert contacts(grid) == {*grid}
    assert contacts(["Fz", *grid]) == {*grid} - {f"F{i}" for i in range(1, 9)}
    caps = [
        name for name in mne.channels.make_standard_montage("colin27_1020").ch_names if name not in "A1A2"
    ]
    assert contacts([*TEN_TWENTY, "A1", "A2", "T1", "T2", *(f"DC{i}" for i in range(1, 17))]) == set()
    assert contacts([*caps, *(f"EMG{i}" for i in range(1, 9))]) == set()
    grid = [f"{letter}{i}" for letter in "AF" for i in range(1, 13)]
    path = write_edf(tmp_path / "a.edf", noise(channels=24), grid)
    assert "24 channel(s), numbered in rows as contacts of grids or depth electrodes" in refusal(path)
    path = write_edf(tmp_path / "b.edf", noise(channels=26), [*grid, "O1", "O2"])
    raw, header = read_with_header(path)
    assert raw.ch_names == ["O1", "O2"]
    assert len(header.problems) == 1


INSIDE = "1 channel(s) named as scalp electrodes are intracranial by their type, so left out"


@pytest.mark.parametrize("kind", ["seeg", "ecog", "dbs"])
def test_channels_that_are_intracranial_by_their_type(kind: str, tmp_path: Path) -> None:
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * noise(), FOUR)
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    raw.set_channel_types({"T7": kind}, verbose="error").save(path, overwrite=True, verbose="error")
    found, header = read_with_header(path)
    assert found.ch_names == ["Fp1", "Cz", "O2"]
    assert header.problems == read_header(path).problems == [INSIDE]
    assert read_header(path).electrodes == ("Fp1", "Cz", "O2")
    raw.set_channel_types(dict.fromkeys(FOUR, kind), verbose="error")
    raw.save(path, overwrite=True, verbose="error")
    assert refusal(path) == (
        "no scalp electrode among its 4 channel(s): 4 are intracranial by their type (ECoG, SEEG or DBS)"
    )


def test_channels_that_are_intracranial_by_the_table_beside_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a_eeg.edf")
    (tmp_path / "a_channels.tsv").write_text("name\ttype\nFp1\tEEG\nT7\tSEEG\nCz\tEEG\n")
    raw, header = read_with_header(path)
    assert raw.ch_names == ["Fp1", "Cz", "O2"]
    assert header.problems == read_header(path).problems == [INSIDE]
    assert header.electrodes == read_header(path).electrodes == ("Fp1", "Cz", "O2")


@pytest.mark.parametrize("factor", [1e6, 1e3, 1e-6])
def test_a_channel_of_another_unit_is_marked_bad(factor: float, tmp_path: Path) -> None:
    volts = 1e-6 * noise()
    volts[2] *= factor
    raw, header = read_with_header(write_fif(tmp_path / "a_raw.fif", volts, FOUR))
    assert raw.info["bads"] == ["Cz"]
    assert header.problems == ["Cz: an amplitude that the unit of the others cannot have, marked bad"]


def test_a_channel_without_a_range_is_marked_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    start = 256 + 5 * (16 + 80 + 8)  # physical minimum and maximum of five signals
    content[start + 8 : start + 16] = content[start + 48 : start + 56] = b"-400    "
    path.write_bytes(content)
    raw, header = read_with_header(path)
    assert raw.info["bads"] == ["T7"]
    assert header.problems == ["T7: no range of amplitude in the header, marked bad"]


def fill_with_nul(content: bytearray) -> None:
    content[:8] = b"0".ljust(8, b"\0")
    for start, stop in ((184, 192), (236, 256), (256, 256 + 5 * 16), (256 + 5 * 96, 256 + 5 * 104)):
        for place in range(start, stop):
            if content[place] == 32 and not content[place : place + 2].strip():
                content[place] = 0


def replace_all(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[256:] = content[256:].replace(old, new.ljust(len(old)))

    return change


def set_clock(text: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[168:184] = b"12.08.09" + text

    return change


@pytest.mark.parametrize(
    "change",
    [
        fill_with_nul,
        replace_all(b"Fp1       ", b"Fp1\0garbag"),
        *(
            replace_all(b"uV      ", unit)
            for unit in (b"UV", b"\xc2\xb5V", b"\xce\xbcV", b"\xb5v", b"\xe6V", b"microV")
        ),
        replace_all(b"uV      ", b"uV\0\0\0\0\0\0"),
        set_clock(b"24.00.00"),
        set_clock(b"10.59.60"),
    ],
)
def test_headers_that_mne_does_not_read_as_meant(change: Callable[[bytearray], None], tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    expected = mne.io.read_raw(path, verbose="error").get_data()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    for preload in (True, False):
        raw = read_recording(path, preload=preload)
        assert raw.ch_names == list(FOUR)
        np.testing.assert_array_equal(raw.get_data(), expected)


@pytest.mark.parametrize(
    ("time", "recorded"),
    [
        (b"24.00.00", datetime(2009, 8, 13)),
        (b"10.59.60", datetime(2009, 8, 12, 11)),
        (b"10:05:06", datetime(2009, 8, 12, 10, 5, 6)),
        (b"25.00.00", None),
    ],
)
def test_start_times(time: bytes, recorded: datetime | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    content[88:168] = b" " * 80
    set_clock(time)(content)
    path.write_bytes(content)
    found = read_edf_header(path)
    assert found.recorded == recorded
    assert len(found.notes) == (time in {b"24.00.00", b"10.59.60"})
    read_recording(path)


@pytest.mark.parametrize(("patient", "sex"), [("DOE M ROE", None), ("7 M X X Age:35", "M"), ("M F", None)])
def test_sex_in_the_free_text_of_a_plain_edf(patient: str, sex: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    content[8:88] = patient.ljust(80).encode()
    content[192:236] = b" " * 44
    path.write_bytes(content)
    assert read_edf_header(path).sex == sex


def test_nothing_but_annotations(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    tail = content[256:]
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    fields, start = b"", 0
    for width in widths:  # only the last of five signals, the annotations
        fields += tail[start + 4 * width : start + 5 * width]
        start += 5 * width
    content[184:192], content[252:256] = b"512     ", b"1   "
    content[236:252] = b"1       0       "
    path.write_bytes(content[:256] + fields + b"+0\x14\x14\0".ljust(200, b"\0"))
    assert refusal(path) == "contains no signal, only annotations; expected EEG"


def test_a_bdf_called_edf(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bdf").rename(tmp_path / "a.edf")
    assert refusal(path) == "a BDF by its content; rename it so"


@pytest.mark.parametrize(
    ("birth", "age"),
    [("", None), ("BirthDate=\n", None), ("BirthDate=01/01/1960\n", 60), ("BirthDate=01/01/60\n", 60)],
)
def test_persyst_without_a_birth_date(
    birth: str, age: float | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_persyst(tmp_path, f"First=Anna\nSex=Female\n{birth}", encoding="latin-1")
    raw, header = read_with_header(path)
    assert (header.sex, header.recorded) == ("F", datetime(2020, 1, 1, 10))
    assert header.age == (age and pytest.approx(age, abs=0.01))
    assert header.problems == []
    np.testing.assert_allclose(raw.get_data() * 1e6, (10 * noise()).astype("<i2") / 10, atol=1e-9)
    assert [(a["onset"], a["description"]) for a in raw.annotations] == [(5, "Müller blinks")]
    assert capfd.readouterr() == ("", "")
    assert "Anna" not in repr(raw.info)


def test_microvolts_of_brainvision_with_a_greek_letter(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    expected = read_recording(path).get_data()
    path.write_text(path.read_text("utf-8").replace("\u00b5V", "\u03bcV"), encoding="utf-8")
    np.testing.assert_allclose(read_recording(path).get_data(), expected, rtol=1e-12)


def test_markers_in_latin_1(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, ["Comment,Mïchel,129,1,0"], codepage="latin-1")
    (annotation,) = read_recording(path).annotations
    assert (annotation["onset"], annotation["description"]) == (1, "Comment/Mïchel")


def test_a_reader_whose_package_is_not_installed() -> None:
    text = "For reading ANT files to work, the module antio is needed, but it could not be imported."
    from eeg.io.reader import _reason

    expected = "needs a package that is not installed: pip install 'hebbian-eeg[formats]'"
    assert _reason(isolated.ReaderError("RuntimeError", text, None), Path("a.cnt")) == expected


def test_impedances_of_ant_within_a_recording_are_joints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANT's amplifier measures them whenever it starts and stops."""
    (tmp_path / "a.cnt").write_bytes(b"RIFF" * 1000)
    raw = mne.io.RawArray(1e-6 * noise(), mne.create_info(list(FOUR), RATE, "eeg"), verbose="error")

    def opened(path: Path) -> tuple[mne.io.BaseRaw, list[str]]:
        return raw.copy(), []

    monkeypatch.setattr("eeg.io.reader.open_isolated", opened)
    raw.set_annotations(mne.Annotations([0, SECONDS - 0.01], 0, "impedance"))
    assert len(read_recording(tmp_path / "a.cnt").annotations) == 2
    raw.set_annotations(mne.Annotations([0, 7, SECONDS - 0.01], 0, "impedance"))
    assert refusal(tmp_path / "a.cnt") == "joined from pieces, such as at 7.0 s; split it there"


def test_damage_among_the_signals_is_one_line(tmp_path: Path) -> None:
    """A buffer of a FIF whose type is another one is read without fault until its samples are."""
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * noise(200), FOUR)
    raw = mne.io.read_raw(path, verbose="error")
    entry = raw._raw_extras[0]["ent"][-1]
    content = bytearray(path.read_bytes())
    content[entry.pos + 4 : entry.pos + 8] = (99).to_bytes(4, "big")
    path.write_bytes(content)
    for open_it in (read_recording, open_recording):
        with pytest.raises(DataError, match=r"a_raw\.fif: .*damaged"):
            open_it(path)
