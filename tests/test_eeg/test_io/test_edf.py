"""EDF headers, and faults of EDF files."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eeg.datasets import Entry
from eeg.evaluation.recording_metadata import entry_header
from eeg.io.edf import open_edf
from eeg.io.edf_header import read_edf_header
from eeg.io.edf_samples import EdfRaw
from eeg.io.reader import read_header, read_recording, read_with_header
from eeg.reporting.export.anonymous import write_anonymous
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

RATE = 128
FOUR = ("Fp1", "T7", "Cz", "O2")
PATIENT, RECORDING, START = slice(8, 88), slice(88, 168), slice(168, 184)


def write(
    path: Path,
    rates: Sequence[int] = (RATE,) * 4,
    unit: str = "uV",
    scale: float = 30.0,
    **fields: object,
) -> Path:
    """Write ten seconds of a sine of 7 Hz, its phase another in every channel."""
    data = [
        scale * np.sin(2 * np.pi * 7 * np.arange(10 * rate) / rate + phase)
        for phase, rate in enumerate(rates)
    ]
    return write_edf(path, data, FOUR, rates, unit=unit, filters="HP:0.1Hz", **fields)


def patch(path: Path, where: slice, text: str) -> Path:
    content = bytearray(path.read_bytes())
    content[where] = text.ljust(where.stop - where.start).encode("latin-1")
    path.write_bytes(content)
    return path


# --- facts, against edfio's own reader


def test_facts_against_edfio(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.edf",
        rates=(RATE, 64, RATE, RATE),
        patient=edfio.Patient(code="7", sex="M", birthdate=date(1980, 3, 1), name="Mueller"),
        recording=edfio.Recording(
            startdate=date(2011, 3, 1), hospital_administration_code="8", equipment_code="Nihon"
        ),
        annotations=[edfio.EdfAnnotation(1, None, "spike")],
    )
    found, peer = read_edf_header(path), edfio.read_edf(path)
    assert found.continuous
    assert found.duration == peer.duration
    assert [s.label for s in found.signals] == [s.label for s in peer.signals]
    assert [s.sfreq for s in found.signals] == [s.sampling_frequency for s in peer.signals]
    assert [s.dimension for s in found.signals] == [s.physical_dimension for s in peer.signals]
    assert [s.prefilter for s in found.signals] == [s.prefiltering for s in peer.signals]
    assert (found.sex, found.device) == (peer.patient.sex, peer.recording.equipment_code)
    assert found.recorded == datetime(2011, 3, 1)
    assert found.age == pytest.approx(31, abs=0.01)
    assert "Mueller" not in repr(found)


@given(day=st.dates(date(1985, 1, 1), date(2084, 12, 31)), time=st.times())
@settings(max_examples=50)
def test_two_digits_of_a_year_span_a_century(
    day: date, time: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "century.edf"
    if not path.exists():
        write(path)
    moment = datetime.combine(day, time).replace(microsecond=0)  # type: ignore[arg-type]
    patch(patch(path, RECORDING, ""), START, f"{moment:%d.%m.%y%H.%M.%S}")
    assert read_edf_header(path).recorded == moment


@pytest.mark.parametrize(
    ("recording", "start", "recorded"),
    [
        ("Startdate 02-MAR-2091 X X X", "02.03.yy10.00.00", datetime(2091, 3, 2, 10)),
        ("Startdate X X X X", "02.03.0910.00.00", datetime(2009, 3, 2, 10)),
        ("", "00.00.0000.00.00", None),
        ("", "31.02.0900.00.00", None),
        ("Startdate", "today  at noon  ", None),
    ],
)
def test_start(recording: str, start: str, recorded: datetime | None, tmp_path: Path) -> None:
    path = patch(patch(write(tmp_path / "a.edf"), RECORDING, recording), START, start)
    assert read_edf_header(path).recorded == recorded
    assert read_recording(path).n_times == 10 * RATE  # readable all the same


@pytest.mark.parametrize(
    ("recording", "device"),
    [
        ("Startdate 02-MAR-2009 8 DrMueller Nihon", "Nihon"),
        ("Startdate 02-MAR-2009 8 DrMueller X", None),
        ("Startdate 02-MAR-2009 8 DrMueller", None),
        ("Dr Mueller recorded this with care", None),  # free text may name people
    ],
)
def test_device(recording: str, device: str | None, tmp_path: Path) -> None:
    assert read_edf_header(patch(write(tmp_path / "a.edf"), RECORDING, recording)).device == device


@pytest.mark.parametrize(
    ("patient", "sex", "age"),
    [
        ("7 F 02-MAR-1980 X", "F", 29.0),
        ("7 M X X Age:35", "M", 35.0),
        ("7 M 02-MAR-1980 X Age: 3", "M", 3.0),
        ("7 X X Mueller", None, None),
        ("7 F 02-MAR-2010 X", "F", None),  # born after the recording
        ("Mueller, Anna", None, None),
    ],
)
def test_sex_and_age(patient: str, sex: str | None, age: float | None, tmp_path: Path) -> None:
    path = patch(patch(write(tmp_path / "a.edf"), PATIENT, patient), RECORDING, "")
    found = read_edf_header(patch(path, START, "02.03.0910.00.00"))
    assert found.sex == sex
    assert found.age == (age if age is None else pytest.approx(age, abs=0.01))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, 0 bytes"),
        *(
            (text, "not an EDF or BDF file")
            for text in (b"0       " + b" " * 248, b"0       " * 40, b"0" * 600)
        ),
    ],
)
def test_no_header(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.edf").write_bytes(content)
    with pytest.raises(DataError, match=message):
        entry_header(Entry(tmp_path / "a.edf", "a", None))


@given(place=st.integers(0, 256 * 6 - 1), junk=st.binary(min_size=1, max_size=12))
def test_a_corrupt_header_is_read_or_refused_in_one_line(
    place: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not one byte of the header, of the file or of any signal, brings a traceback of a library."""
    whole, path = (tmp_path_factory.getbasetemp() / name for name in ("whole.edf", "spoilt.edf"))
    if not whole.exists():
        write(whole)
    content = bytearray(whole.read_bytes())
    content[place : place + len(junk)] = junk
    path.write_bytes(content)
    for look in (entry_header, lambda entry: read_recording(entry.path)):
        message = complaint(look, path)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message


