"""Signals published as text: the CSV of an Emotiv EPOC, and the segments of the Bonn set."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from trainers.errors import DataError

if TYPE_CHECKING:
    import mne

_BONN_SEGMENT = re.compile(r"(?P<set>[ZONFS])\d{3}\.txt", re.IGNORECASE)


# The Emotiv EPOC as exported for van Hees et al. 2018; the file itself has neither rate nor unit.
EMOTIV_CHANNELS = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
_COUNTER = "COUNTER"
_EMOTIV_RATE = 128.0  # Hz

# Andrzejak et al. 2001: one channel of an unknown electrode.
_BONN_RATE = 173.61  # Hz
_BONN_SAMPLES = 4097

_MICROVOLT = 1e-6  # V, the unit of both


def is_emotiv(path: Path) -> bool:
    """Whether the suffix of a file is that of the CSV of an Emotiv EPOC."""
    return path.name.lower().endswith((".csv", ".csv.gz"))


def is_bonn_segment(path: Path) -> bool:
    """Whether a file is named as the segments of the Bonn set: ``Z001.txt``."""
    return _BONN_SEGMENT.fullmatch(path.name) is not None


def read_emotiv(path: Path) -> tuple[mne.io.RawArray, list[str]]:
    """Read the CSV of an Emotiv EPOC; the amplifier's offset of about 4200 µV is removed.

    Also returns a note if its counter shows that samples are lost.

    Raises
    ------
    DataError
        A column is missing, there is no sample, or a cell is not a number.
    """
    with _open_text(path) as file:
        columns = next(csv.reader(file), [])
        missing = {*EMOTIV_CHANNELS, _COUNTER}.difference(columns)
        if missing:
            names = ", ".join(sorted(missing))
            raise DataError(f"{path}: not the CSV of an Emotiv EPOC (no column {names})")
        rows = file.readlines()
    if not rows:
        raise DataError(f"{path}: contains no sample; expected EEG")
    wanted = [columns.index(name) for name in (_COUNTER, *EMOTIV_CHANNELS)]
    try:
        counter, *microvolts = np.loadtxt(rows, delimiter=",", quotechar='"', usecols=wanted, ndmin=2).T
    except ValueError as error:
        raise DataError(f"{path}: a cell is not a number{_place(error, header=1)}; expected EEG") from None
    centred = microvolts - np.median(microvolts, axis=1, keepdims=True)
    return _raw(path, centred, list(EMOTIV_CHANNELS), _EMOTIV_RATE), _losses(counter)


def _losses(counter: np.ndarray) -> list[str]:
    """Return a note on where samples are lost: the counter does not go up by one, nor back to 0."""
    steps = np.diff(counter)
    wraps = (counter[:-1] == counter.max()) & (counter[1:] == 0)
    places = np.flatnonzero((steps != 1) & ~wraps & np.isfinite(steps))
    if not steps.any() or not places.size:  # a constant is not a counter
        return []
    first = (places[0] + 1) / _EMOTIV_RATE
    return [f"samples are lost at {places.size} place(s) by its counter, such as at {first:.1f} s"]


def read_bonn(path: Path) -> mne.io.RawArray:
    """Read a segment of the Bonn set: one channel, named ``EEG`` because its electrode is unknown.

    Raises
    ------
    DataError
        The file does not hold 4097 numbers, one per line.
    """
    try:
        microvolts = np.loadtxt(path, ndmin=2).T
    except ValueError as error:
        place = _place(error, header=0)
        raise DataError(f"{path}: not a segment of the Bonn set (not one number per line{place})") from None
    if microvolts.shape != (1, _BONN_SAMPLES):
        raise DataError(f"{path}: contains {microvolts.size} numbers; expected {_BONN_SAMPLES}, one per line")
    return _raw(path, microvolts, ["EEG"], _BONN_RATE)


def _raw(path: Path, microvolts: np.ndarray, names: list[str], rate: float) -> mne.io.RawArray:
    import mne

    info = mne.create_info(names, rate, "eeg")
    raw = mne.io.RawArray(microvolts * _MICROVOLT, info, verbose="error")
    raw.filenames = [path]
    return raw


def _place(error: ValueError, header: int) -> str:
    """Return the place that NumPy names, and not the content that it quotes."""
    row = re.search(r"at row (\d+)", str(error))
    return f" in line {int(row[1]) + 1 + header}" if row else ""


def _open_text(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
