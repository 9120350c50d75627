"""Seizures in a recording: what is not interictal."""

import re
from pathlib import Path

import mne
import numpy as np

from eeg.datasets.seizures import read_seizures

# Not "interictal", "post-ictal" or "no seizure".
_SEIZURE = re.compile(r"(?<![a-z])(seizures?|seiz|ictal|crisis|[a-z]{0,3}sz)(?![a-z])", re.IGNORECASE)
_OTHER = re.compile(r"(inter|pre|post|peri|non|no|without)[\s_-]*(ictal|seizures?|sz)", re.IGNORECASE)
_ENDS = re.compile(r"(?<![a-z])(end|stop|offset|over)(?![a-z])", re.IGNORECASE)


def seizures(raw: mne.io.BaseRaw, table: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the seizures that somebody annotated.

    Parameters
    ----------
    raw
        The recording; an annotation counts whose text says seizure, ictal or the like.  One that is a mere
        point in time is the start of a seizure, and lasts until the next that says its end, or to the end
        of the recording.
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
    said = [
        (float(a["onset"] - raw.first_time), float(a["duration"]), str(a["description"]))
        for a in raw.annotations
        if _SEIZURE.search(a["description"]) and not _OTHER.search(a["description"])
    ]
    ends = [onset for onset, _, text in said if _ENDS.search(text)]
    total = raw.n_times / raw.info["sfreq"]
    spans = [
        (onset, duration or min((end for end in ends if end >= onset), default=total) - onset)
        for onset, duration, text in said
        if not _ENDS.search(text)
    ]
    onset, duration = np.array(spans, dtype=float).reshape(-1, 2).T
    if table is None:
        return onset, duration
    more_onset, more_duration = read_seizures(table)
    return np.concatenate([onset, more_onset]), np.concatenate([duration, more_duration])
