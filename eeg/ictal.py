"""Seizures in a recording: what is not interictal."""

from pathlib import Path

import mne
import numpy as np

from eeg.datasets.seizures import read_seizures, seizures_among


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
        (M,) each, s from the start of the recording.

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
    onset, stop = np.array(spans, dtype=float).reshape(-1, 2).T
    duration = stop - onset
    if table is None:
        return onset, duration
    more_onset, more_duration = read_seizures(table)
    return np.concatenate([onset, more_onset]), np.concatenate([duration, more_duration])
