"""Windows of recordings and corpora: read, examine, clean, cut, cache."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mne
import numpy as np
import scipy
from joblib import Parallel, delayed
from tqdm import tqdm

from eeg import large_arrays
from eeg.datasets import Corpus, Entry, read_events
from eeg.datasets.fingerprint import files_of, hash_content
from eeg.datasets.seizures import OVERRULE, Annotated, find_seizures
from eeg.io.gaps import gaps, stretches
from eeg.io.intervals import complement, overlaps
from eeg.io.reader import read_recording, recording_file
from eeg.preprocessing import cache
from eeg.preprocessing.interpolation import missing_channels
from eeg.preprocessing.pipeline import Preprocessing, clean, kernel, scale
from eeg.preprocessing.quality import EXCLUDED, MIN_CLEAN_FRACTION, Policy, Quality, examine, mark_bad
from eeg.preprocessing.recording import Recording
from eeg.preprocessing.windows import _LEFT_OUT, Windows, cut_windows
from trainers.errors import DataError, one_line
from trainers.files import sweep
from trainers.mapped import allow_open_files
from trainers.provenance import from_plain

_VERSION = 6  # of the preparation: what another version cached is not used


@dataclass(frozen=True)
class Prepared:
    """A cleaned recording and its windows.

    Parameters
    ----------
    cleaned
        The recording as `eeg.preprocessing.pipeline.clean` returns it.
    windows
        Its windows without a label.
    interpolated
        The electrodes that were interpolated from the others.
    annotated
        The annotated seizures, which are left out.
    """

    cleaned: mne.io.BaseRaw
    windows: Windows
    interpolated: tuple[str, ...]
    annotated: Annotated


@dataclass(frozen=True)
class _Signal:
    """A recording as a network's input, before it is cut into windows."""

    recording: Recording  # at the working rate
    marked: Recording
    cleaned: mne.io.BaseRaw
    continuous: list[tuple[int, int]]
    data: np.ndarray  # (C, T)
    settings: Preprocessing
    quality: Quality
    annotated: Annotated
    reach: float

    def cut(self, length: float, policy: Policy) -> Windows:
        try:
            data, onset = cut_windows(self.data, self.settings.sfreq, length, self.continuous)
            flawed, in_seizure = unusable_windows(onset, length, self.quality, self.annotated, policy=policy)
        except DataError as error:
            raise DataError(f"{recording_file(self.recording.raw)}: {error}") from None
        usable = ~(flawed | in_seizure)
        if not usable.all():
            data, onset = large_arrays.take(data, np.flatnonzero(usable)), onset[usable]
        whole = self.recording.without_short(max(self.reach, length)).stretches
        short = len(self.recording.stretches) - len(whole)
        counts = {"flawed": int(flawed.sum()), "ictal": int(in_seizure.sum()), "short": short}
        return Windows(data, onset, length, None, None, self.quality, **counts)


def prepare(
    recording: Recording,
    settings: Preprocessing,
    length: float,
    *,
    table: Path | None = None,
    policy: Policy = "exclude",
) -> Prepared:
    """Examine a recording, clean it and cut it into windows.

    Channels that are flat or not finite are interpolated as missing ones are.  Windows that touch a seizure
    are left out, for they are not interictal.

    Parameters
    ----------
    recording
        The recording; it stays as it is.
    settings
        How it is prepared.
    length
        Seconds of a window.
    table
        The file of annotated seizures, where there is one.
    policy
        What a window may not touch; see `eeg.preprocessing.quality.EXCLUDED`.

    Raises
    ------
    DataError
        The recording cannot be used, or less than half of it is left; the message names the file.
    """
    signal = _prepare_signal(recording, settings, table)
    interpolated = tuple(missing_channels(signal.marked.raw, settings.channels))
    return Prepared(signal.cleaned, signal.cut(length, policy), interpolated, signal.annotated)


def _prepare_signal(recording: Recording, settings: Preprocessing, table: Path | None) -> _Signal:
    source, recording = recording.raw, recording.slowed(settings.working_rate)
    reach = kernel(recording.raw, settings)
    quality = examine(recording.without_short(reach), settings.electrodes)
    marked = mark_bad(recording, quality, settings.channels)
    cleaned = clean(marked, settings)
    continuous, annotated = stretches(cleaned), find_seizures(source, table, settings.ictal)
    data = scale(cleaned, continuous, settings, _unflawed(cleaned, quality))
    return _Signal(recording, marked, cleaned, continuous, data, settings, quality, annotated, reach)


