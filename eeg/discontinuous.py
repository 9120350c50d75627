"""EDF+D and BDF+D: the data records at the times that they tell, with silence between them.

MNE reads the records as if each followed the one before.  Source: Kemp and Olivan 2003 (EDF+).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mne
import numpy as np

from eeg.edf import EdfHeader
from eeg.gaps import GAP
from trainers.errors import DataError

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
    A recording that is read when it is asked for, with zeros in the gaps, these annotated as `eeg.gaps` has
    them, and the file's own annotations.  Time counts from the first record.

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
        notes += [note for tal in tals for note in _notes(tal)]
    if not onsets:
        raise DataError(f"{path}: holds no data record; expected EEG")
    return np.array(onsets), notes


def _notes(tal: re.Match[bytes]) -> Iterator[Note]:
    for text in tal[3].split(b"\x14"):
        if text:
            yield float(tal[1]), float(tal[2] or 0), _decoded(text)


def _decoded(text: bytes) -> str:
    """Understand UTF-8, as the standard wants it, or the Latin letters that are written instead."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
