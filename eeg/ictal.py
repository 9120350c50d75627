"""Seizures in a recording: what is not interictal."""

from pathlib import Path

import mne
import numpy as np

from eeg.datasets.seizures import read_seizures, seizures_among, union


def seizures(raw: mne.io.BaseRaw, table: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the seizures that somebody annotated.

    Parameters
    ----------
    raw
        The recording, whose annotations are looked through as `seizures_among` does.
    table
        The corpus's own, for `eeg.datasets.read_seizures`, where there is one.

    Returns
    -------
    onset, duration
        (M,) each, s from the start of the recording, in order and apart.

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
    onset, stop = union(sorted(spans))
    return onset, stop - onset
