"""The header of an EDF or BDF file: what a reader of signals passes over, and what must not be read.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import mne
import numpy as np

from eeg.io.gaps import GAP
from trainers.errors import DataError

_SAMPLE_BYTES = {b"0       ": 2, b"\xffBIOSEMI": 3}  # by what a file begins with
_FILE = {"version": 8, "patient": 80, "recording": 80, "date": 8, "time": 8, "header": 8, "kind": 44}
_FILE |= {"records": 8, "seconds": 8, "signals": 4}  # widths in bytes
_SIGNAL = {"label": 16, "transducer": 80, "dimension": 8, "least": 8, "most": 8, "lowest": 8, "highest": 8}
_SIGNAL |= {"prefilter": 80, "samples": 8, "reserved": 32}
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
    header_bytes: int
    records: int
    record_bytes: int
    notes: tuple[slice, ...]  # the bytes of a record that hold annotations
    duration: float  # s, without gaps
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
        The file is no EDF or BDF, tells no sampling rate, or holds fewer data records than it announces.
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
            raise DataError(f"{path}: not an EDF or BDF file (its header is not one)") from None
    if not seconds:
        raise DataError(
            f"{path}: its data records last 0 s, so nobody knows its sampling rate; export it anew"
        )
    record_bytes = sum(samples) * sample_bytes
    found = (path.stat().st_size - header_bytes) // max(record_bytes, 1)
    if found < announced:
        raise DataError(f"{path}: truncated, holds {found} of the {announced} data records that it announces")
    records = found if announced < 0 else announced  # -1: copied while it was written
    recorded = _recorded(*(_text(fixed[name]) for name in ("recording", "date", "time")))
    sex, age = _person(_text(fixed["patient"]), recorded)
    return EdfHeader(
        continuous=fixed["kind"][:5] not in {b"EDF+D", b"BDF+D"},
        header_bytes=header_bytes,
        records=records,
        record_bytes=record_bytes,
        notes=_notes(columns, [number * sample_bytes for number in samples]),
        duration=seconds * records,
        signals=_signals(columns, [number / seconds for number in samples]),
        recorded=recorded,
        sex=sex,
        age=age,
        device=_device(_text(fixed["recording"])),
    )


def _fields(header: bytes, widths: dict[str, int], count: int) -> dict[str, list[bytes]]:
    """Cut a header that holds ``count`` values of each width in turn."""
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
    found = map(Signal, labels, dimensions, prefilters, sfreqs)
    return tuple(signal for signal in found if signal.label not in _ANNOTATIONS)


def _notes(columns: dict[str, list[bytes]], widths: list[int]) -> tuple[slice, ...]:
    """Find the bytes of a record that hold annotations, by those that each signal takes."""
    ends = list(accumulate(widths))
    places = (slice(end - width, end) for end, width in zip(ends, widths, strict=True))
    labelled = zip(columns["label"], places, strict=True)
    return tuple(place for label, place in labelled if _text(label) in _ANNOTATIONS)


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
    return sex, years(born, recorded.date())


def years(start: date, end: date) -> float:
    """Return the years between two days."""
    return (end - start).days / _DAYS_A_YEAR


def _device(recording: str) -> str | None:
    """Find the equipment in EDF+'s ``Startdate date number technician equipment``."""
    words = recording.split()
    named = words[:1] == ["Startdate"] and len(words) > 4 and words[4] != "X"
    return words[4] if named else None


# Onset, duration and texts of a time-stamped annotation list; the first in a record tells when that begins.
_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\0]*)\0")
_JITTER = 1  # samples by which a record's time may be rounded
_LONGEST = 7.0  # days: what is longer is a clock that was set, or no one recording

Note = tuple[float, float, str]


