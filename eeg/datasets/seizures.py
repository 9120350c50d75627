"""Annotated seizures: what is left out of an interictal recording."""

from pathlib import Path

import numpy as np

from eeg.datasets.table import read_seconds, read_table
from eeg.datasets.temple import read_temple

_SZCORE = "eventType"  # in place of trial_type (Dan et al. 2024)


def read_seizures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the seizures of a recording.

    Parameters
    ----------
    path
        A file of the Temple corpora (`eeg.datasets.temple.ENDINGS`), where a seizure is ``seiz`` or a word
        in ``sz`` (``fnsz``, ``gnsz``), or an ``events.tsv`` of BIDS, where it begins with ``sz`` (SzCORE).

    Returns
    -------
    onset, duration
        (M,) each, in seconds, in order and apart: seizures of several channels at once are one.

    Raises
    ------
    DataError
        The file lacks a column or cannot be understood, or a time is no number.
    """
    spans = _of_bids(path) if path.suffix.lower() == ".tsv" else _of_temple(path)
    onset, end = _union(sorted(spans))
    return onset, end - onset


def _of_temple(path: Path) -> list[tuple[float, float]]:
    found = read_temple(path)
    return [(start, end) for start, end, label in found if label == "seiz" or label.endswith("sz")]


def _of_bids(path: Path) -> list[tuple[float, float]]:
    rows = read_table(path, {"onset", "duration"}, delimiter="\t")
    found = [row for row in rows if row.get(_SZCORE, row.get("trial_type", "")).startswith("sz")]
    starts = [read_seconds(path, row, "onset") for row in found]
    return [
        (start, start + read_seconds(path, row, "duration")) for start, row in zip(starts, found, strict=True)
    ]


def _union(spans: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Join spans, sorted by onset, that touch."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    onset, stop = np.array(joined, dtype=float).reshape(-1, 2).T
    return onset, stop
