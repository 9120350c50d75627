"""Reading EDF and BDF: the scalp electrodes only, also of discontinuous recordings.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mne
import numpy as np

from eeg.io.edf_header import EdfHeader, Signal
from eeg.io.electrodes import ear, electrode, scalp_missing, strip_common_reference
from eeg.io.gaps import GAP
from trainers.errors import DataError

_VOLTS = {"V", "mV", "uV", "\u00b5V", "\u03bcV", "\x83\xcaV"}  # as MNE understands them

# Onset, duration and texts of a time-stamped annotation list; the first one is the onset of its record.
_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\0]*)\0")
_JITTER = 1  # samples by which the time of a record may be rounded
_MAX_DAYS = 7.0  # a longer span is a clock that was set, or several recordings

_Note = tuple[float, float, str]


def is_edf(path: Path) -> bool:
    """Whether the suffix of a file is that of EDF or BDF."""
    return path.suffix.lower() in {".edf", ".bdf"}


def open_edf(path: Path, header: EdfHeader, *, ears: bool = False) -> mne.io.BaseRaw:
    """Open the scalp electrodes of an EDF or BDF, also of a discontinuous one (EDF+D).

    Other channels are excluded because MNE resamples all to the highest rate among them.  With ``ears``,
    electrodes at the ears and mastoids are included.

    Raises
    ------
    DataError
        There is no scalp electrode, its unit is not one of voltage, or the records of a discontinuous file
        have no times, several sampling rates, overlap, or span more than a week.
    """
    names = strip_common_reference([signal.label for signal in header.signals])
    scalp = [signal for signal in header.signals if electrode(names[signal.label])]
    if not scalp:
        raise scalp_missing(path, list(names))
    if ears:
        scalp += [signal for signal in header.signals if ear(names[signal.label])]
    _check_units(scalp, path)
    several = len({signal.sfreq for signal in scalp}) > 1
    if several and not header.continuous:
        raise DataError(
            f"{path}: discontinuous, and its electrodes have several sampling rates; export it again"
        )
    settings = {
        "include": [signal.label for signal in scalp],
        "units": {signal.label: "uV" for signal in scalp if not signal.dimension},  # checked by amplitude
        "preload": several,  # so that each electrode is resampled as a whole
        "verbose": "error",
    }
    try:
        raw = mne.io.read_raw(path, **settings)
    except Exception as error:
        if "encoding" not in str(error):  # MNE has no other sign of annotations not in UTF-8
            raise
        raw = mne.io.read_raw(path, encoding="latin1", **settings)
    return raw if header.continuous else _with_gaps(raw, path, header)


def _check_units(scalp: Sequence[Signal], path: Path) -> None:
    wrong = sorted({signal.dimension for signal in scalp} - _VOLTS - {""})
    if wrong:
        raise DataError(f"{path}: electrodes in the unit {', '.join(wrong)}; expected uV, mV or V")


def _with_gaps(records: mne.io.BaseRaw, path: Path, header: EdfHeader) -> mne.io.BaseRaw:
    """Place the data records of a discontinuous recording, which MNE concatenates, at their times.

    Time counts from the first record.  Gaps are zeros, annotated as in `eeg.io.gaps`.
    """
    onsets, notes = _times(path, header)
    rate, size = records.info["sfreq"], records.n_times // header.records
    places = np.round((onsets - onsets[0]) * rate).astype(int)
    steps = np.diff(places) - size
    first = np.flatnonzero(np.concatenate([[True], steps > _JITTER]))  # records that begin a stretch
    begins, lengths = places[first], size * np.diff([*first, len(onsets)])
    stops = begins + lengths
    if (steps < -_JITTER).any() or (begins[1:] < stops[:-1]).any():
        raise DataError(f"{path}: discontinuous, and its data records overlap in time; export it again")
    days = (places[-1] + size) / rate / 86400
    if days > _MAX_DAYS:
        raise DataError(
            f"{path}: spans {days:.1f} days with its gaps; expected at most {_MAX_DAYS:g}, split it"
        )
    whole = _Spread(records, begins, lengths)
    marks = [(onset - onsets[0], duration, text) for onset, duration, text in notes]
    gaps = zip(stops[:-1] / rate, begins[1:] / rate, strict=True)
    marks += [(start, stop - start, GAP) for start, stop in gaps]
    return whole.set_annotations(
        mne.Annotations(*zip(*marks, strict=True)) if marks else None, verbose="error"
    )


class _Spread(mne.io.BaseRaw):  # type: ignore[misc]  # MNE has no types
    """Stretches of ``records`` at ``places`` in time, of ``lengths`` (samples); zeros elsewhere."""

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
        """Fill ``data`` with samples ``start`` to ``stop``, as MNE requires of readers."""
        data[:] = 0
        extras = self._raw_extras[fi]
        records, places, lengths = (extras[name] for name in ("records", "places", "lengths"))
        for place, length, end in zip(places, lengths, np.cumsum(lengths), strict=True):
            low, high = max(start, place), min(stop, place + length)
            if low < high:
                shift = end - length - place  # from time to position in the file
                data[:, low - start : high - start] = records[idx, low + shift : high + shift][0]


def _times(path: Path, header: EdfHeader) -> tuple[np.ndarray, list[_Note]]:
    """Return the onset of each record, (R,) s, and the annotations: onset and duration, s, and text."""
    onsets, notes = [], []
    shape = header.records, header.record_bytes
    records = np.memmap(path, np.uint8, "r", header.header_bytes, shape) if all(shape) else np.empty((0, 0))
    for number, record in enumerate(records, start=1):
        tals = [tal for place in header.annotations for tal in _TAL.finditer(record[place].tobytes())]
        if not tals:
            raise DataError(
                f"{path}: discontinuous, and its data record {number} has no time; export it again"
            )
        onsets.append(float(tals[0][1]))
        notes += [note for tal in tals for note in _annotations(tal)]
    if not onsets:
        raise DataError(f"{path}: contains no data record; expected EEG")
    return np.array(onsets), notes


def _annotations(tal: re.Match[bytes]) -> Iterator[_Note]:
    for text in tal[3].split(b"\x14"):
        if text:
            yield float(tal[1]), float(tal[2] or 0), _decoded(text)


def _decoded(text: bytes) -> str:
    """Decode UTF-8, as the standard requires, or else Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
