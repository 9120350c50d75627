"""Windows of a recording, labelled by diagnosis and annotated discharge; no others than of interictal EEG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eeg import large_arrays
from eeg.io.intervals import ROUNDING, contained_fraction, contains_half
from eeg.preprocessing.quality import Quality
from trainers.errors import DataError
from trainers.provenance import to_plain

UNANNOTATED = "a recording has no annotated discharges; use --labels recording"
_LEFT_OUT = ("flawed", "ictal", "short")  # what `Windows` counts of what it does not hold
_WHOLE = 0.9  # share of an event that makes a window a clear example of it


@dataclass(frozen=True)
class Windows:
    """One recording, ready for a network.

    Parameters
    ----------
    data
        (N, C, T) float32.
    onset
        (N,) seconds from the start of the recording.
    length
        Seconds of a window.
    label
        The subject's diagnosis: 1 epilepsy, 0 control, None unknown.
    events
        Onsets (M,) and durations (M,) of the annotated discharges, s; None where nobody annotated.
    quality
        What was found in the recording, None where nobody looked.
    flawed, ictal
        How many windows were left out because of what is wrong with the signal, or of a seizure.
    short
        How many stretches between gaps were too short for the filter or for a window.
    """

    data: np.ndarray
    onset: np.ndarray
    length: float
    label: int | None
    events: tuple[np.ndarray, np.ndarray] | None
    quality: Quality | None = None
    flawed: int = 0
    ictal: int = 0
    short: int = 0

    @property
    def positive(self) -> np.ndarray | None:
        """Whether each window holds at least half of an annotated discharge, (N,) bool."""
        return None if self.events is None else contains_half(self.onset, self.length, *self.events)

    def in_recording(self, seconds: np.ndarray) -> np.ndarray:
        """Return where times (K,) on the windows, laid end to end, lie in the recording, s."""
        place = (np.asarray(seconds, float) / self.length + ROUNDING).astype(int)
        place = np.minimum(place, len(self.onset) - 1)
        return self.onset[place] + seconds - place * self.length

    def account(self) -> dict[str, Any]:
        """Return what was found in the recording and what was left out of it, as JSON has it."""
        counts = {name: getattr(self, name) for name in _LEFT_OUT}
        return {"windows": len(self.data)} | counts | {"quality": to_plain(self.quality)}


def cut_windows(
    data: np.ndarray, sfreq: float, length: float, continuous: Sequence[tuple[int, int]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a signal into windows without overlap; what is left at the end is dropped.

    Parameters
    ----------
    data
        (C, T).
    sfreq
        Sampling rate, Hz.
    length
        Seconds of a window, rounded to whole samples.
    continuous
        Where the signal is continuous, as `eeg.io.gaps.stretches` has it; everywhere if it is not said.

    Returns
    -------
    windows
        (N, C, n) contiguous float32.
    onset
        (N,) seconds from the start.

    Raises
    ------
    DataError
        The signal is nowhere as long as one window.
    ValueError
        A window holds no sample.
    """
    channels, total = data.shape
    size = round(length * sfreq)
    if size < 1:
        raise ValueError(f"length = {length} s at {sfreq} Hz: expected at least one sample")
    spans = [(0, total)] if continuous is None else continuous
    starts = [at for start, stop in spans for at in range(start, stop - size + 1, size)]
    if not starts:
        longest = max((stop - start for start, stop in spans), default=0)
        raise DataError(f"{longest / sfreq:g} s long; expected at least one window of {length:g} s")
    windows = large_arrays.zeros((len(starts), channels, size), np.float32)
    for window, start in zip(windows, starts, strict=True):
        window[:] = data[:, start : start + size]
        large_arrays.rest(windows)
        large_arrays.rest(data)
    return windows, np.array(starts) / sfreq


def training_examples(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return windows to learn annotated discharges from.

    Those of the recording and, between them, as many that are shifted by half their length; without
    those that hold only a part of a discharge and are neither one nor the other.

    Returns
    -------
    data
        (K, C, T) float32.
    positive
        (K,) bool.

    Raises
    ------
    DataError
        Nobody annotated the recording.
    """
    if windows.events is None:
        raise DataError(UNANNOTATED)
    size = windows.data.shape[2]
    half, second = size // 2, windows.length / size
    # Where a window was left out, there is nothing between its neighbours.
    next_to = np.flatnonzero(np.diff(windows.onset) < windows.length + second / 2)
    between = np.concatenate([windows.data[next_to, :, half:], windows.data[next_to + 1, :, :half]], axis=2)
    data = np.concatenate([windows.data, between])
    onset = np.concatenate([windows.onset, windows.onset[next_to] + half * second])
    share = contained_fraction(onset, windows.length, *windows.events)
    clear = (share == 0) | (share >= _WHOLE)
    return data[clear], share[clear] > 0
