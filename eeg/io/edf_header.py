"""The header of an EDF or BDF file: facts and faults that readers of signals do not report.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path

from trainers.errors import DataError

_SAMPLE_BYTES = {b"0       ": 2, b"\xffBIOSEMI": 3}  # by the first bytes of the file
_FILE = {"version": 8, "patient": 80, "recording": 80, "date": 8, "time": 8, "header": 8, "kind": 44}
_FILE |= {"records": 8, "seconds": 8, "signals": 4}  # widths in bytes
_SIGNAL = {"label": 16, "transducer": 80, "dimension": 8, "least": 8, "most": 8, "lowest": 8, "highest": 8}
_SIGNAL |= {"prefilter": 80, "samples": 8, "reserved": 32}
_ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
_FIRST_YEAR = 1985  # of the two digits of EDF: 85 is 1985 and 84 is 2084
_DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Signal:
    """One signal of the file: name, unit and filter as written, and sampling rate, Hz."""

    label: str
    dimension: str
    prefilter: str
    sfreq: float


@dataclass(frozen=True)
class EdfHeader:
    """The facts in a header; None where one is missing or malformed.

    Names and numbers of patients and technicians are not stored.
    """

    continuous: bool
    header_bytes: int
    records: int
    record_bytes: int
    annotations: tuple[slice, ...]  # the bytes of a record that hold annotations
    duration: float  # s, without gaps
    signals: tuple[Signal, ...]  # without annotations
    recorded: datetime | None
    sex: str | None  # "F" or "M"
    age: float | None  # years
    device: str | None


def read_edf_header(path: Path) -> EdfHeader:
    """Read the header.

    Raises
    ------
    DataError
        The file is not an EDF or BDF, has no sampling rate, or holds fewer data records than announced.
    """
    with path.open("rb") as file:
        try:
            fixed = {name: values[0] for name, values in _fields(file.read(256), _FILE, 1).items()}
            sample_bytes = _SAMPLE_BYTES[fixed["version"]]
            header_bytes, announced, count = (int(fixed[name]) for name in ("header", "records", "signals"))
            seconds = float(fixed["seconds"])
            columns = _fields(file.read(256 * count), _SIGNAL, count)
            samples = [int(value) for value in columns["samples"]]
            if header_bytes != 256 * (1 + count) or not 0 <= seconds < math.inf:
                raise ValueError
        except (KeyError, ValueError):
            raise DataError(f"{path}: not an EDF or BDF file (invalid header); export it again") from None
    if not seconds:
        raise DataError(f"{path}: its data records last 0 s, so it has no sampling rate; export it again")
    record_bytes = sum(samples) * sample_bytes
    present = (path.stat().st_size - header_bytes) // max(record_bytes, 1)
    if present < announced:
        raise DataError(
            f"{path}: truncated, holds {present} of the {announced} announced data records; copy it again"
        )
    records = present if announced < 0 else announced  # -1: copied while it was written
    recorded = _recorded(*(_text(fixed[name]) for name in ("recording", "date", "time")))
    sex, age = _person(_text(fixed["patient"]), recorded)
    return EdfHeader(
        continuous=fixed["kind"][:5] not in {b"EDF+D", b"BDF+D"},
        header_bytes=header_bytes,
        records=records,
        record_bytes=record_bytes,
        annotations=_annotation_bytes(columns, [number * sample_bytes for number in samples]),
        duration=seconds * records,
        signals=_signals(columns, [number / seconds for number in samples]),
        recorded=recorded,
        sex=sex,
        age=age,
        device=_device(_text(fixed["recording"])),
    )


def _fields(header: bytes, widths: dict[str, int], count: int) -> dict[str, list[bytes]]:
    """Cut a header with ``count`` values of each width in turn."""
    if len(header) != count * sum(widths.values()):
        raise ValueError
    columns, start = {}, 0
    for name, width in widths.items():
        columns[name] = [header[start + i * width : start + (i + 1) * width] for i in range(count)]
        start += count * width
    return columns


def _signals(columns: dict[str, list[bytes]], sfreqs: list[float]) -> tuple[Signal, ...]:
    labels, dimensions, prefilters = (
        [_text(value) for value in columns[name]] for name in ("label", "dimension", "prefilter")
    )
    signals = map(Signal, labels, dimensions, prefilters, sfreqs)
    return tuple(signal for signal in signals if signal.label not in _ANNOTATIONS)


def _annotation_bytes(columns: dict[str, list[bytes]], widths: list[int]) -> tuple[slice, ...]:
    """Return which bytes of a record hold annotations, given the number of bytes of each signal."""
    ends = list(accumulate(widths))
    places = (slice(end - width, end) for end, width in zip(ends, widths, strict=True))
    labelled = zip(columns["label"], places, strict=True)
    return tuple(place for label, place in labelled if _text(label) in _ANNOTATIONS)


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _recorded(recording: str, day: str, time: str) -> datetime | None:
    """Parse the start; the four-digit year of EDF+'s ``Startdate`` takes precedence over EDF's two digits."""
    words = recording.split()
    start = _date(words[1]) if words[:1] == ["Startdate"] and len(words) > 1 else None
    try:
        if start is None:
            number, month, year = (int(part) for part in day.split("."))
            start = date(_FIRST_YEAR + (year - _FIRST_YEAR) % 100, month, number)
        hour, minute, second = (int(part) for part in time.split("."))
        return datetime(start.year, start.month, start.day, hour, minute, second)
    except ValueError:
        return None


def _date(text: str) -> date | None:
    """Parse ``02-AUG-1951``."""
    try:
        return datetime.strptime(text, "%d-%b-%Y").date()
    except ValueError:
        return None


def _person(patient: str, recorded: datetime | None) -> tuple[str | None, float | None]:
    """Parse sex and age: EDF+ writes ``code F 02-AUG-1951 name``, the Temple corpora add ``Age:35``."""
    words = patient.split()
    sex = next((word for word in words[1:3] if word in {"F", "M"}), None)
    if age := re.search(r"\bAge:\s*(\d+)", patient):
        return sex, float(age[1])
    born = _date(words[2]) if len(words) > 2 else None
    if born is None or recorded is None or recorded.date() < born:
        return sex, None
    return sex, years(born, recorded.date())


def years(start: date, end: date) -> float:
    """Return the years between two days."""
    return (end - start).days / _DAYS_A_YEAR


def _device(recording: str) -> str | None:
    """Parse the equipment in EDF+'s ``Startdate date number technician equipment``."""
    words = recording.split()
    named = words[:1] == ["Startdate"] and len(words) > 4 and words[4] != "X"
    return words[4] if named else None
