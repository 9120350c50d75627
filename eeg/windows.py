"""Windows of a recording, labelled by diagnosis and annotated discharge; no others than of interictal EEG."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mne
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from eeg import cache, spool
from eeg.datasets import Corpus, Entry, read_events
from eeg.fingerprint import files_of
from eeg.gaps import stretches, without_short
from eeg.ictal import seizures
from eeg.preprocess import Preprocessing, check_duration, clean, kernel, scaled
from eeg.quality import EXCLUDED, LEAST, Policy, Quality, examine, mark_bad
from eeg.recording import name_of, read
from trainers.errors import DataError
from trainers.record import plain

UNANNOTATED = "a recording has no annotated discharges; use --labels recording"

_TOLERANCE = 1e-6  # an event cut in two equal halves lies in both windows, whatever the rounding
_INSTANT = 1e-3  # s: what an event lasts at least, also one that is annotated as a point in time
_VERSION = 3  # of what is done to a recording: what an older one prepared is not taken for its own
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
        return None if self.events is None else holds(self.onset, self.length, *self.events)

    def in_recording(self, seconds: np.ndarray) -> np.ndarray:
        """Return where times (K,) on the windows, laid end to end, lie in the recording, s."""
        place = (np.asarray(seconds, float) / self.length + _TOLERANCE).astype(int)
        place = np.minimum(place, len(self.onset) - 1)
        return self.onset[place] + seconds - place * self.length

    def account(self) -> dict[str, Any]:
        """Return what was found in the recording and what was left out of it, as JSON has it."""
        counts = {name: getattr(self, name) for name in _LEFT_OUT}
        return {"windows": len(self.data)} | counts | {"quality": plain(self.quality)}


def cut(
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
        Where the signal is continuous, as `eeg.gaps.stretches` has it; everywhere if it is not said.

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
    windows = spool.zeros((len(starts), channels, size), np.float32)
    for window, start in zip(windows, starts, strict=True):
        window[:] = data[:, start : start + size]
        spool.rest(windows)
        spool.rest(data)
    return windows, np.array(starts) / sfreq


def touched(onsets: np.ndarray, length: float, starts: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Tell which windows overlap a span of time.

    Parameters
    ----------
    onsets
        (N,) starts of the windows, s.
    length
        Length of every window, s.
    starts, durations
        (M,) each, s.

    Returns
    -------
    (N,) bool.
    """
    order = np.argsort(starts)
    ends = (starts + np.maximum(durations, _INSTANT))[order]
    latest = np.maximum.accumulate(np.concatenate([[-np.inf], ends]))  # of none, one, two, ... spans
    return np.asarray(onsets < latest[np.searchsorted(starts[order], onsets + length)])


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


def windows_of(
    entry: Entry, settings: Preprocessing, length: float, *, policy: Policy = "exclude"
) -> Windows:
    """Read one recording, examine and prepare it, cut it and label its windows.

    Channels that are flat or not finite are interpolated as missing ones are.  Windows that touch a seizure
    are left out, for they are not interictal.

    Parameters
    ----------
    entry
        The recording.
    settings
        How it is prepared.
    length
        Seconds of a window.
    policy
        What a window may not touch; see `eeg.quality.EXCLUDED`.

    Raises
    ------
    DataError
        The recording or its events cannot be used, or less than half of it is left; the message names the
        file.
    """
    raw = read(entry.path, preload=False, ears=settings.reference == "mastoids")
    _, windows = interictal(raw, settings, length, table=entry.seizures, policy=policy)
    events = None if entry.events is None else read_events(entry.events)
    return replace(windows, label=entry.label, events=events)


def interictal(
    raw: mne.io.BaseRaw,
    settings: Preprocessing,
    length: float,
    *,
    table: Path | None = None,
    policy: Policy = "exclude",
) -> tuple[mne.io.BaseRaw, Windows]:
    """Return a recording as `eeg.preprocess.clean` leaves it, and its windows, of nobody's diagnosis.

    ``table`` holds annotated seizures, where there is one; for the rest see `windows_of`.
    """
    check_duration(raw, settings)
    lasting = without_short(raw, kernel(raw, settings))
    quality = examine(lasting, settings.channels)
    cleaned = clean(mark_bad(lasting, quality, settings.channels), settings)
    signal, spans = scaled(cleaned, settings), seizures(raw, table)
    try:
        data, onset = cut(signal, settings.sfreq, length, stretches(cleaned))
        flawed, ictal = unusable(onset, length, quality, spans, policy=policy)
    except DataError as error:
        raise DataError(f"{name_of(raw)}: {error}") from None
    left = ~(flawed | ictal)
    if not left.all():
        data, onset = spool.take(data, np.flatnonzero(left)), onset[left]
    least = max(kernel(raw, settings), length)
    short = len(stretches(raw)) - len(stretches(without_short(raw, least)))
    counts = {"flawed": int(flawed.sum()), "ictal": int(ictal.sum()), "short": short}
    return cleaned, Windows(data, onset, length, None, None, quality, **counts)