def _unflawed(cleaned: mne.io.BaseRaw, quality: Quality) -> list[tuple[int, int]]:
    """Return where a recording is neither interrupted nor interpolated in time, (start, stop) in samples."""
    onset, duration = quality.spans(["flat", "artefact"])
    flawed = np.stack([onset, onset + duration], axis=1) * cleaned.info["sfreq"]
    inside = np.minimum(np.round(flawed).astype(int), cleaned.n_times)
    return complement([*gaps(cleaned), *inside.tolist()], cleaned.n_times)


def read_windows(
    entry: Entry, settings: Preprocessing, length: float, *, policy: Policy = "exclude"
) -> Windows:
    """Read one recording, `prepare` it and label its windows.

    Parameters
    ----------
    entry
        The recording.
    settings
        How it is prepared.
    length
        Seconds of a window.
    policy
        What a window may not touch; see `eeg.preprocessing.quality.EXCLUDED`.

    Raises
    ------
    DataError
        As `prepare`, or the events cannot be read.
    """
    windows = _read_signal(entry, settings).cut(length, policy)
    events = None if entry.events is None else read_events(entry.events)
    return replace(windows, label=entry.label, events=events)


def _read_signal(entry: Entry, settings: Preprocessing) -> _Signal:
    raw = read_recording(entry.path, preload=False, ears=settings.reference == "mastoids")
    return _prepare_signal(Recording.scan(raw), settings, entry.seizures)


def unusable_windows(
    onset: np.ndarray,
    length: float,
    quality: Quality,
    annotated: Annotated,
    *,
    policy: Policy = "exclude",
) -> tuple[np.ndarray, np.ndarray]:
    """Return which windows have flaws of the signal, and which are not interictal.

    Parameters
    ----------
    onset, length
        (N,) starts of the windows, and the length of each, s.
    quality
        What was found in the recording.
    annotated
        The annotated seizures.
    policy
        What a window may not touch.

    Returns
    -------
    flawed, ictal
        (N,) bool each; a window is not both.

    Raises
    ------
    DataError
        Less than half of the windows outside seizures are usable, or all are ictal.
    """
    in_seizure = overlaps(onset, length, *annotated.spans)
    flawed = overlaps(onset, length, *quality.spans(EXCLUDED[policy])) & ~in_seizure
    interictal = int((~in_seizure).sum())
    if not interictal:
        found = "; ".join(annotated.describe())
        raise DataError(f"within a seizure from beginning to end: {found}; {OVERRULE}")
    if flawed.sum() > (1 - MIN_CLEAN_FRACTION) * interictal:
        raise DataError(
            f"too little clean signal: {flawed.sum()} of {interictal} windows touch "
            f"{', '.join(EXCLUDED[policy])}; expected at most {1 - MIN_CLEAN_FRACTION:.0%}, or --quality keep"
        )
    return flawed, in_seizure


