"""Windows of interictal EEG, labelled by diagnosis and annotated discharge."""

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
_LEFT_OUT = ("flawed", "ictal", "short")  # the counts of what `Windows` leaves out
_WHOLE = 0.9  # fraction of an event that makes a window a clear example of it


@dataclass(frozen=True)
class Windows:
    """The windows of one recording, as a network's input.

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
        Onsets (M,) and durations (M,) of the annotated discharges, s; None without annotations.
    quality
        What was found in the signal, None if it was not examined.
    flawed, ictal
        Number of windows left out because of flaws of the signal, or of a seizure.
    short
        Number of stretches between gaps that are too short for the filter or for a window.
    """

    data: np.ndarray
    onset: np.ndarray
    length: float
    label: int | None = None
    events: tuple[np.ndarray, np.ndarray] | None = None
    quality: Quality | None = None
    flawed: int = 0
    ictal: int = 0
    short: int = 0

    @property
    def positive(self) -> np.ndarray | None:
        """Whether each window holds at least half of an annotated discharge, (N,) bool."""
        return None if self.events is None else contains_half(self.onset, self.length, *self.events)

    def in_recording(self, seconds: np.ndarray) -> np.ndarray:
        """Convert times (K,) of the windows laid end to end to seconds from the start of the recording."""
        place = (np.asarray(seconds, float) / self.length + ROUNDING).astype(int)
        place = np.minimum(place, len(self.onset) - 1)
        return self.onset[place] + seconds - place * self.length

    def account(self) -> dict[str, Any]:
        """Return what was found in the recording and what was left out, in types that JSON holds."""
        counts = {name: getattr(self, name) for name in _LEFT_OUT}
        return {"windows": len(self.data)} | counts | {"quality": to_plain(self.quality)}


def cut_windows(
    data: np.ndarray, sfreq: float, length: float, continuous: Sequence[tuple[int, int]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a signal into windows without overlap; a remainder at the end is dropped.

    Parameters
    ----------
    data
        (C, T).
    sfreq
        Sampling rate, Hz.
    length
        Seconds of a window, rounded to whole samples.
    continuous
        The stretches where the signal is continuous, as `eeg.io.gaps.stretches`; all of it by default.

    Returns
    -------
    windows
        (N, C, n) contiguous float32.
    onset
        (N,) seconds from the start.

    Raises
    ------
    DataError
        No stretch is as long as one window.
    ValueError
        A window has no sample.
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
        large_arrays.release(windows)
        large_arrays.release(data)
    return windows, np.array(starts) / sfreq


def training_examples(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows for training on annotated discharges.

    These are the windows of the recording and those shifted by half a length between neighbours, without
    windows that contain only a part of a discharge.

    Returns
    -------
    data
        (K, C, T) float32.
    positive
        (K,) bool.

    Raises
    ------
    DataError
        The recording has no annotations.
    """
    if windows.events is None:
        raise DataError(UNANNOTATED)
    size = windows.data.shape[2]
    half, second = size // 2, windows.length / size
    # Where a window was left out, its neighbours do not adjoin.
    next_to = np.flatnonzero(np.diff(windows.onset) < windows.length + second / 2)
    between = np.concatenate([windows.data[next_to, :, half:], windows.data[next_to + 1, :, :half]], axis=2)
    data = np.concatenate([windows.data, between])
    onset = np.concatenate([windows.onset, windows.onset[next_to] + half * second])
    fraction = contained_fraction(onset, windows.length, *windows.events)
    clear = (fraction == 0) | (fraction >= _WHOLE)
    return data[clear], fraction[clear] > 0
