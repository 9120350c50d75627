"""Recordings with gaps: where they are continuous, for neither filter nor window may run over a gap.

As MNE has it, a gap is silence under the annotation ``BAD_ACQ_SKIP``: what follows stays at its own time.
"""

from collections.abc import Iterable

import mne
import numpy as np

from eeg.io.intervals import complement

GAP = "BAD_ACQ_SKIP"


def gaps(raw: mne.io.BaseRaw) -> list[tuple[int, int]]:
    """Return the gaps of a recording, of which some may overlap: samples as those of `stretches`."""
    skips = raw.annotations[raw.annotations.description == GAP]
    ends = np.stack([skips.onset, skips.onset + skips.duration], axis=1) - raw.first_time
    samples = np.clip(np.round(ends * raw.info["sfreq"]).astype(int), 0, raw.n_times)
    return [(int(start), int(stop)) for start, stop in samples]


def stretches(raw: mne.io.BaseRaw) -> list[tuple[int, int]]:
    """Return where a recording is continuous, in order: first sample, and the one after the last."""
    return complement(gaps(raw), int(raw.n_times))


def part(raw: mne.io.BaseRaw, start: int, stop: int) -> mne.io.BaseRaw:
    """Give samples of a recording, which are read from its file only now unless they are in memory."""
    cut = raw.copy().crop(start / raw.info["sfreq"], (stop - 1) / raw.info["sfreq"])
    cut.annotations.delete(np.flatnonzero(cut.annotations.description == GAP))
    return cut


def mark(raw: mne.io.BaseRaw, found: Iterable[tuple[int, int]]) -> None:
    """Annotate samples of a recording as gaps, in place."""
    for start, stop in found:
        onset = raw.first_time + start / raw.info["sfreq"]
        raw.annotations.append(onset, (stop - start) / raw.info["sfreq"], GAP)


def without_short(raw: mne.io.BaseRaw, seconds: float) -> mne.io.BaseRaw:
    """Return a recording whose stretches of less than so many seconds count as gaps too."""
    least = seconds * raw.info["sfreq"]
    short = [(start, stop) for start, stop in stretches(raw) if stop - start < least]
    if not short:
        return raw
    marked = raw.copy()
    mark(marked, short)
    return marked


def looks(raw: mne.io.BaseRaw, size: int, most: int) -> np.ndarray:
    """Choose up to ``most`` starts of stretches of ``size`` samples, evenly over what was recorded."""
    starts = [np.arange(start, stop - size + 1, size) for start, stop in stretches(raw)]
    every = np.concatenate([*starts, np.empty(0, int)])
    if not every.size:  # nothing is as long: where the longest begins
        return np.array([max(stretches(raw), key=lambda found: found[1] - found[0], default=(0, 0))[0]])
    return np.asarray(every[np.linspace(0, every.size - 1, min(most, every.size)).astype(int)])
