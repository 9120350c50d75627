"""Flaws of a recording: flat and outlying channels, flat and clipped spans, line noise, muscle and blinks.

Detection uses MNE's functions where there are any, in blocks, so that a day needs no more memory than an
hour.  A spike can look like a blink: by default only what cannot be EEG is excluded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import mne
import numpy as np
from mne.preprocessing import (
    annotate_amplitude,
    annotate_muscle_zscore,
    find_bad_channels_lof,
    find_eog_events,
)
from scipy.ndimage import find_objects, label
from scipy.signal import welch

from eeg.io.gaps import sample_starts
from eeg.io.intervals import covered
from eeg.io.reader import recording_file
from eeg.preprocessing.artefacts import HELD, STILL, find_artefacts, remove_artefacts, uneven_channels
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

_MOSTLY = 50.0  # percent of a block: a channel flat for longer is a flat channel
_RAIL = 3  # times in a block that a channel stays at the same extreme, 3 samples or longer
_MUSCLE = (
    70.0,
    115.0,
)  # Hz, above all rhythms and discharges and between the harmonics of both line frequencies
_MUSCLE_WIDTH = 15.0  # Hz of that band that the sampling rate must leave
_MUSCLE_Z = 4.0  # MNE's default
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
        for start, piece in _pieces(recording, names):
            spectra.append(_spectrum(piece))
            still, flat = _still(piece)
            found = [*still, *find_clipped(piece.get_data(), rate), *_artefacts(piece)]
            if len(flat) < len(names):
                # Noise of the recorder's reference, in all channels at once, would pass for muscle.
                piece.drop_channels(flat).apply_function(remove_artefacts, rate=rate)
                piece.set_eeg_reference("average")
                found += [*_muscle(piece), *_blinks(piece)]
            flaws += [Flaw(flaw.kind, start + flaw.onset, flaw.duration) for flaw in found]
            flat_in.update(flat)
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


def _pieces(recording: Recording, names: Sequence[str]) -> Iterator[tuple[float, mne.io.BaseRaw]]:
    """Yield blocks of a recording in memory, none across a gap, each with its start, s."""
    raw = recording.raw
    rate, step = raw.info["sfreq"], round(BLOCK * raw.info["sfreq"])
    info = mne.create_info(list(names), rate, "eeg")
    for begin, end in recording.stretches:
        starts = range(begin, max(end - step // 2, begin + 1), step)
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            yield start / rate, mne.io.RawArray(raw.get_data(list(names), start, stop), info)


def _flaws(kind: Kind, annotations: mne.Annotations) -> list[Flaw]:
    return [Flaw(kind, float(a["onset"]), float(a["duration"])) for a in annotations]


def _still(piece: mne.io.BaseRaw) -> tuple[list[Flaw], list[str]]:
    """Return where a channel keeps one value, and the channels that do for most of the time."""
    annotations, flat = annotate_amplitude(
        piece, flat=STILL, bad_percent=_MOSTLY, min_duration=min(HELD, piece.times[-1] / 2)
    )
    return _flaws("flat", annotations), flat


def _artefacts(piece: mne.io.BaseRaw) -> list[Flaw]:
    rate = piece.info["sfreq"]
    spans = [span for volts in piece.get_data() for span in find_artefacts(volts, rate)]
    return [Flaw("artefact", start / rate, (stop - start) / rate) for start, stop in spans]


def find_clipped(volts: np.ndarray, rate: float) -> list[Flaw]:
    """Return where a channel of (C, T), V, stays at an end of its range that it reaches more than once."""
    found = []
    for channel in volts:
        for end in (channel.min(), channel.max()):
            at = [span for (span,) in find_objects(label(np.abs(channel - end) <= STILL)[0])]
            held = [span for span in at if span.stop - span.start >= _RAIL]
            if len(held) >= _RAIL:
                found += [Flaw("clipped", s.start / rate, (s.stop - s.start) / rate) for s in held]
    return found


def _muscle_band(rate: float) -> tuple[float, float] | None:
    """Return the band of muscle without brain activity, Hz; None if the sampling rate is too low for it."""
    low, high = _MUSCLE
    return (low, min(high, 0.45 * rate)) if 0.45 * rate >= low + _MUSCLE_WIDTH else None


def _muscle(piece: mne.io.BaseRaw) -> list[Flaw]:
    band = _muscle_band(piece.info["sfreq"])
    if band is None:
        return []
    annotations, _ = annotate_muscle_zscore(piece, threshold=_MUSCLE_Z, ch_type="eeg", filter_freq=band)
    return _flaws("muscle", annotations)


def _eyes(names: Sequence[str]) -> list[str]:
    """Return the pair of electrodes nearest to the eyes, empty if there is none."""
    return next((list(pair) for pair in _EYES if set(pair) <= set(names)), [])


def _blinks(piece: mne.io.BaseRaw) -> list[Flaw]:
    eyes = _eyes(piece.ch_names)
    if not eyes:
        return []
    # MNE convolves its long filter in time, which grows with the square of the rate.
    piece = piece.copy().pick(eyes)
    if (factor := int(piece.info["sfreq"] // _BLINK_RATE)) > 1:
        piece.resample(piece.info["sfreq"] / factor, method="polyphase")
    slow = piece.copy().filter(1, 10).get_data()
    usual = 1.4826 * float(np.median(np.abs(slow), axis=1).max())
    threshold = max(_BLINK * usual, float(np.ptp(slow)) / 4)  # the latter is MNE's default
    # MNE's length, ten seconds rounded up to a power of 2, but at most the piece's.
    taps = min(2 ** int(np.ceil(np.log2(10 * piece.info["sfreq"]))), piece.n_times)
    peaks = find_eog_events(piece, ch_name=eyes, thresh=threshold, filter_length=taps)[:, 0]
    # MNE measures a peak from the trough before it, and so takes the filter's rebound for a blink.
    peaks = peaks[np.abs(slow[:, peaks]).max(axis=0) >= threshold]
    onsets = np.maximum(peaks / piece.info["sfreq"] - _BLINKING, 0)
    return [Flaw("blink", float(onset), 2 * _BLINKING) for onset in onsets]


def _spectrum(piece: mne.io.BaseRaw) -> np.ndarray:
    """Return the power of the channels at multiples of half a hertz, (C, F)."""
    rate = piece.info["sfreq"]
    return welch(piece.get_data(), rate, nperseg=min(round(2 * rate), piece.n_times))[1]


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
    _, first, same = np.unique(np.round(volts / FLAT), axis=0, return_index=True, return_inverse=True)
    if len(first) <= _NEIGHBOURS:
        return []
    each = np.sort(first)
    info = mne.create_info([names[i] for i in each], raw.info["sfreq"], "eeg")
    outlying = find_bad_channels_lof(mne.io.RawArray(volts[each], info), _NEIGHBOURS, threshold=_OUTLIER)
    return [name for name, i in zip(names, same, strict=True) if names[first[i]] in outlying]