def load_windows(
    corpus: Corpus,
    settings: Preprocessing,
    length: float,
    *,
    policy: Policy = "exclude",
    folder: Path | None = None,
    overflow: Path | None = None,
    jobs: int = 1,
    progress: bool = True,
    on_error: Callable[[Entry, DataError], None] | None = None,
    on_message: Callable[[str], object] | None = None,
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
        What a window may not touch; see `eeg.preprocessing.quality.EXCLUDED`.
    folder
        A cache of prepared recordings.  Several programs may use it at once, and one that is killed leaves it
        intact.  What is damaged there is prepared again; what cannot be written is not cached.
    overflow
        A folder for windows beyond the first gigabyte, which are mapped from there; all are in memory by
        default.
    jobs
        Number of processes, unless ``joblib.parallel_config`` sets a cluster.
    progress
        Whether to show a progress bar.
    on_error
        Called for each recording that cannot be used, which is then left out.  By default the first raises.
    on_message
        Called with one line if the cache cannot be written.

    Raises
    ------
    DataError
        A recording cannot be used, or none can.
    """
    if folder is not None or overflow is not None:
        allow_open_files()
    if folder is not None:
        with suppress(OSError):
            sweep(folder)
    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_attempt)(entry, settings, length, policy, folder) for entry in corpus.entries
    )
    loaded: dict[Entry, Windows] = {}
    room = large_arrays.WINDOWS_IN_MEMORY
    bar = tqdm(results, desc="recordings", total=len(corpus.entries), disable=None if progress else True)
    uncached = ""
    for entry, (result, problem) in zip(corpus.entries, bar, strict=True):
        uncached = uncached or problem
        if isinstance(result, Windows):
            if overflow is not None and not isinstance(result.data, np.memmap):
                room -= result.data.nbytes
                if room < 0:
                    result = _moved(result, overflow / f"{len(loaded)}.npy")
            loaded[entry] = result
        elif on_error is None:
            raise result
        else:
            on_error(entry, result)
    if uncached and on_message is not None:
        on_message(f"Not cached, and prepared again next time: {uncached}")
    if not loaded:
        raise DataError(f"{corpus.name}: none of its {len(corpus.entries)} recordings can be used")
    return loaded


def _moved(windows: Windows, path: Path) -> Windows:
    try:
        return replace(windows, data=large_arrays.to_file(windows.data, path))
    except OSError as error:
        raise DataError(
            f"{path.parent}: windows that exceed the memory cannot be written ({error.strerror or error}); "
            "free space there, or specify --cache on another disk"
        ) from error


def _attempt(
    entry: Entry, settings: Preprocessing, length: float, policy: Policy, folder: Path | None
) -> tuple[Windows | DataError, str]:
    """Return the windows and why they are not cached, if they should be.

    The error of an unusable recording, of any type, is returned: it would end the batch of its process.
    """
    try:
        with one_line(entry.path):
            if folder is None:
                return read_windows(entry, settings, length, policy=policy), ""
            return _cached(entry, settings, length, policy, folder)
    except DataError as error:
        return error, ""


def _cached(
    entry: Entry, settings: Preprocessing, length: float, policy: Policy, folder: Path
) -> tuple[Windows, str]:
    """Read the windows from the cache, or prepare them and write them there.

    The diagnosis and the discharges come from the corpus and are not cached.
    """
    name = _cache_name(entry, settings, length, policy)
    found = cache.read_cached(folder, name)
    if found is None:
        windows = read_windows(entry, settings, length, policy=policy)
        try:
            _write(windows, folder, name)
        except DataError as error:
            return windows, str(error)
        found = cache.read_cached(folder, name)  # mapped from the file: memory does not grow with the corpus
        if found is None:
            return windows, f"{folder} does not return what was written; choose another --cache"
    data, facts = found
    stored = Windows(
        data,
        np.array(facts["onset"]),
        length,
        entry.label,
        None if entry.events is None else read_events(entry.events),
        from_plain(Quality, facts["quality"]),
        **{name: facts[name] for name in _LEFT_OUT},
    )
    return stored, ""


def _cache_name(entry: Entry, settings: Preprocessing, length: float, policy: Policy) -> str:
    how = [asdict(settings), length, policy, entry.path.suffix, entry.seizures is not None]
    return hash_content(files_of(entry), [*how, _VERSION, mne.__version__, np.__version__, scipy.__version__])


def _write(windows: Windows, folder: Path, name: str) -> None:
    cache.write_cached(folder, name, windows.data, {"onset": windows.onset.tolist(), **windows.account()})


def cache_windows(
    corpus: Corpus, settings: Preprocessing, lengths: Sequence[float], folder: Path, *, jobs: int = 1
) -> None:
    """Prepare every recording once and cache its windows of several lengths for `load_windows`.

    Parameters
    ----------
    corpus
        The recordings.
    settings
        How each is prepared.
    lengths
        Seconds of the windows.
    folder
        The cache.
    jobs
        Number of processes.

    Raises
    ------
    DataError
        A recording cannot be used, or the cache cannot be written.
    """
    work = (delayed(_cut_and_cache)(entry, settings, lengths, folder) for entry in corpus.entries)
    results = Parallel(n_jobs=jobs, return_as="generator")(work)
    for _ in tqdm(results, desc="recordings", total=len(corpus.entries), disable=None):
        pass


def _cut_and_cache(entry: Entry, settings: Preprocessing, lengths: Sequence[float], folder: Path) -> None:
    with one_line(entry.path):
        signal = _read_signal(entry, settings)
        for length in lengths:
            name = _cache_name(entry, settings, length, "exclude")
            _write(signal.cut(length, "exclude"), folder, name)
