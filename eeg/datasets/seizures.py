"""Annotated seizures, which are excluded from interictal recordings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eeg.datasets.seizure_words import AUTO, NONE, marks_end, marks_seizure, names_seizure
from eeg.datasets.temple import read_temple
from eeg.io.intervals import union
from eeg.io.sidecars import find_sidecar
from eeg.io.tables import read_seconds, read_table
from trainers.errors import DataError

if TYPE_CHECKING:
    import mne

Mark = tuple[float, float, str]  # onset and duration, s, and text

EVENT_TEXTS = ("eventType", "trial_type", "stim_type", "value")
"""Columns with the text of an event: SzCORE (Dan et al. 2024), then as MNE-BIDS."""

_SHOWN = 10  # seizures of a recording that are described one by one
_POINT = 0.02
"""s: what is not longer is a point in time; many formats write one as a single sample."""

OVERRULE = "if that is a remark, add --ictal none, or --ictal and the words that mark a seizure"


@dataclass(frozen=True)
class Seizure:
    """An annotated seizure: start and stop, s, the word for it, and which of the two are annotated."""

    start: float
    stop: float
    word: str
    has_end: bool = True
    has_start: bool = True
    inside: bool = True  # whether it begins before the end of the recording

    def __str__(self) -> str:
        start = f"{self.start:g} s" if self.has_start else "the start"
        end = f"{self.stop:g} s" if self.has_end else "the end"
        outside = "" if self.inside else ", which is after the end of the recording"
        return f"from {start} to {end} by the annotation {self.word!r}{outside}"


@dataclass(frozen=True)
class Annotated:
    """The seizures that the annotations of a recording mark, and the times, s, of remarks about seizures."""

    seizures: tuple[Seizure, ...] = ()
    remarks: tuple[float, ...] = ()

    @property
    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Onsets and durations (M,), s, sorted and disjoint: seizures of several channels at once are one."""
        start, stop = union([(one.start, one.stop) for one in self.seizures if one.inside]).T
        return start, stop - start

    def describe(self) -> list[str]:
        """Return what is excluded, by which word, and which remarks are not."""
        lines = list(dict.fromkeys(f"seizure {one}" for one in sorted(self.seizures, key=_start)))
        if len(lines) > _SHOWN:
            lines[_SHOWN:] = [f"{len(lines) - _SHOWN} more seizures"]
        if self.remarks:
            times = ", ".join(f"{time:g} s" for time in sorted(set(self.remarks)))
            lines.append(f"not counted as a seizure: a remark that names one at {times}")
        return lines


def _start(seizure: Seizure) -> float:
    return seizure.start


def annotated_among(marks: Iterable[Mark], total: float = math.inf, ictal: str = AUTO) -> Annotated:
    """Return the seizures and the remarks among the marks of a recording.

    Parameters
    ----------
    marks
        Those that `eeg.datasets.seizure_words.marks_seizure` counts.  One that is a point in time starts a
        seizure that lasts until the next mark of its end, or to the end of the recording.  An end before any
        start ends a seizure during which the recording began.
    total
        End of the recording, s.
    ictal
        Which marks count; see `eeg.datasets.seizure_words.marks_seizure`.
    """
    found = [
        (onset, duration, text, marks_seizure(text, ictal, lasts=duration > _POINT))
        for onset, duration, text in marks
    ]
    starts = [
        (onset, duration, word) for onset, duration, text, word in found if word and not marks_end(text)
    ]
    ends = [(onset, word) for onset, _, text, word in found if word and marks_end(text)]
    seizures = []
    for onset, duration, word in starts:
        following = [onset + duration] if duration > _POINT else [end for end, _ in ends if end >= onset]
        stop, inside = min(following, default=max(onset, total)), onset < total
        seizures.append(Seizure(onset, stop, word, bool(following), inside=inside))
    end, word = min(ends, default=(0.0, ""))
    if end > 0 and not any(onset <= end for onset, *_ in starts):
        seizures.append(Seizure(0.0, end, word, has_start=False))
    unmarked = (onset for onset, _, text, word in found if not word and names_seizure(text))
    return Annotated(tuple(seizures), tuple(unmarked) if ictal == AUTO else ())