def unusable(
    onset: np.ndarray,
    length: float,
    quality: Quality,
    ictal: tuple[np.ndarray, np.ndarray],
    *,
    policy: Policy = "exclude",
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which windows are no EEG, and which are not interictal.

    Parameters
    ----------
    onset, length
        (N,) starts of the windows, and their length, s.
    quality
        What was found in the recording.
    ictal
        Onsets and durations (M,) of the seizures, s.
    policy
        What a window may not touch.

    Returns
    -------
    flawed, ictal
        (N,) bool each; a window is not both.

    Raises
    ------
    DataError
        Less than half of the windows outside seizures are EEG, or all are ictal.
    """
    in_seizure = touched(onset, length, *ictal)
    flawed = touched(onset, length, *quality.spans(EXCLUDED[policy])) & ~in_seizure
    rest = int((~in_seizure).sum())
    if not rest:
        raise DataError("within a seizure from beginning to end; expected interictal EEG")
    if flawed.sum() > (1 - LEAST) * rest:
        raise DataError(
            f"too little clean signal: {flawed.sum()} of {rest} windows touch {', '.join(EXCLUDED[policy])}; "
            f"expected at most {1 - LEAST:.0%}, or --quality keep"
        )
    return flawed, in_seizure


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
    size = windows.data.shape[2]
    half, second = size // 2, windows.length / size
    # Where a window was left out, there is nothing between its neighbours.
    next_to = np.flatnonzero(np.diff(windows.onset) < windows.length + second / 2)
    between = np.concatenate([windows.data[next_to, :, half:], windows.data[next_to + 1, :, :half]], axis=2)
    data = np.concatenate([windows.data, between])
    onset = np.concatenate([windows.onset, windows.onset[next_to] + half * second])
    share = held_share(onset, windows.length, *windows.events)
    clear = (share == 0) | (share >= _WHOLE)
    return data[clear], share[clear] > 0


def load(
    corpus: Corpus,
    settings: Preprocessing,
    length: float,
    *,
    policy: Policy = "exclude",
    folder: Path | None = None,
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
    policy
        What a window may not touch; see `eeg.quality.EXCLUDED`.
    folder
        A cache for what was prepared, which then is not prepared again; it may be used by several
        programs at once, and one that is killed leaves it whole.
    jobs
        Processes, unless ``joblib.parallel_config`` names a cluster.
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
        delayed(_attempt)(entry, settings, length, policy, folder) for entry in corpus.entries
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


def _attempt(
    entry: Entry, settings: Preprocessing, length: float, policy: Policy, folder: Path | None
) -> Windows | DataError:
    """Hand a bad recording back rather than raise it: an exception would end its process's batch."""
    try:
        if folder is None:
            return windows_of(entry, settings, length, policy=policy)
        return _cached(entry, settings, length, policy, folder)
    except DataError as error:
        return error


def _cached(entry: Entry, settings: Preprocessing, length: float, policy: Policy, folder: Path) -> Windows:
    """Take the windows from a folder, or put them there.

    The diagnosis and the discharges are the corpus's word and no part of them.
    """
    decisive = [asdict(settings), length, policy, _VERSION, mne.__version__]
    name = cache.key(files_of(entry), decisive)
    found = cache.recall(folder, name)
    if found is None:
        windows = windows_of(entry, settings, length, policy=policy)
        facts = {"onset": windows.onset.tolist(), **windows.account()}
        cache.store(folder, name, windows.data, facts)
        found = cache.recall(folder, name)
    if found is None:
        raise DataError(f"{folder}: what was written cannot be read; choose another --cache")
    data, facts = found
    return Windows(
        data,
        np.array(facts["onset"]),
        length,
        entry.label,
        None if entry.events is None else read_events(entry.events),
        Quality.recorded(facts["quality"]),
        **{name: facts[name] for name in _LEFT_OUT},
    )
