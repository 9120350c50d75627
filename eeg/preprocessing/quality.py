"""Flaws of a recording: flat and outlying channels, flat and clipped spans, line noise, muscle and blinks.

Detection uses MNE's functions where there are any, in blocks, so that a day needs no more memory than an
hour.  A spike can look like a blink: by default only what cannot be EEG is excluded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import mne
import numpy as np
import scipy.fft
from mne.preprocessing import find_bad_channels_lof, peak_finder
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import periodogram

from eeg.io.gaps import sample_starts
from eeg.io.intervals import covered, union
from eeg.io.reader import recording_file
from eeg.preprocessing.artefacts import (
    STILL,
    bridge_spans,
    find_artefacts,
    find_still,
    runs,
    uneven_channels,
)
from eeg.preprocessing.fir import design, filter_signals
from eeg.preprocessing.interpolation import INTERPOLATED, missing_channels
from eeg.preprocessing.pipeline import FLAT
from eeg.preprocessing.recording import BLOCK, Recording
from trainers.errors import DataError

Kind = Literal["flat", "clipped", "artefact", "muscle", "blink"]

Policy = Literal["keep", "exclude", "strict"]

EXCLUDED: Mapping[Policy, tuple[Kind, ...]] = {
    "keep": (),
    "exclude": ("flat", "clipped", "artefact"),
    "strict": ("flat", "clipped", "artefact", "muscle", "blink"),
}
"""The flaws that a window may not touch: none, what cannot be EEG, or all."""

MIN_CLEAN_FRACTION = 0.5
"""Fraction of a recording that must be left."""

_MOSTLY = 0.5  # of a block: a channel flat for longer is a flat channel
_RAIL = 3  # times in a block that a channel stays at the same extreme, 3 samples or longer
_MUSCLE = (
    70.0,
    115.0,
)  # Hz, above all rhythms and discharges and between the harmonics of both line frequencies
_MUSCLE_WIDTH = 15.0  # Hz of that band that the sampling rate must leave
_MUSCLE_Z, _MUSCLE_SMOOTH, _MUSCLE_FREE = 4.0, 4.0, 0.1  # MNE's threshold; Hz; s without muscle between spans
_STOP = 0.01  # gain of a stop band
_BLINK = 8.0  # robust deviations at the eyes: MNE's threshold alone finds blinks in any recording
_BLINKING = 0.25  # s on either side of the peak
_BLINK_RATE = 200.0  # Hz, at least: blinks are looked for from 1 to 10 Hz
_EYES = (("Fp1", "Fp2"), ("AF3", "AF4"), ("F7", "F8"))
_LINE_FREQUENCIES = (50.0, 60.0)  # Hz
_LOWEST = 1.0  # Hz, of the power that line noise is a fraction of
_NEIGHBOURS = 10  # channels that each is compared with
_OUTLIER = 3.0  # local outlier factor (Breunig et al. 2000)
_LOOK, _LOOKS = 60.0, 10  # s of the recording that are compared, and in how many pieces


@dataclass(frozen=True)
class Flaw:
    """A flawed span of a recording: onset from its start and duration, s."""

    kind: Kind
    onset: float
    duration: float


@dataclass(frozen=True)
class Quality:
    """What was found in the signal of a recording.

    Parameters
    ----------
    seconds
        Duration without gaps.
    flat, outlying
        Electrodes that are flat, or unlike all others.
    line
        Fraction of the power above 1 Hz that is within 1 Hz of 50 or of 60 Hz, whichever is more, in the
        median channel; None if the sampling rate is too low.
    looked_for
        The kinds of flaws that the recording allows to detect.
    flaws
        The flawed spans.
    not_finite
        Channels, also unused ones, with a value that is NaN or infinite.
    uneven
        Electrodes whose amplitude no gain of a working channel explains; see `uneven_channels`.
    """

    seconds: float
    flat: tuple[str, ...]
    outlying: tuple[str, ...]
    line: float | None
    looked_for: tuple[Kind, ...]
    flaws: tuple[Flaw, ...]
    not_finite: tuple[str, ...] = ()  # absent from files of older versions
    uneven: tuple[str, ...] = ()  # likewise

    def spans(self, kinds: Sequence[Kind]) -> tuple[np.ndarray, np.ndarray]:
        """Return onsets and durations (M,) each, s, of the flaws of these kinds."""
        found = [(flaw.onset, flaw.duration) for flaw in self.flaws if flaw.kind in kinds]
        onset, duration = np.array(found, dtype=float).reshape(-1, 2).T
        return onset, duration

    def fraction(self, kind: Kind) -> float:
        """Return the fraction of the recording's time in which any channel has a flaw of a kind."""
        onset, duration = self.spans([kind])
        return covered(np.stack([onset, onset + duration], axis=1)) / self.seconds

    @property
    def flagged(self) -> str:
        """The flaws in one line, "" if there are none."""
        lines = [f"flat: {', '.join(self.flat)}"] if self.flat else []
        lines += [f"not finite: {', '.join(self.not_finite)}"] if self.not_finite else []
        lines += [f"amplitude unlike that of the others: {', '.join(self.uneven)}"] if self.uneven else []
        lines += [f"unlike all others: {', '.join(self.outlying)}"] if self.outlying else []
        fractions = {kind: self.fraction(kind) for kind in self.looked_for}
        lines += [f"{kind} for {part:.1%} of the time" for kind, part in fractions.items() if part]
        return "; ".join(lines)


