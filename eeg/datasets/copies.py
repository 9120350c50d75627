"""Recordings of the same signal: copies, which under two subjects are a leak between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from joblib import Parallel, delayed

from eeg.datasets.corpus import Entry
from eeg.datasets.fingerprint import hash_facts
from eeg.io.reader import read_recording, sample
from trainers.errors import DataError

if TYPE_CHECKING:
    import mne

_MOST = 1e9  # V, in steps that an integer holds: a signal that is not EEG may have more
_STEP = 1e-9  # V: what is less is rounding of another unit or range in the header


def signal_hash(raw: mne.io.BaseRaw) -> str | None:
    """Return a hash of up to 60 seconds of a recording's signal, None of one that is constant.

    Neither the header nor the annotations nor the format of the file have a part in it, nor the electrodes at
    the ears and mastoids, which only some references read.
    """
    scalp = [kind != "misc" for kind in raw.get_channel_types()]
    blocks = np.compress(scalp, sample(raw), axis=1)
    if not np.ptp(blocks):
        return None
    steps = np.round(np.clip(np.nan_to_num(blocks), -_MOST, _MOST) / _STEP).astype(np.int64)
    return hash_facts([int(raw.n_times), float(raw.info["sfreq"]), sum(scalp)], steps.data)


def pair_copies(hashes: Iterable[str | None]) -> Iterator[tuple[int, int]]:
    """Yield the place of each hash that was there before, with that of the first of its kind.

    >>> list(pair_copies(["a", None, "b", None, "a"]))
    [(0, 4)]
    """
    first: dict[str, int] = {}
    for place, found in enumerate(hashes):
        if found is not None and first.setdefault(found, place) != place:
            yield first[found], place


def find_copies(entries: Iterable[Entry], jobs: int = 1) -> list[tuple[Entry, Entry]]:
    """Return the pairs of recordings with the same signal, read by ``jobs`` processes."""
    entries = list(entries)
    hashes = hash_signals(entries, jobs)
    return [(entries[first], entries[other]) for first, other in pair_copies(hashes)]


def hash_signals(entries: Iterable[Entry], jobs: int = 1) -> list[str | None]:
    """Return the `signal_hash` of each recording, None of one that cannot be read."""
    return list(Parallel(n_jobs=jobs)(delayed(_hash)(entry) for entry in entries))


def describe_copy(first: Entry, other: Entry) -> str:
    """Return one line on two recordings with the same signal."""
    whose = "one subject" if first.subject == other.subject else "two subjects"
    return f"{first.path} and {other.path} are the same recording, of {whose}"


def _hash(entry: Entry) -> str | None:
    try:
        return signal_hash(read_recording(entry.path, preload=False))
    except DataError:  # reported when it is loaded
        return None