def at_own_times(records: mne.io.BaseRaw, path: Path, header: EdfHeader) -> mne.io.BaseRaw:
    """Lay out a discontinuous recording in time.

    Parameters
    ----------
    records
        The recording as MNE reads it, one data record after the other.
    path, header
        Its file and the file's header.

    Returns
    -------
    A recording that is read when it is asked for, with zeros in the gaps, these annotated as `eeg.io.gaps`
    has them, and the file's own annotations.  Time counts from the first record.

    Raises
    ------
    DataError
        A record does not tell its time, records overlap, or they span more than a week.
    """
    onsets, notes = _times(path, header)
    rate, size = records.info["sfreq"], records.n_times // header.records
    places = np.round((onsets - onsets[0]) * rate).astype(int)
    steps = np.diff(places) - size
    first = np.flatnonzero(np.concatenate([[True], steps > _JITTER]))  # records that begin a stretch
    begins, lengths = places[first], size * np.diff([*first, len(onsets)])
    stops = begins + lengths
    if (steps < -_JITTER).any() or (begins[1:] < stops[:-1]).any():
        raise DataError(f"{path}: discontinuous, and its data records overlap in time; export it anew")
    days = (places[-1] + size) / rate / 86400
    if days > _LONGEST:
        raise DataError(
            f"{path}: spans {days:.1f} days with its gaps; expected at most {_LONGEST:g}, split it"
        )
    whole = _Spread(records, begins, lengths)
    said = [(onset - onsets[0], duration, text) for onset, duration, text in notes]
    gaps = zip(stops[:-1] / rate, begins[1:] / rate, strict=True)
    said += [(start, stop - start, GAP) for start, stop in gaps]
    return whole.set_annotations(mne.Annotations(*zip(*said, strict=True)) if said else None, verbose="error")


class _Spread(mne.io.BaseRaw):  # type: ignore[misc]  # MNE has no types
    """Stretches of ``records``, of these ``lengths``, at their ``places`` in time, samples; else zeros."""

    def __init__(self, records: mne.io.BaseRaw, places: np.ndarray, lengths: np.ndarray) -> None:
        super().__init__(
            records.info.copy(),
            last_samps=[int(places[-1] + lengths[-1]) - 1],
            filenames=records.filenames,
            raw_extras=[{"records": records, "places": places, "lengths": lengths}],
            verbose="error",
        )

    def _read_segment_file(
        self, data: np.ndarray, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        """Fill ``data`` with samples ``start`` to ``stop``: what MNE asks of every reader."""
        data[:] = 0
        extras = self._raw_extras[fi]
        records, places, lengths = (extras[name] for name in ("records", "places", "lengths"))
        for place, length, end in zip(places, lengths, np.cumsum(lengths), strict=True):
            low, high = max(start, place), min(stop, place + length)
            if low < high:
                shift = end - length - place  # from time to place in the file
                data[:, low - start : high - start] = records[idx, low + shift : high + shift][0]


def _times(path: Path, header: EdfHeader) -> tuple[np.ndarray, list[Note]]:
    """Read when each record begins, (R,) s, and what is annotated: onset and duration, s, and text."""
    onsets, notes = [], []
    shape = header.records, header.record_bytes
    records = np.memmap(path, np.uint8, "r", header.header_bytes, shape) if all(shape) else np.empty((0, 0))
    for number, record in enumerate(records, start=1):
        tals = [tal for place in header.notes for tal in _TAL.finditer(record[place].tobytes())]
        if not tals:
            raise DataError(
                f"{path}: discontinuous, and its data record {number} does not tell its time; export it anew"
            )
        onsets.append(float(tals[0][1]))
        notes += [note for tal in tals for note in _annotations(tal)]
    if not onsets:
        raise DataError(f"{path}: holds no data record; expected EEG")
    return np.array(onsets), notes


def _annotations(tal: re.Match[bytes]) -> Iterator[Note]:
    for text in tal[3].split(b"\x14"):
        if text:
            yield float(tal[1]), float(tal[2] or 0), _decoded(text)


def _decoded(text: bytes) -> str:
    """Understand UTF-8, as the standard wants it, or the Latin letters that are written instead."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