def examine(recording: Recording, channels: Sequence[str]) -> Quality:
    """Find the flaws of a recording.

    Parameters
    ----------
    recording
        The recording, which is not changed.
    channels
        The electrodes to examine.  Those that are missing or marked as bad are skipped.
    """
    raw, seconds, rate = recording.raw, recording.seconds, recording.raw.info["sfreq"]
    present = [name for name in channels if name not in missing_channels(raw, channels)]
    low, high = (dict(zip(raw.ch_names, v, strict=True)) for v in recording.extremes(raw.ch_names))
    not_finite = tuple(name for name in raw.ch_names if not np.isfinite([low[name], high[name]]).all())
    dead = {name for name in present if high[name] < low[name] + FLAT}
    names = [name for name in present if name not in {*dead, *not_finite}]
    if not names:
        return Quality(seconds, tuple(name for name in present if name in dead), (), None, (), (), not_finite)
    uneven = uneven_channels(raw, names)
    names = [name for name in names if name not in uneven]
    flaws: list[Flaw] = []
    flat_in: Counter[str] = Counter()
    spectra = []
    with mne.use_log_level("error"):
        pieces = 0
        for start, volts in _pieces(recording, names):
            spectra.append(_spectrum(volts, rate))
            still = [find_still(channel, rate) for channel in volts]
            large = [find_artefacts(channel, rate) for channel in volts]
            flat = [_length(spans) >= _MOSTLY * volts.shape[1] for spans in still]
            partly = [span for spans, dead in zip(still, flat, strict=True) if not dead for span in spans]
            found = _flaws("flat", union(partly).tolist(), rate)
            found += find_clipped(volts, rate)
            found += _flaws("artefact", [span for spans in large for span in spans], rate)
            alive = np.flatnonzero(~np.array(flat))
            if alive.size:
                # Noise of the recorder's reference, in all channels at once, would pass for muscle.
                clean = np.stack([bridge_spans(volts[i], rate, large[i] + still[i]) for i in alive])
                clean -= clean.mean(axis=0)
                found += _muscle(clean, rate)
                found += _blinks(clean, [names[i] for i in alive], rate)
            flaws += [Flaw(flaw.kind, start + flaw.onset, flaw.duration) for flaw in found]
            flat_in.update(name for name, dead in zip(names, flat, strict=True) if dead)
            pieces += 1
        dead |= {name for name, count in flat_in.items() if 2 * count > pieces}
        outlying = _outlying(recording, [name for name in names if name not in dead])
    looked_for: list[Kind] = ["flat", "clipped", "artefact"]
    looked_for += ["muscle"] if _muscle_band(rate) else []
    looked_for += ["blink"] if _eyes(names) else []
    return Quality(
        seconds=seconds,
        flat=tuple(name for name in present if name in dead),
        outlying=tuple(outlying),
        line=_line_fraction(np.mean(spectra, axis=0), rate),
        looked_for=tuple(looked_for),
        flaws=tuple(sorted(flaws, key=lambda flaw: flaw.onset)),
        not_finite=not_finite,
        uneven=tuple(uneven),
    )


