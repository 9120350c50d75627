"""A recording, its continuous stretches and the range of its channels: scanned once, before cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import mne
import numpy as np
from scipy.signal import resample_poly

from eeg import large_arrays
from eeg.datasets.fingerprint import file_hash
from eeg.io.edf_samples import EdfRaw
from eeg.io.gaps import stretches
from eeg.io.header import Header
from eeg.io.reader import from_raw, read_with_header, reading_signals, recording_file

_TAPS = 20  # samples of the lower rate on either side of a block, beyond the decimation filter's reach
BLOCK = 600.0
"""Seconds of a recording that are in memory at once."""


@dataclass(frozen=True)
class Recording:
    """A recording, where it is continuous, and the range of its channels there.

    Parameters
    ----------
    raw
        Scalp electrodes in volts, as `eeg.io.reader.read_recording` returns them.
    stretches
        Where it is continuous, (start, stop) in samples, sorted.
    low, high
        (S, C) the least and the greatest value of each channel in each stretch, V; NaN where one is not a
        number.
    header
        The facts of its header, None if it was not read.
    digest
        Hash of its file, None without a file.
    """

    raw: mne.io.BaseRaw
    stretches: tuple[tuple[int, int], ...]
    low: np.ndarray
    high: np.ndarray
    header: Header | None = None
    digest: str | None = None

    @classmethod
    def scan(cls, raw: mne.io.BaseRaw, header: Header | None = None, digest: str | None = None) -> Self:
        """Scan a recording in blocks."""
        found = tuple(stretches(raw))
        step = round(BLOCK * raw.info["sfreq"])
        low = np.full((len(found), len(raw.ch_names)), np.inf)
        high = -low
        for i, (begin, end) in enumerate(found):
            for start in range(begin, end, step):
                stop = min(start + step, end)
                with reading_signals(Path(recording_file(raw))):
                    volts = raw._data[:, start:stop] if raw.preload else raw.get_data(start=start, stop=stop)
                low[i] = np.minimum(low[i], volts.min(axis=1))
                high[i] = np.maximum(high[i], volts.max(axis=1))
        return cls(raw, found, low, high, header, digest)

    def extremes(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest value of channels, (C,) each, V."""
        index = [self.raw.ch_names.index(name) for name in names]
        low = self.low[:, index].min(axis=0, initial=np.inf)
        return low, self.high[:, index].max(axis=0, initial=-np.inf)

    def signals(self, names: Sequence[str], start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return channels in single precision, which their constants would exhaust, and these.

        Parameters
        ----------
        names
            The channels.
        start, stop
            Samples.

        Returns
        -------
        volts
            (C, T) float32, above the first value of each channel.
        level
            (C,) these values; 0 where one is not finite.
        """
        picks = [self.raw.ch_names.index(name) for name in names]
        if isinstance(self.raw, EdfRaw) and not self.raw.preload:
            volts = self.raw.read_single(picks, start, stop)
            first = volts[:, :1].copy()
            volts -= first
            return volts, first[:, 0].astype(float)
        if self.raw.preload:  # without a copy, which MNE has no other access for
            rows = [self.raw._data[i, start:stop] for i in picks]
        else:
            rows = [*self.raw.get_data(picks, start, stop)]
        level = np.nan_to_num([row[0] for row in rows], nan=0.0, posinf=0.0, neginf=0.0)
        volts = np.empty((len(rows), stop - start), np.float32)
        for channel, row, constant in zip(volts, rows, level, strict=True):
            np.subtract(row, constant, out=channel, casting="same_kind")
        return volts, level

    def slowed(self, rate: float) -> Self:
        """Return it at the lowest rate not below ``rate`` that divides its own; itself if there is none.

        Each stretch is decimated separately, in blocks, by a linear-phase FIR filter.
        """
        raw, factor = self.raw, int(self.raw.info["sfreq"] // rate)
        if factor < 2:
            return self
        step = factor * round(BLOCK * raw.info["sfreq"] / factor)
        margin = factor * _TAPS
        out = large_arrays.zeros((len(raw.ch_names), -(-raw.n_times // factor)), np.float64)
        for begin, end in self.stretches:
            for start in range(-(-begin // factor) * factor, end, step):
                before, after = min(margin, (start - begin) // factor * factor), min(start + step, end)
                volts = raw.get_data(start=start - before, stop=min(after + margin, end))
                slow = resample_poly(volts, 1, factor, axis=1, padtype="line")
                at, count = start // factor, -(-(after - start) // factor)
                out[:, at : at + count] = slow[:, before // factor :][:, :count]
            large_arrays.release(out)
        second = raw.copy().crop(0, min(1, raw.times[-1])).load_data(verbose="error")
        info = second.resample(raw.info["sfreq"] / factor, verbose="error").info
        return type(self).scan(with_facts_of(raw, out, info), self.header, self.digest)

    def without_short(self, seconds: float) -> Self:
        """Return it without stretches shorter than ``seconds``."""
        least = seconds * self.raw.info["sfreq"]
        kept = [i for i, (start, stop) in enumerate(self.stretches) if stop - start >= least]
        stretches = tuple(self.stretches[i] for i in kept)
        return replace(self, stretches=stretches, low=self.low[kept], high=self.high[kept])

    def without_channels(self, names: Sequence[str]) -> Self:
        """Return it without some of its channels."""
        kept = [i for i, name in enumerate(self.raw.ch_names) if name not in names]
        raw = self.raw.copy().drop_channels(list(names))
        return replace(self, raw=raw, low=self.low[:, kept], high=self.high[:, kept])

    @property
    def longest(self) -> float:
        """Duration of the longest stretch, s."""
        return max((stop - start for start, stop in self.stretches), default=0) / float(
            self.raw.info["sfreq"]
        )

    @property
    def seconds(self) -> float:
        """Duration without gaps, s."""
        return sum(stop - start for start, stop in self.stretches) / float(self.raw.info["sfreq"])


class SingleRaw(mne.io.BaseRaw):  # type: ignore[misc]  # MNE has no types
    """Signals (C, T) float32, V, as a recording: in memory, MNE has double precision only."""

    def __init__(self, signals: np.ndarray, info: mne.Info, first: int = 0) -> None:
        info = info.copy()
        for channel in info["chs"]:
            channel["cal"] = channel["range"] = 1.0  # of the file that they come from
        super().__init__(
            info,
            first_samps=[first],
            last_samps=[first + signals.shape[1] - 1],
            filenames=[None],
            raw_extras=[{"signals": signals, "first": first}],
            orig_format="single",
            verbose="error",
        )

    @property
    def signals(self) -> np.ndarray:
        """The signals themselves, not to be changed."""
        signals: np.ndarray = self._raw_extras[0]["signals"]
        return signals

    def _read_segment_file(
        self, data: np.ndarray, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        """Fill ``data`` with samples ``start`` to ``stop``, as MNE requires of readers."""
        signals, first = (self._raw_extras[fi][name] for name in ("signals", "first"))
        rows = signals[idx, start - first : stop - first]
        data[:] = rows if mult is None else mult @ rows


def with_facts_of(raw: mne.io.BaseRaw, data: np.ndarray, info: mne.Info) -> mne.io.BaseRaw:
    """Return signals (C, T), V, as a recording with the file, the start and the annotations of ``raw``."""
    first = round(raw.first_samp * info["sfreq"] / raw.info["sfreq"])
    if data.dtype == np.float32:
        made = SingleRaw(data, info, first)
    else:
        made = mne.io.RawArray(data, info, first, "auto", verbose="error")
    made.filenames = raw.filenames
    notes = raw.annotations
    onset = notes.onset - raw.first_time  # to which MNE adds that of the new recording
    return made.set_annotations(mne.Annotations(onset, notes.duration, notes.description), verbose="error")


def open_recording(source: str | Path | mne.io.BaseRaw, *, ears: bool = False) -> Recording:
    """Open a recording, and scan it.

    Parameters
    ----------
    source
        A file, or a recording that MNE opened, which is not changed.
    ears
        Whether to keep the electrodes at the ears or mastoids.

    Raises
    ------
    DataError
        As `eeg.io.reader.read_recording`.
    TypeError
        If ``source`` is neither a path nor a recording.
    """
    if isinstance(source, mne.io.BaseRaw):
        return Recording.scan(*from_raw(source, ears=ears))
    if not isinstance(source, str | Path):
        raise TypeError(f"recording is a {type(source).__name__}; expected a path or an mne.io.Raw")
    raw, header = read_with_header(Path(source), ears=ears)
    return Recording.scan(raw, header, file_hash(Path(source)))
