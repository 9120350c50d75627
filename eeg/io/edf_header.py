"""The header of an EDF or BDF file: facts and faults that readers of signals do not report.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from trainers.errors import DataError

_SAMPLE_BYTES = {"0": 2, "\xffBIOSEMI": 3}  # by the first bytes of the file
_FILE = {"version": 8, "patient": 80, "recording": 80, "date": 8, "time": 8, "header": 8, "kind": 44}
_FILE |= {"records": 8, "seconds": 8, "signals": 4}  # widths in bytes
_SIGNAL = {"label": 16, "transducer": 80, "dimension": 8, "least": 8, "most": 8, "lowest": 8, "highest": 8}
_SIGNAL |= {"prefilter": 80, "samples": 8, "reserved": 32}
_ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
_STATUS = "Status"  # of BioSemi's amplifiers
_FIRST_YEAR = 1985  # of the two digits of EDF: 85 is 1985 and 84 is 2084
_DAYS_A_YEAR = 365.25

# Units of voltage by their spelling in lower case.  The micro sign is that of Latin-1, UTF-8 (also as a Greek
# letter, also in lower case), Shift JIS or code page 437, read as Latin-1.
_MICRO = (
    "u",
    "\xb5",
    "\xc2\xb5",
    "\xe2\xb5",
    "\xce\xbc",
    "\xee\xbc",
    "\x83\xca",
    "\x83\xea",
    "\xe6",
    "micro",
)
_VOLTS = {f"{sign}{volt}": "uV" for sign in _MICRO for volt in ("v", "volt", "volts")}
_VOLTS |= {f"{sign}{volt}": "mV" for sign in ("m", "milli") for volt in ("v", "volt", "volts")}
_VOLTS |= dict.fromkeys(("v", "volt", "volts"), "V")
_READ_BY_MNE = {"uV": ("uV", "\xb5V", "\x83\xcaV")}  # any other that it does not know is V to it


@dataclass(frozen=True)
class Signal:
    """One signal of the file."""

    label: str
    dimension: str  # uV, mV or V; another unit as written, "" for none
    prefilter: str  # as written
    sfreq: float  # Hz
    scaled: bool  # whether its physical and digital ranges give it an amplitude
    scale: tuple[float, float, float]  # factor and constant from a sample to a unit, and this in V
    place: slice  # its bytes in a record


@dataclass(frozen=True)
class EdfHeader:
    """The facts in a header; None where one is missing or malformed.

    Names and numbers of patients and technicians are not stored.
    """

    continuous: bool  # as it says; its annotations may give times that differ
    header_bytes: int
    records: int  # that the file holds
    record_bytes: int
    record_seconds: float
    annotations: tuple[slice, ...]  # the bytes of a record that hold annotations
    status: slice | None  # those that hold the status of a BioSemi amplifier
    duration: float  # s, without gaps
    signals: tuple[Signal, ...]  # without annotations
    recorded: datetime | None
    sex: str | None  # "F" or "M"
    age: float | None  # years
    device: str | None
    notes: tuple[str, ...]  # how it differs from the standard
    corrected: bytes | None  # the header with what MNE would misread corrected, None if that is nothing


def read_edf_header(path: Path) -> EdfHeader:
    """Read the header.

    Raises
    ------
    DataError
        The file is not an EDF or BDF as its name ends, has no signal or no sampling rate, or holds fewer
        data records than announced.
    """
    with path.open("rb") as file:
        try:
            fixed = _fields(file.read(256), _FILE, 1)
            text = {name: _text(value) for name, (value,) in fixed.items()}
            sample_bytes = _SAMPLE_BYTES[text["version"]]
            header_bytes, announced, count = (int(text[name]) for name in ("header", "records", "signals"))
            seconds = float(text["seconds"].replace(",", "."))
            columns = _fields(file.read(256 * count), _SIGNAL, count)
            samples = [int(_text(value)) for value in columns["samples"]]
            if header_bytes != 256 * (1 + count) or not 0 <= seconds < math.inf or min(samples) < 0:
                raise ValueError
        except (KeyError, ValueError):
            raise DataError(f"{path}: not an EDF or BDF file (invalid header); export it again") from None
    if (sample_bytes == 3) != (path.suffix.lower() == ".bdf"):
        raise DataError(f"{path}: a {'BDF' if sample_bytes == 3 else 'EDF'} by its content; rename it so")
    labels = [signal_label(value) for value in columns["label"]]
    if not sum(number for label, number in zip(labels, samples, strict=True) if label not in _ANNOTATIONS):
        raise DataError(f"{path}: contains no signal, only annotations; expected EEG")
    if not seconds:
        raise DataError(f"{path}: its data records last 0 s, so it has no sampling rate; export it again")
    record_bytes = sum(samples) * sample_bytes
    records, rest = divmod(path.stat().st_size - header_bytes, record_bytes)
    if records < announced:
        raise DataError(
            f"{path}: truncated, holds {records} of the {announced} announced data records; copy it again"
        )
    if records < 1:
        raise DataError(f"{path}: contains no data record; expected EEG")
    recorded = _recorded(text["recording"], text["date"], text["time"])
    sex, age = _person(text["patient"], recorded, is_plus=text["kind"][:4] in {"EDF+", "BDF+"})
    places = _places([number * sample_bytes for number in samples])
    return EdfHeader(
        continuous=text["kind"][:5] not in {"EDF+D", "BDF+D"},
        header_bytes=header_bytes,
        records=records,
        record_bytes=record_bytes,
        record_seconds=seconds,
        annotations=tuple(
            place for label, place in zip(labels, places, strict=True) if label in _ANNOTATIONS
        ),
        status=dict(zip(labels, places, strict=True)).get(_STATUS) if sample_bytes == 3 else None,
        duration=seconds * records,
        signals=_signals(columns, [number / seconds for number in samples], places),
        recorded=recorded,
        sex=sex,
        age=age,
        device=_device(text["recording"]),
        notes=tuple(_notes(text["time"], records - announced if announced >= 0 else 0, rest)),
        corrected=_corrected(fixed, columns),
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


def _signals(columns: dict[str, list[bytes]], sfreqs: list[float], places: list[slice]) -> tuple[Signal, ...]:
    labels = [signal_label(value) for value in columns["label"]]
    prefilters = [_text(value) for value in columns["prefilter"]]
    dimensions = [_unit(_text(value)) for value in columns["dimension"]]
    ranges = ("least", "most"), ("lowest", "highest")
    scaled = [
        all(_is_range(columns[low][i], columns[high][i]) for low, high in ranges) for i in range(len(labels))
    ]
    edges = zip(*(columns[name] for low, high in ranges for name in (low, high)), strict=True)
    scales = [
        _scale(unit, [_number(value) or 0.0 for value in values]) if fine else (1.0, 0.0, 1.0)
        for values, unit, fine in zip(edges, dimensions, scaled, strict=True)
    ]
    signals = map(Signal, labels, dimensions, prefilters, sfreqs, scaled, scales, places)
    return tuple(signal for signal in signals if signal.label not in _ANNOTATIONS)


def _is_range(low: bytes, high: bytes) -> bool:
    """Return whether two fields are different finite numbers."""
    ends = [_number(low), _number(high)]
    return ends[0] != ends[1] and all(end is not None and math.isfinite(end) for end in ends)


def _scale(unit: str, edges: Sequence[float]) -> tuple[float, float, float]:
    """Return factor and constant from a sample to a unit, and the unit in V; without a unit it is µV."""
    least, most, lowest, highest = edges
    gain = (most - least) / (highest - lowest)
    return gain, least - lowest * gain, {"V": 1.0, "mV": 1e-3}.get(unit, 1e-6)


def _places(widths: Sequence[int]) -> list[slice]:
    """Return the bytes of each signal in a record, given their number."""
    return [slice(end - width, end) for end, width in zip(accumulate(widths), widths, strict=True)]


def _text(value: bytes) -> str:
    """Decode a field, which ends at the first NUL."""
    return value.decode("latin-1").partition("\0")[0].strip()


def signal_label(value: bytes) -> str:
    """Decode the label of a signal; that of annotations is known in any case."""
    label = _text(value)
    return next((name for name in _ANNOTATIONS if name.casefold() == label.casefold()), label)


def _number(value: bytes) -> float | None:
    try:
        return float(_text(value).replace(",", "."))
    except ValueError:
        return None


def _unit(dimension: str) -> str:
    """Return the common spelling of a unit of voltage; another unit as it is."""
    return _VOLTS.get(dimension.lower().replace(" ", ""), dimension)


def _notes(time: str, more: int, rest: int) -> list[str]:
    """Describe a start of 24 hours or 60 seconds, more records than announced, and bytes that are none."""
    notes = []
    if _clock(time) is not None and not _is_valid(time):
        notes.append(
            "its start time has 24 hours, 60 minutes or 60 seconds, taken as the next day, hour or minute"
        )
    if more:
        notes.append(f"holds {more} data record(s) more than its header announces, which are read")
    return notes + ([f"the {rest} bytes after its last data record are ignored"] if rest else [])


def _corrected(fixed: Mapping[str, list[bytes]], columns: Mapping[str, list[bytes]]) -> bytes | None:
    """Return the header with corrections where MNE fails or reads otherwise than here; None if nowhere."""
    (patient,), (time,), (seconds,) = (fixed[name] for name in ("patient", "time", "seconds"))
    units = [_unit(_text(value)) for value in columns["dimension"]]
    changed = {
        **fixed,
        **columns,
        "patient": [b"X X X X" if b"=" in patient else patient],
        "time": [b"00.00.00" if _numbers(_text(time)) and not _is_valid(_text(time)) else time],
        "seconds": [seconds.replace(b",", b".")],
        "label": [_as_read(value, [signal_label(value)]) for value in columns["label"]],
        "dimension": [
            _as_read(value, _READ_BY_MNE.get(unit, [unit]))
            for value, unit in zip(columns["dimension"], units, strict=True)
        ],
        "reserved": [value if value.isascii() else b"" for value in columns["reserved"]],
    }
    if changed == {**fixed, **columns}:
        return None
    return b"".join(
        value.ljust(width) for name, width in (_FILE | _SIGNAL).items() for value in changed[name]
    )


def _as_read(value: bytes, spellings: Sequence[str]) -> bytes:
    """Return a field as it is if MNE reads one of the spellings, else the first of them."""
    return value if value.strip().decode("latin-1") in spellings else spellings[0].encode("latin-1")


def _recorded(recording: str, day: str, time: str) -> datetime | None:
    """Parse the start; the four-digit year of EDF+'s ``Startdate`` takes precedence over EDF's two digits."""
    words = recording.split()
    start = _date(words[1]) if words[:1] == ["Startdate"] and len(words) > 1 else None
    clock = _clock(time)
    try:
        if start is None:
            number, month, year = (int(part) for part in day.split("."))
            start = date(_FIRST_YEAR + (year - _FIRST_YEAR) % 100, month, number)
    except ValueError:
        return None
    return None if clock is None else datetime(start.year, start.month, start.day) + clock


def _numbers(time: str) -> list[int] | None:
    """Parse ``23.59.59``."""
    try:
        numbers = [int(part) for part in re.split("[.:]", time)]
    except ValueError:
        return None
    return numbers if len(numbers) == 3 else None


def _clock(time: str) -> timedelta | None:
    """Return the time since midnight; 24 hours, 60 minutes and 60 seconds count as such."""
    hours, minutes, seconds = _numbers(time) or (-1, 0, 0)
    if not (0 <= hours <= 24 and 0 <= minutes <= 60 and 0 <= seconds <= 60):
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _is_valid(time: str) -> bool:
    hours, minutes, seconds = _numbers(time) or (-1, 0, 0)
    return 0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60


def _date(text: str) -> date | None:
    """Parse ``02-AUG-1951``."""
    try:
        return datetime.strptime(text, "%d-%b-%Y").date()
    except ValueError:
        return None


def _person(patient: str, recorded: datetime | None, *, is_plus: bool) -> tuple[str | None, float | None]:
    """Parse sex and age: EDF+ writes ``code F 02-AUG-1951 name``, the Temple corpora add ``Age:35``.

    A plain EDF may have any text there, so what follows the sex must be a date, or an age.
    """
    words = patient.split()
    born = _date(words[2]) if len(words) > 2 else None
    age = re.search(r"\bAge:\s*(\d+)", patient)
    sex = next((word for word in words[1:3] if word in {"F", "M"}), None)
    if not (is_plus or born or age):
        sex = None
    if age:
        return sex, float(age[1])
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
