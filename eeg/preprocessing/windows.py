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


@dataclass(frozen=True)
class Examples:
    """Windows of a recording and those shifted by half a length: gathered by index, nothing is copied before.

    Parameters
    ----------
    windows
        (N, C, T), of the recording.
    row
        (K,) the window of each example.
    shifted
        (K,) bool, whether the example is the second half of the window and the first half of the next.
    """

    windows: np.ndarray
    row: np.ndarray
    shifted: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all examples, (K, C, T)."""
        return len(self), *self.windows.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """The data type of the examples."""
        return self.windows.dtype

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: np.ndarray | slice) -> np.ndarray:
        """Return a new array of some of the examples."""
        row, shifted = self.row[index], self.shifted[index]
        examples: np.ndarray = np.array(self.windows[row])
        half, before = self.windows.shape[2] // 2, row[shifted]
        first, second = self.windows[before, :, half:], self.windows[before + 1, :, :half]
        examples[shifted] = np.concatenate([first, second], axis=2)
        large_arrays.release(self.windows)
        return examples


def training_examples(windows: Windows) -> tuple[Examples, np.ndarray]:
    """Return the windows for training on annotated discharges.

    These are the windows of the recording and those shifted by half a length between neighbours, without
    windows that contain only a part of a discharge.

    Returns
    -------
    data
        (K, C, T).
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
    row = np.concatenate([np.arange(len(windows.data)), next_to])
    onset = np.concatenate([windows.onset, windows.onset[next_to] + half * second])
    fraction = contained_fraction(onset, windows.length, *windows.events)
    clear = (fraction == 0) | (fraction >= _WHOLE)
    shifted = np.arange(len(row)) >= len(windows.data)
    return Examples(windows.data, row[clear], shifted[clear]), fraction[clear] > 0
