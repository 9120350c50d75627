"""Files that are no recording, are damaged or declare more than they hold harm nothing."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import mne
import pytest

from eeg.io import isolated, reader
from eeg.io.gaps import stretches
from eeg.io.reader import read_header, read_recording
from eeg.preprocessing.recording import open_recording
from tests.test_eeg.recordings import write_edf, write_fif
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
)
from trainers.errors import DataError


@pytest.mark.parametrize("data", ["/etc/passwd", "../a.eeg", "C:\\eeg\\a.eeg"])
def test_brainvision_names_no_file_elsewhere(data: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names a file in another folder"):
        read_recording(write_brainvision(tmp_path, data=data))


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