def read_seizures(path: Path, ictal: str = AUTO) -> tuple[np.ndarray, np.ndarray]:
    """Read the seizures of a recording.

    Parameters
    ----------
    path
        A file of the Temple corpora (`eeg.datasets.temple.ENDINGS`), where a seizure is ``seiz`` or a word
        in ``sz`` (``fnsz``, ``gnsz``), or an ``events.tsv`` of BIDS, with the words of
        `eeg.datasets.seizure_words` in the first column of ``eventType`` (SzCORE), ``trial_type``,
        ``stim_type`` and ``value`` that has a text.
    ictal
        Which annotations count; see `eeg.datasets.seizure_words.marks_seizure`.

    Returns
    -------
    onset, duration
        (M,) each, in seconds, sorted and disjoint: seizures of several channels at once are one.  The
        duration of a seizure without an annotated end is infinite.

    Raises
    ------
    DataError
        The file lacks a column or is malformed, or a time is not a number.
    """
    return _of_table(path, math.inf, ictal).spans


def _of_table(path: Path, total: float, ictal: str) -> Annotated:
    if ictal == NONE:
        return Annotated()
    if path.suffix.lower() == ".tsv":
        return _of_bids(path, total, ictal)
    spans = read_temple(path)
    if ictal != AUTO:
        marks = [(start, stop - start, label) for start, stop, label in spans]
        return annotated_among(marks, total, ictal)
    named = [span for span in spans if span[2] == "seiz" or span[2].endswith("sz")]
    return Annotated(tuple(Seizure(start, stop, "seizure", inside=start < total) for start, stop, _ in named))


def _of_bids(path: Path, total: float, ictal: str) -> Annotated:
    rows = read_table(path, {"onset", "duration"}, delimiter="\t")
    texts = [
        next((row[name] for name in EVENT_TEXTS if row.get(name, "n/a").lower() not in ("", "n/a")), "")
        for row in rows
    ]
    # Other events may have times that a seizure cannot have: before the recording, or none.
    marks = []
    for row, text in zip(rows, texts, strict=True):
        if marks_seizure(text, ictal):
            marks.append(_mark(path, row, text))
        elif ictal == AUTO and names_seizure(text):
            with suppress(DataError):
                marks.append(_mark(path, row, text))
    return annotated_among(marks, total, ictal)


def _mark(path: Path, row: dict[str, str], text: str) -> Mark:
    has_duration = row["duration"].lower() not in {"", "n/a"}
    duration = read_seconds(path, row, "duration") if has_duration else 0.0
    return read_seconds(path, row, "onset"), duration, text


def find_seizures(raw: mne.io.BaseRaw, table: Path | None = None, ictal: str = AUTO) -> Annotated:
    """Return the annotated seizures of a recording.

    Parameters
    ----------
    raw
        The recording with its annotations.
    table
        The seizures that the corpus annotates, for `read_seizures`; by default an ``events.tsv`` of BIDS that
        applies to the recording's file, if there is one.
    ictal
        Which annotations count; see `eeg.datasets.seizure_words.marks_seizure`.

    Raises
    ------
    DataError
        The table cannot be read.
    """
    total = raw.n_times / raw.info["sfreq"]
    marks = [
        (float(a["onset"] - raw.first_time), float(a["duration"]), str(a["description"]))
        for a in raw.annotations
    ]
    file = raw.info.get("temp")  # of a recording that another program opened, the times may be others
    if table is None and isinstance(file, str):
        table = find_sidecar(Path(file), "events.tsv")
    tables = [] if table is None else [_of_table(table, total, ictal)]
    return _joined([annotated_among(marks, total, ictal), *tables])


def _joined(parts: Sequence[Annotated]) -> Annotated:
    return Annotated(
        tuple(one for part in parts for one in part.seizures),
        tuple(time for part in parts for time in part.remarks),
    )