def mark_bad(recording: Recording, quality: Quality, channels: Sequence[str]) -> Recording:
    """Return the recording with flat, non-finite and uneven channels marked as bad, to be interpolated.

    If these are too many of ``channels``, none is marked, for `clean` to refuse the recording.

    Raises
    ------
    DataError
        These are too many because of uneven channels.
    """
    marked = recording.raw.copy()
    bads = [*marked.info["bads"], *quality.flat, *quality.not_finite, *quality.uneven]
    marked.info["bads"] = list(dict.fromkeys(bads))
    absent, limit = missing_channels(marked, channels), round(INTERPOLATED * len(channels))
    if len(absent) > limit:
        if not quality.uneven:
            return recording
        raise DataError(
            f"{recording_file(marked)}: the amplitude of {', '.join(quality.uneven)} is more than 5 times "
            f"that of the others; with these, {len(absent)} of {len(channels)} channels "
            f"cannot be used, of which {limit} may be interpolated; fix their unit or gain in the file"
        )
    return replace(recording, raw=marked)


def _pieces(recording: Recording, names: Sequence[str]) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the start, s, and the signals (C, T), V, of blocks of a recording, none across a gap.

    Their constants are taken off: no flaw depends on them.
    """
    rate, step = recording.raw.info["sfreq"], round(BLOCK * recording.raw.info["sfreq"])
    for begin, end in recording.stretches:
        starts = range(begin, max(end - step // 2, begin + 1), step)
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            yield start / rate, recording.signals(names, start, stop)[0]


def _flaws(kind: Kind, spans: Iterable[tuple[int, int]], rate: float) -> list[Flaw]:
    return [Flaw(kind, start / rate, (stop - start) / rate) for start, stop in spans]


def _length(spans: Iterable[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in spans)


def find_clipped(volts: np.ndarray, rate: float) -> list[Flaw]:
    """Return where a channel of (C, T), V, stays at an end of its range that it reaches more than once."""
    held = []
    for channel in volts:
        for at_end in (channel <= channel.min() + STILL, channel >= channel.max() - STILL):
            spans = [(start, stop) for start, stop in runs(at_end) if stop - start >= _RAIL]
            held += spans if len(spans) >= _RAIL else []
    return _flaws("clipped", held, rate)


def _muscle_band(rate: float) -> tuple[float, float] | None:
    """Return the band of muscle without brain activity, Hz; None if the sampling rate is too low for it."""
    low, high = _MUSCLE
    return (low, min(high, 0.45 * rate)) if 0.45 * rate >= low + _MUSCLE_WIDTH else None


def _muscle(volts: np.ndarray, rate: float) -> list[Flaw]:
    """Return where the mean over channels of the standardised envelope in the band of muscle is high.

    As `mne.preprocessing.annotate_muscle_zscore`, but the envelope is computed at the rate of its band.
    """
    band = _muscle_band(rate)
    if band is None:
        return []
    envelope, rate = _envelope(volts, rate, band)
    mean, deviation = envelope.mean(axis=1), envelope.std(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # not a number where channels are equal
        score = (envelope / deviation[:, None]).sum(axis=0) - (mean / deviation).sum()
    score = filter_signals(score[None] / np.sqrt(len(envelope)), design(rate, None, _MUSCLE_SMOOTH))[0]
    pause = math.ceil(_MUSCLE_FREE * rate) - 1  # samples without muscle that belong to a span
    joined = union([(start, stop + pause) for start, stop in runs(score > _MUSCLE_Z)])
    return _flaws("muscle", [(start, stop - pause) for start, stop in joined.tolist()], rate)


def _envelope(volts: np.ndarray, rate: float, band: tuple[float, float]) -> tuple[np.ndarray, float]:
    """Return the envelope of signals (C, T) in a band, (C, M), and its sampling rate, Hz.

    Its unit is that of the signals times a constant, as it is compared with itself.  The analytic signal is
    the inverse transform of the band alone, at the rate of its width.
    """
    response = design(rate, *band)
    edge = min(len(response), volts.shape[1] - 1)
    padded = np.pad(volts, ((0, 0), (edge, edge)), "reflect", reflect_type="odd")
    length = scipy.fft.next_fast_len(padded.shape[1], real=True)
    gain = np.abs(scipy.fft.rfft(response, length)).astype(volts.dtype)
    inside = np.flatnonzero(gain > _STOP)
    count = scipy.fft.next_fast_len(int(np.ptp(inside)) + 1)
    first = min(inside[0], len(gain) - count)
    gain[gain <= _STOP] = 0
    spectrum = scipy.fft.rfft(padded, length)[:, first : first + count] * gain[first : first + count]
    envelope = np.abs(scipy.fft.ifft(spectrum))
    start, stop = (round(at * count / length) for at in (edge, edge + volts.shape[1]))
    return envelope[:, start:stop], rate * count / length


def _eyes(names: Sequence[str]) -> list[str]:
    """Return the pair of electrodes nearest to the eyes, empty if there is none."""
    return next((list(pair) for pair in _EYES if set(pair) <= set(names)), [])


def _blinks(volts: np.ndarray, names: Sequence[str], rate: float) -> list[Flaw]:
    eyes = _eyes(names)
    if not eyes:
        return []
    pair = volts[[names.index(name) for name in eyes]]
    if (factor := int(rate // _BLINK_RATE)) > 1:
        pair, rate = mne.filter.resample(pair.astype(float), 1, factor, method="polyphase"), rate / factor
    slow = filter_signals(pair, design(rate, 1, 10))
    usual = 1.4826 * float(np.median(np.abs(slow), axis=1).max())
    threshold = max(_BLINK * usual, float(np.ptp(slow)) / 4)  # the latter is MNE's default
    peaks = _eog_peaks(pair, rate, threshold)
    # MNE measures a peak from the trough before it, and so takes the filter's rebound for a blink.
    peaks = peaks[np.abs(slow[:, peaks]).max(axis=0) >= threshold]
    onsets = np.maximum(peaks / rate - _BLINKING, 0)
    return [Flaw("blink", float(onset), 2 * _BLINKING) for onset in onsets]


def _eog_peaks(pair: np.ndarray, rate: float, threshold: float) -> np.ndarray:
    """Return the peaks, in samples, of the one of two signals (2, T) with more power from 2 to 45 Hz.

    As `mne.preprocessing.find_eog_events`, whose time is that of the design of its filters.
    """
    taps = min(round(10 * rate), pair.shape[1])  # MNE's length, at most the piece's
    edges = {"l_trans_bandwidth": 0.5, "h_trans_bandwidth": 0.5}
    window = {"phase": "zero-double", "fir_window": "hann", "fir_design": "firwin2"}
    bands = ((2, min(45, rate / 2 - 0.75)), (1, 10))
    broad, narrow = (design(rate, *band, filter_length=taps, **edges, **window) for band in bands)
    power = np.square(filter_signals(pair, broad)).sum(axis=1)
    wave = filter_signals(pair[[power.argmax()]], narrow)[0].astype(float)
    away = wave - wave.mean()
    peaks, _ = peak_finder(wave, threshold, 1 if away.max() > -away.min() else -1)
    return np.asarray(peaks)


def _spectrum(volts: np.ndarray, rate: float) -> np.ndarray:
    """Return the power of the channels at multiples of half a hertz, (C, F), over the first minute."""
    volts = volts[:, : round(_LOOK * rate)]
    size = min(round(2 * rate), volts.shape[1])
    pieces = sliding_window_view(volts, size, axis=1)[:, :: size - size // 2]
    return np.asarray(periodogram(pieces, rate, "hann")[1].mean(axis=1))  # as Welch 1967, in one call


def _line_fraction(spectrum: np.ndarray, rate: float) -> float | None:
    frequency = np.linspace(0, rate / 2, spectrum.shape[1])
    total = spectrum[:, frequency >= _LOWEST].sum(axis=1)
    lines = [line for line in _LINE_FREQUENCIES if line + 1 <= rate / 2]
    fractions = [spectrum[:, np.abs(frequency - line) <= 1].sum(axis=1) / total for line in lines]
    return float(max(np.median(part) for part in fractions)) if fractions else None


def _outlying(recording: Recording, names: list[str]) -> list[str]:
    """Return the channels that are unlike all others; equal channels are one.

    Among channels with so many equal ones, a local outlier factor does not exist: their distance is zero.
    """
    if len(names) <= _NEIGHBOURS:
        return []
    raw = recording.raw
    size = round(_LOOK / _LOOKS * raw.info["sfreq"])
    starts = sample_starts(recording.stretches, size, _LOOKS)
    seen = [raw.get_data(names, start, start + size) for start in starts]
    volts = np.concatenate(seen, axis=1)
    first: dict[bytes, int] = {}  # channel by its values; adding 0 makes -0 equal to it
    same = [first.setdefault((row + 0).tobytes(), i) for i, row in enumerate(np.round(volts / FLAT))]
    each = [*first.values()]
    if len(each) <= _NEIGHBOURS:
        return []
    info = mne.create_info([names[i] for i in each], raw.info["sfreq"], "eeg")
    outlying = find_bad_channels_lof(mne.io.RawArray(volts[each], info), _NEIGHBOURS, threshold=_OUTLIER)
    return [name for name, i in zip(names, same, strict=True) if names[i] in outlying]
