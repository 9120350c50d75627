"""Load a corpus for a training, an evaluation or an audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from eeg.datasets import Corpus, Entry, splits
from eeg.datasets.copies import describe_copy, find_copies
from eeg.detector.detector import Detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.preprocessing.loading import load_windows
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from trainers.errors import DataError, one_line

OnError = Callable[[Entry, DataError], None]
OnMessage = Callable[[str], object]


def default_channels(corpus: Corpus) -> tuple[str, ...]:
    """Return the 19 electrodes of the 10-20 system if the first readable recording has them, else all it has.

    Raises
    ------
    DataError
        If no recording can be read.
    """
    for entry in corpus.entries:
        try:
            with one_line(entry.path):
                names = read_recording(entry.path, preload=False).ch_names
        except DataError:  # reported when all recordings are loaded
            continue
        return TEN_TWENTY if set(TEN_TWENTY) <= set(names) else tuple(names)
    raise DataError(f"{corpus.name}: none of its {len(corpus.entries)} recordings can be read as EEG")


def usable(corpus: Corpus, *, on_error: OnError | None = None, on_message: OnMessage | None = None) -> Corpus:
    """Return a corpus without the recordings and the tables' faults that are reported.

    Parameters
    ----------
    corpus
        The recordings.
    on_error
        Called with each recording that has a problem; None raises its error.
    on_message
        Called with one line on each fault of the corpus's tables.

    Raises
    ------
    TypeError
        If it is no corpus, but its path for example.
    DataError
        If a recording has a problem and ``on_error`` is None.
    """
    if not isinstance(corpus, Corpus):
        raise TypeError(f"corpus is a {type(corpus).__name__}, expected that of eeg.open_corpus(path)")
    for entry in corpus.entries:
        if entry.problem is not None:
            error = DataError(f"{entry.path}: {entry.problem}")
            if on_error is None:
                raise error
            on_error(entry, error)
    if on_message is not None:
        for problem in corpus.problems:
            on_message(f"Warning: {problem}")
    entries = tuple(entry for entry in corpus.entries if entry.problem is None)
    return replace(corpus, entries=entries, problems=())


def refuse_copies(entries: Sequence[Entry], jobs: int, on_message: OnMessage | None) -> None:
    """Raise `DataError` if two subjects have the same recording; report one that a subject has twice."""
    for first, other in find_copies(entries, jobs):
        line = describe_copy(first, other)
        if first.subject != other.subject:
            raise DataError(f"{line}; remove one of them, or correct its subject")
        if on_message is not None:
            on_message(f"Warning: {line}")


def load_corpus(
    corpus: Corpus,
    settings: Plan | Detector,
    *,
    unlabelled: bool = False,
    cache: Path | None = None,
    overflow: Path | None = None,
    jobs: int = 1,
    on_error: OnError | None = None,
    on_message: OnMessage | None = None,
) -> Loaded:
    """Load the windows of every `usable` recording whose subject has a diagnosis.

    Parameters
    ----------
    corpus
        The recordings.
    settings
        The plan or detector whose preprocessing, window length and quality policy apply.
    unlabelled
        Load the recordings without a diagnosis too.
    cache
        A folder that stores the windows for later calls.
    overflow
        A folder for what exceeds the memory; see `eeg.preprocessing.loading.load_windows`.
    jobs
        Number of processes.
    on_error
        Called with each unusable recording, which is left out; None raises its error.
    on_message
        Called with one line on the excluded windows, and one if the cache cannot be written.

    Raises
    ------
    DataError
        If no recording has a diagnosis, two subjects have the same recording, or as
        `eeg.preprocessing.loading.load_windows`.
    """
    corpus = usable(corpus, on_error=on_error, on_message=on_message)
    known = splits.diagnosed(corpus)
    without = len(corpus.entries) - len(known)
    if without and not unlabelled and on_message is not None:
        on_message(f"{without} recording(s) of subjects without a diagnosis are left out.")
    chosen = Corpus(corpus.name, corpus.entries if unlabelled else known, corpus.simulated)
    refuse_copies(chosen.entries, jobs, on_message)
    loaded = load_windows(
        chosen,
        settings.preprocessing,
        settings.window,
        policy=settings.quality,
        folder=cache,
        overflow=overflow,
        jobs=jobs,
        on_error=on_error,
        on_message=on_message,
    )
    if on_message is not None:
        on_message(describe_exclusions(loaded))
    return loaded


def describe_exclusions(loaded: Loaded) -> str:
    """Return one line on the windows and channels that are excluded from training and evaluation."""
    windows = loaded.values()
    flawed, ictal = sum(w.flawed for w in windows), sum(w.ictal for w in windows)
    total = sum(len(w.data) for w in windows) + flawed + ictal
    bad = sum(bool(w.quality and (w.quality.flat or w.quality.not_finite)) for w in windows)
    counts = {
        "within annotated seizures": ictal,
        "with artefacts": flawed,
        "stretch(es) between gaps that are too short": sum(w.short for w in windows),
    }
    excluded = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    lines = [f"Excluded of {total} windows: {excluded or 'none'}."]
    if bad:
        lines.append(
            f"Flat or non-finite channels, interpolated if used, in {bad} of {len(loaded)} recording(s)."
        )
    return "  ".join(lines)
