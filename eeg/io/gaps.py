"""Gaps of recordings, and the continuous stretches between them, which filters and windows never cross.

Following MNE, a gap is zeros under the annotation ``BAD_ACQ_SKIP``: what follows keeps its time.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import mne
import numpy as np

from eeg.io.intervals import complement

GAP = "BAD_ACQ_SKIP"


def gaps(raw: mne.io.BaseRaw) -> list[tuple[int, int]]:
    """Return the gaps of a recording, (start, stop) in samples; some may overlap."""
    skips = raw.annotations[raw.annotations.description == GAP]
    ends = np.stack([skips.onset, skips.onset + skips.duration], axis=1) - raw.first_time
    samples = np.clip(np.round(ends * raw.info["sfreq"]).astype(int), 0, raw.n_times)
    return [(int(start), int(stop)) for start, stop in samples]


def stretches(raw: mne.io.BaseRaw) -> list[tuple[int, int]]:
    """Return the continuous stretches of a recording, (start, stop) in samples, sorted."""
    return complement(gaps(raw), int(raw.n_times))


def crop_samples(raw: mne.io.BaseRaw, start: int, stop: int) -> mne.io.BaseRaw:
    """Return the samples from ``start`` to ``stop`` of a recording, in memory and without annotations."""
    cut = mne.io.RawArray(raw.get_data(start=start, stop=stop), raw.info, verbose="error")
    cut.filenames = raw.filenames
    return cut


def mark_gaps(raw: mne.io.BaseRaw, spans: Iterable[tuple[int, int]]) -> None:
    """Annotate spans of samples as gaps, in place."""
    for start, stop in spans:
        onset = raw.first_time + start / raw.info["sfreq"]
        raw.annotations.append(onset, (stop - start) / raw.info["sfreq"], GAP)


def sample_starts(stretches: Sequence[tuple[int, int]], size: int, most: int) -> np.ndarray:
    """Return up to ``most`` starts of pieces of ``size`` samples, evenly spaced over the stretches."""
    starts = [np.arange(start, stop - size + 1, size) for start, stop in stretches]
    every = np.concatenate([*starts, np.empty(0, int)])
    if not every.size:  # no stretch is as long: the start of the longest
        return np.array([max(stretches, key=lambda span: span[1] - span[0], default=(0, 0))[0]])
    return np.asarray(every[np.linspace(0, every.size - 1, min(most, every.size)).astype(int)])


class SpreadRaw(mne.io.BaseRaw):  # type: ignore[misc]  # MNE has no types
    """Stretches of a recording, which follow each other in its file, at their times, with zeros between them.

    Parameters
    ----------
    records
        The recording as it is in the file.
    places, lengths
        (S,) start in time and length of each stretch, in samples.
    """

    def __init__(self, records: mne.io.BaseRaw, places: np.ndarray, lengths: np.ndarray) -> None:
        super().__init__(
            records.info.copy(),
            last_samps=[int(places[-1] + lengths[-1]) - 1],
            filenames=records.filenames,
            raw_extras=[{"records": records, "places": places, "lengths": lengths}],
            verbose="error",
        )

    def _read_segment_file(
        self, data: np.ndarray, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        """Fill ``data`` with samples ``start`` to ``stop``, as MNE requires of readers."""
        data[:] = 0
        extras = self._raw_extras[fi]
        records, places, lengths = (extras[name] for name in ("records", "places", "lengths"))
        for place, length, end in zip(places, lengths, np.cumsum(lengths), strict=True):
            low, high = max(start, place), min(stop, place + length)
            if low < high:
                shift = end - length - place  # from time to position in the file
                data[:, low - start : high - start] = records[idx, low + shift : high + shift][0]
