"""Annotated seizures, which are excluded from interictal recordings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eeg.datasets.temple import read_temple
from eeg.io.intervals import union
from eeg.io.tables import read_seconds, read_table

if TYPE_CHECKING:
    import mne

Mark = tuple[float, float, str]  # onset and duration, s, and text

_SZCORE = "eventType"  # in place of trial_type (Dan et al. 2024)

# Not "interictal", "post-ictal" or "no seizure".
_SEIZURE = re.compile(r"(?<![a-z])(seizures?|seiz|ictal|crisis|[a-z]{0,3}sz)(?![a-z])", re.IGNORECASE)
_OTHER = re.compile(r"(inter|pre|post|peri|non|no|without)[\s_-]*(ictal|seizures?|sz)", re.IGNORECASE)
_ENDS = re.compile(r"(?<![a-z])(end|stop|offset|over)(?![a-z])", re.IGNORECASE)


def seizures_among(marks: Iterable[Mark], total: float = math.inf) -> list[tuple[float, float]]:
    """Return the seizures among the marks of a recording.

    Parameters
    ----------
    marks
        Those whose text contains seizure, ictal or a synonym count.  One without a duration starts a seizure
        that lasts until the next mark of its end, or to the end of the recording.
    total
        End of the recording, s.

    Returns
    -------
    Start and stop of each, s.
    """
    named = [mark for mark in marks if _says_seizure(mark[2])]
    ends = [onset for onset, _, text in named if _ENDS.search(text)]
    return [
        (onset, onset + duration if duration else min((end for end in ends if end >= onset), default=total))
        for onset, duration, text in named
        if not _ENDS.search(text)
    ]


def _says_seizure(text: str) -> bool:
    return _SEIZURE.search(text) is not None and _OTHER.search(text) is None


def read_seizures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the seizures of a recording.

    Parameters
    ----------
    path
        A file of the Temple corpora (`eeg.datasets.temple.ENDINGS`), where a seizure is ``seiz`` or a word
        in ``sz`` (``fnsz``, ``gnsz``), or an ``events.tsv`` of BIDS, with the words of `seizures_among` in
        ``trial_type``, or in ``eventType`` as in SzCORE.

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
    spans = _of_bids(path) if path.suffix.lower() == ".tsv" else _of_temple(path)
    return _joined(spans)


def _of_temple(path: Path) -> list[tuple[float, float]]:
    found = read_temple(path)
    return [(start, end) for start, end, label in found if label == "seiz" or label.endswith("sz")]


def _of_bids(path: Path) -> list[tuple[float, float]]:
    rows = read_table(path, {"onset", "duration"}, delimiter="\t")
    texts = [row.get(_SZCORE, row.get("trial_type", "")) for row in rows]
    # Other events may have times that a seizure cannot have: before the recording, or none.
    return seizures_among(
        _mark(path, row, text) for row, text in zip(rows, texts, strict=True) if _says_seizure(text)
    )


def _mark(path: Path, row: dict[str, str], text: str) -> Mark:
    has_duration = row["duration"].lower() not in {"", "n/a"}
    duration = read_seconds(path, row, "duration") if has_duration else 0.0
    return read_seconds(path, row, "onset"), duration, text


def _joined(spans: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return onsets and durations (M,) of spans, with those that overlap joined."""
    start, stop = union(spans).T
    return start, stop - start


def seizures(raw: mne.io.BaseRaw, table: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotated seizures of a recording.

    Parameters
    ----------
    raw
        The recording; its annotations count as in `seizures_among`.
    table
        The seizures that the corpus annotates, for `read_seizures`, if there are any.

    Returns
    -------
    onset, duration
        (M,) each, s from the start of the recording, sorted and disjoint.

    Raises
    ------
    DataError
        The table cannot be read.
    """
    marks = [
        (float(a["onset"] - raw.first_time), float(a["duration"]), str(a["description"]))
        for a in raw.annotations
    ]
    spans = seizures_among(marks, raw.n_times / raw.info["sfreq"])
    if table is not None:
        onset, duration = read_seizures(table)
        spans += zip(onset.tolist(), (onset + duration).tolist(), strict=True)
    return _joined(spans)
