"""The header of an EDF or BDF file: what a reader of signals passes over, and what must not be read.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from trainers.errors import DataError

_SAMPLE_BYTES = {b"0       ": 2, b"\xffBIOSEMI": 3}  # by what a file begins with
_FIXED = (8, 80, 80, 8, 8, 8, 44, 8, 8, 4)  # version, patient, recording, date, time, bytes, type, ...
_PER_SIGNAL = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # label, transducer, dimension, ..., filter, samples, ...
_LABEL, _DIMENSION, _FILTER, _SAMPLES = 0, 2, 7, 8
_ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
_FIRST_YEAR = 1985  # of the two digits of EDF: 85 is 1985 and 84 is 2084
_DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Signal:
    """One signal of the file: its name, unit and filter as written, and its sampling rate, Hz."""

    label: str
    dimension: str
    prefilter: str
    sfreq: float


@dataclass(frozen=True)
class EdfHeader:
    """What the header says; None where it says nothing that can be understood.

    Neither the patient's name and number nor the technician's are kept.
    """

    continuous: bool
    duration: float  # s
    signals: tuple[Signal, ...]  # without those of annotations
    recorded: datetime | None
    sex: str | None  # "F" or "M"
    age: float | None  # years
    device: str | None


def read_edf_header(path: Path) -> EdfHeader:
    """Read the header.

    Raises
    ------
    DataError
        The file is no EDF or BDF, or holds fewer data records than it announces.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            fixed = _fields(file.read(256), _FIXED, 1)
            sample_bytes = _SAMPLE_BYTES[fixed[0][0]]
            header_bytes, n_records, n_signals = (int(fixed[i][0]) for i in (5, 7, 9))
            seconds = float(fixed[8][0])
            columns = _fields(file.read(256 * n_signals), _PER_SIGNAL, n_signals)
            samples = [int(value) for value in columns[_SAMPLES]]
        except (KeyError, ValueError):
            raise DataError(f"{path}: not an EDF or BDF file (its header is not one)") from None
    found = (size - header_bytes) // max(sum(samples) * sample_bytes, 1)
    if found < n_records:
        raise DataError(f"{path}: truncated, holds {found} of the {n_records} data records that it announces")
    if n_records < 0:  # still being written when it was copied
        n_records = found
    labels, dimensions, filters = (
        [_text(value) for value in columns[column]] for column in (_LABEL, _DIMENSION, _FILTER)
    )
    signals = tuple(
        Signal(label, dimension, prefilter, count / (seconds or 1.0))
        for label, dimension, prefilter, count in zip(labels, dimensions, filters, samples, strict=True)
        if label not in _ANNOTATIONS
    )
    patient, recording = _text(fixed[1][0]), _text(fixed[2][0])
    recorded = _recorded(recording, _text(fixed[3][0]), _text(fixed[4][0]))
    sex, age = _person(patient, recorded)
    return EdfHeader(
        continuous=fixed[6][0][:5] not in {b"EDF+D", b"BDF+D"},
        duration=n_records * seconds,
        signals=signals,
        recorded=recorded,
        sex=sex,
        age=age,
        device=_device(recording),
    )


def _fields(header: bytes, widths: tuple[int, ...], count: int) -> list[list[bytes]]:
    """Cut a header that holds ``count`` values of each width in turn."""
    if len(header) != count * sum(widths):
        raise ValueError("too short")
    columns, start = [], 0
    for width in widths:
        columns.append([header[start + i * width : start + (i + 1) * width] for i in range(count)])
        start += count * width
    return columns


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _recorded(recording: str, day: str, time: str) -> datetime | None:
    """Understand the start; the four digits of EDF+'s ``Startdate`` go before EDF's two."""
    written = recording.split()
    known = _date(written[1]) if written[:1] == ["Startdate"] and len(written) > 1 else None
    try:
        if known is None:
            number, month, year = (int(part) for part in day.split("."))
            known = date(_FIRST_YEAR + (year - _FIRST_YEAR) % 100, month, number)
        hour, minute, second = (int(part) for part in time.split("."))
        return datetime(known.year, known.month, known.day, hour, minute, second)
    except ValueError:
        return None


def _date(text: str) -> date | None:
    """Understand ``02-AUG-1951``."""
    try:
        return datetime.strptime(text, "%d-%b-%Y").date()
    except ValueError:
        return None


def _person(patient: str, recorded: datetime | None) -> tuple[str | None, float | None]:
    """Find sex and age: EDF+ writes ``code F 02-AUG-1951 name``, the Temple corpora add ``Age:35``."""
    words = patient.split()
    sex = next((word for word in words[1:3] if word in {"F", "M"}), None)
    written = re.search(r"\bAge:\s*(\d+)", patient)
    if written:
        return sex, float(written[1])
    born = _date(words[2]) if len(words) > 2 else None
    if born is None or recorded is None or recorded.date() < born:
        return sex, None
    return sex, (recorded.date() - born) / timedelta(days=_DAYS_A_YEAR)


def _device(recording: str) -> str | None:
    """Find the equipment in EDF+'s ``Startdate date number technician equipment``."""
    words = recording.split()
    named = words[:1] == ["Startdate"] and len(words) > 4 and words[4] != "X"
    return words[4] if named else None