def complaint(look: Callable[[Entry], object], path: Path) -> str:
    try:
        look(Entry(path, "a", None))
    except DataError as error:
        return str(error)
    return f"{path}: read"


def test_a_header_size_that_does_not_match(tmp_path: Path) -> None:
    path = patch(write(tmp_path / "a.edf"), slice(184, 192), "1024")
    with pytest.raises(DataError, match="not an EDF"):
        read_recording(path)


def test_records_of_zero_duration(tmp_path: Path) -> None:
    """Other readers assume one second, and derive every frequency from it."""
    path = patch(write(tmp_path / "a.edf"), slice(244, 252), "0")
    for look in (read_recording, read_edf_header):
        with pytest.raises(DataError, match="data records last 0 s, so it has no sampling rate"):
            look(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        entry_header(Entry(tmp_path / "a.edf", "a", None))


# --- units


@pytest.mark.parametrize(
    ("unit", "volts"), [("uV", 1e-6), ("mV", 1e-3), ("V", 1.0), ("\u00b5V", 1e-6), ("", 1e-6)]
)
def test_every_unit_becomes_volts(unit: str, volts: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf", unit=unit if unit.isascii() else "uV", scale=30e-6 / volts)
    if not unit.isascii():
        path.write_bytes(path.read_bytes().replace(b"uV      ", unit.encode("latin-1") + b"      "))
    assert np.abs(read_recording(path).get_data()).max() == pytest.approx(30e-6, rel=1e-3)


@pytest.mark.parametrize("unit", ["nV", "mmHg", "%"])
def test_a_unit_that_eeg_cannot_have(unit: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"4 electrode\(s\) in a unit other than of voltage; expected uV, mV or V"
    ):
        read_recording(write(tmp_path / "a.edf", unit=unit))


@pytest.mark.parametrize(
    ("unit", "scale"), [("mV", 30.0), ("V", 30.0), ("uV", 30e-6), ("uV", 30e-3), ("", 30e3)]
)
@pytest.mark.parametrize("preload", [True, False])
def test_an_amplitude_that_eeg_cannot_have(unit: str, scale: float, preload: bool, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"varies by .* within a second; expected 0\.5 to 500 µV"):
        read_recording(write(tmp_path / "a.edf", unit=unit, scale=scale), preload=preload)


# --- several sampling rates


@pytest.mark.parametrize("preload", [True, False])
def test_electrodes_of_several_rates_are_resampled_to_the_highest(preload: bool, tmp_path: Path) -> None:
    """A sine of whole periods is brought to another rate exactly, but for the 16 bits of the file."""
    raw = read_recording(write(tmp_path / "a.edf", rates=(RATE, 64, 256, RATE)), preload=preload)
    assert raw.info["sfreq"] == 256
    time = np.arange(10 * 256) / 256
    for phase, row in enumerate(raw.get_data()):
        np.testing.assert_allclose(row * 1e6, 30 * np.sin(2 * np.pi * 7 * time + phase), atol=2e-3)


def test_a_decimal_comma_in_the_duration_of_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    expected = read_recording(path).get_data()
    np.testing.assert_array_equal(read_recording(patch(path, slice(244, 252), "1,0")).get_data(), expected)


# --- annotations and gaps


def test_annotations_under_a_label_in_capitals(tmp_path: Path) -> None:
    """MNE takes them for a signal, as a copy without identities once did."""
    path = write(tmp_path / "a.edf", annotations=[edfio.EdfAnnotation(1, 2, "Zebulon: seizure")])
    path.write_bytes(path.read_bytes().replace(b"EDF Annotations", b"EDF ANNOTATIONS"))
    raw = read_recording(path)
    assert list(raw.annotations.description) == ["Zebulon: seizure"]
    assert raw.ch_names == list(FOUR)
    write_anonymous(path, tmp_path / "b.edf")
    assert b"Zebulon" not in (tmp_path / "b.edf").read_bytes()
    assert list(read_recording(tmp_path / "b.edf").annotations.description) == ["seizure"]


def test_annotations_in_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf", annotations=[edfio.EdfAnnotation(1, 2, "Muskelzucken")])
    path.write_bytes(path.read_bytes().replace(b"Muskelzucken", b"Muskelkr\xe4mpf"))
    (annotation,) = read_recording(path).annotations
    assert annotation["description"] == "Muskelkr\u00e4mpf"


@pytest.mark.parametrize("suffix", ["edf", "bdf"])
@pytest.mark.parametrize(
    ("written", "onset", "duration"),
    [
        (b"+1\x15\x14Seizure", 1.0, 0.0),
        (b"+1,5\x152\x14Seizure", 1.5, 2.0),
        (b" 1\x152\x14Seizure", 1.0, 2.0),
        (b"+ 1.5\x152,5\x14Seizure", 1.5, 2.5),
        (b"+1\x15-2\x14Seizure", 1.0, 0.0),
    ],
)
def test_annotations_not_as_required_are_read_with_a_note(
    written: bytes, onset: float, duration: float, suffix: str, tmp_path: Path
) -> None:
    path = write(tmp_path / f"a.{suffix}", annotations=[edfio.EdfAnnotation(1, 2, "A text of some length")])
    whole = b"+1\x152\x14A text of some length\x14"
    content = path.read_bytes()
    assert content.count(whole) == 1
    path.write_bytes(content.replace(whole, (written + b"\x14").ljust(len(whole), b"\0")))
    raw, header = read_with_header(path)
    found = [mark for mark in raw.annotations if mark["description"] == "Seizure" and mark["onset"] >= 0]
    assert [(mark["onset"], mark["duration"]) for mark in found] == [(onset, duration)]
    assert "1 annotation(s) are not written as EDF+ requires, and read all the same" in header.problems


def test_annotations_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf", annotations=[edfio.EdfAnnotation(1, 2, "A text")])
    path.write_bytes(path.read_bytes().replace(b"+1\x152\x14A text", b"soon\x14A text"))
    assert read_header(path).problems == []  # of the header alone
    problems = read_with_header(path)[1].problems
    assert problems == ["1 list(s) of annotations cannot be read: not written as EDF+ requires"]


@pytest.mark.parametrize("kind", ["EDF+D", "BDF+D"])
def test_discontinuous_records_without_times(kind: str, tmp_path: Path) -> None:
    path = patch(write(tmp_path / "a.edf"), slice(192, 197), kind)
    with pytest.raises(DataError, match="has gaps, and its data record 1 has no time"):
        read_recording(path)


# --- samples


@given(
    physical=st.lists(st.integers(-300, 300), min_size=2, max_size=2, unique=True),
    digital=st.tuples(st.integers(-2048, 0), st.integers(1, 2047)),
    span=st.lists(st.integers(0, 1279), min_size=2, max_size=2, unique=True),
)
@settings(max_examples=25)
def test_samples_are_those_of_mne_bit_for_bit(
    physical: list[int],
    digital: tuple[int, int],
    span: list[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Beside channels of another rate, of any range, also upside down, and from any sample to any other."""
    path, rng = tmp_path_factory.mktemp("samples") / "a.edf", np.random.default_rng(0)
    rates = (64, RATE, 256, RATE, RATE)
    data = [20 * rng.standard_normal(10 * rate) for rate in rates]
    write_edf(path, data, ("Resp", "Fp1", "EMG", "Cz", "O2"), rates, limits=(-300, 300))
    content = bytearray(path.read_bytes())
    for i in (1, 3):
        for field, value in zip((104, 112, 120, 128), (*physical, *digital), strict=True):
            start = 256 + 6 * field + 8 * i  # of six signals, the last of which are annotations
            content[start : start + 8] = str(value).ljust(8).encode()
    path.write_bytes(content)
    peer = mne.io.read_raw_edf(path, include=["Fp1", "Cz", "O2"], verbose="error")
    raw, _ = open_edf(path, read_edf_header(path))
    assert isinstance(raw, EdfRaw)
    start, stop = sorted(span)
    expected = peer.get_data(start=start, stop=stop)
    np.testing.assert_array_equal(raw.get_data(start=start, stop=stop), expected)
    largest = 1e-6 * max(map(abs, physical))
    single = raw.read_single([2, 0], start, stop)
    np.testing.assert_allclose(single, expected[[2, 0]], atol=1e-6 * max(largest, 3e-4))
    part = raw.copy().crop(start / RATE, (stop - 1) / RATE).pick(["O2", "Fp1"])
    np.testing.assert_array_equal(part.get_data(), expected[[2, 0]])
    np.testing.assert_array_equal(part.read_single([1], 0, stop - start), raw.read_single([0], start, stop))
    joined = mne.concatenate_raws([raw.copy(), raw.copy()], verbose="error")
    np.testing.assert_array_equal(joined.read_single([0], 1280, 2560), raw.read_single([0], 0, 1280))


def test_a_projection_applies_to_samples_that_are_read(tmp_path: Path) -> None:
    raw, _ = open_edf(write(tmp_path / "a.edf"), read_edf_header(tmp_path / "a.edf"))
    volts = raw.get_data()
    raw.set_eeg_reference(projection=True, verbose="error").apply_proj(verbose="error")
    np.testing.assert_allclose(raw.get_data(), volts - volts.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(raw.read_single([1], 0, 1280), raw.get_data([1]), atol=1e-10)
