"""Windows of a recording, labelled by diagnosis and by annotated discharge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from eeg.datasets import Corpus, Entry, read_events
from eeg.preprocess import Preprocessing, prepare
from eeg.recording import read
from trainers.errors import DataError

UNANNOTATED = "a recording has no annotated discharges; use --labels recording"

_TOLERANCE = 1e-6  # an event cut in two equal halves lies in both windows, whatever the rounding
_INSTANT = 1e-3  # s: what an event lasts at least, also one that is annotated as a point in time
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
    """

    data: np.ndarray
    onset: np.ndarray
    length: float
    label: int | None
    events: tuple[np.ndarray, np.ndarray] | None

    @property
    def positive(self) -> np.ndarray | None:
        """Whether each window holds at least half of an annotated discharge, (N,) bool."""
        return None if self.events is None else holds(self.onset, self.length, *self.events)


def cut(data: np.ndarray, sfreq: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut a signal into windows without overlap; what is left at the end is dropped.

    Parameters
    ----------
    data
        (C, T).
    sfreq
        Sampling rate, Hz.
    length
        Seconds of a window, rounded to whole samples.

    Returns
    -------
    windows
        (N, C, n) contiguous float32.
    onset
        (N,) seconds from the start.

    Raises
    ------
    DataError
        The signal is shorter than one window.
    ValueError
        A window holds no sample.
    """
    channels, total = data.shape
    size = round(length * sfreq)
    if size < 1:
        raise ValueError(f"length = {length} s at {sfreq} Hz: expected at least one sample")
    number = total // size
    if number == 0:
        raise DataError(f"{total / sfreq:g} s long; expected at least one window of {length:g} s")
    windows = data[:, : number * size].reshape(channels, number, size).swapaxes(0, 1)
    return np.ascontiguousarray(windows, dtype=np.float32), np.arange(number) * size / sfreq


def held_share(
    onsets: np.ndarray, length: float, event_onsets: np.ndarray, event_durations: np.ndarray
) -> np.ndarray:
    """Return the largest share of an event that each window holds, (N,) from 0 to 1.

    Parameters are those of `holds`.
    """
    start, end = onsets[:, None], onsets[:, None] + length
    lasting = np.maximum(event_durations, _INSTANT)
    inside = np.minimum(end, event_onsets + lasting) - np.maximum(start, event_onsets)
    return np.clip(inside / lasting, 0, 1).max(axis=1, initial=0)


def holds(
    onsets: np.ndarray, length: float, event_onsets: np.ndarray, event_durations: np.ndarray
) -> np.ndarray:
    """Tell which windows hold at least half of some event.

    Parameters
    ----------
    onsets
        (N,) starts of the windows, s.
    length
        Length of every window, s.
    event_onsets, event_durations
        (M,) each, s.

    Returns
    -------
    (N,) bool.  An event that is cut in two equal halves counts for both windows; one of more than twice
    the window's length counts for none.
    """
    return held_share(onsets, length, event_onsets, event_durations) >= 0.5 - _TOLERANCE


def windows_of(entry: Entry, settings: Preprocessing, length: float) -> Windows:
    """Read one recording, prepare it, cut it and label its windows.

    Parameters
    ----------
    entry
        The recording.
    settings
        How it is prepared.
    length
        Seconds of a window.

    Raises
    ------
    DataError
        The recording or its events cannot be used; the message names the file.
    """
    signal = prepare(read(entry.path), settings)
    try:
        data, onset = cut(signal, settings.sfreq, length)
    except DataError as error:
        raise DataError(f"{entry.path}: {error}") from None
    events = None if entry.events is None else read_events(entry.events)
    return Windows(data, onset, length, entry.label, events)


def examples(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
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
    number, channels, size = windows.data.shape
    signal = windows.data.swapaxes(0, 1).reshape(channels, -1)
    half = size // 2
    between, _ = cut(signal[:, half:], 1.0, size) if number > 1 else (windows.data[:0], None)
    data = np.concatenate([windows.data, between])
    second = windows.length / size
    onset = np.concatenate([windows.onset, windows.onset[: len(between)] + half * second])
    share = held_share(onset, windows.length, *windows.events)
    clear = (share == 0) | (share >= _WHOLE)
    return data[clear], share[clear] > 0


def load(
    corpus: Corpus,
    settings: Preprocessing,
    length: float,
    *,
    jobs: int = 1,
    progress: bool = True,
    on_error: Callable[[Entry, DataError], None] | None = None,
) -> dict[Entry, Windows]:
    """Prepare the windows of every recording of a corpus.

    Parameters
    ----------
    corpus
        The recordings.
    settings
        How each is prepared.
    length
        Seconds of a window.
    jobs
        Processes.
    progress
        Whether a bar is shown.
    on_error
        Told of each recording that cannot be used, which is then left out.  Without it the first raises.

    Raises
    ------
    DataError
        A recording cannot be used, or none can.
    """
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_attempt)(entry, settings, length) for entry in corpus.entries
    )
    loaded: dict[Entry, Windows] = {}
    bar = tqdm(results, desc="recordings", total=len(corpus.entries), disable=None if progress else True)
    for entry, result in zip(corpus.entries, bar, strict=True):
        if isinstance(result, Windows):
            loaded[entry] = result
        elif on_error is None:
            raise result
        else:
            on_error(entry, result)
    if not loaded:
        raise DataError(f"{corpus.name}: none of its {len(corpus.entries)} recordings can be used")
    return loaded


def _attempt(entry: Entry, settings: Preprocessing, length: float) -> Windows | DataError:
    """Hand a bad recording back rather than raise it: an exception would end its process's batch."""
    try:
        return windows_of(entry, settings, length)
    except DataError as error:
        return error
