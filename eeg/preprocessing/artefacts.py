"""Samples and channels that cannot be EEG, found before reference and filter carry them elsewhere.

An electrode pop of one sample rings through the high-pass filter for seconds and through an average reference
into all channels.  Discharges, blinks and muscle are smaller than `ARTEFACT_LIMIT` and stay as they are: a
recording without artefacts of this size is not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import mne
import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import welch

from eeg.io.intervals import union
from eeg.io.reader import sample

ARTEFACT_LIMIT = 1e-3
"""V from the channel's level: about twice the largest discharges and blinks."""

_SCALES = 20.0  # robust scales: also beyond, so that a channel in a wrong unit is not cut to pieces
_USUAL = 3.0  # robust scales within which the signal is itself again
_LEVEL = 5  # s, an odd number of pieces of one second whose median is the level: drift stays, pops do not
_FOOT = 0.25  # of the limit, which parts of the same artefact exceed
_APART = 0.5  # s between these at most: movement crosses zero
_MARGIN = 0.02  # s on both sides
_UNEVEN = 5.0  # times the amplitude of the typical channel
_BAND = (1.0, 40.0)  # Hz, of that amplitude: without drift, the power line and most muscle
STILL = 1e-9
"""V: a change below the resolution of every recorder."""
HELD = 0.1
"""s without change, which the noise of an amplifier rules out."""


def find_artefacts(volts: np.ndarray, rate: float) -> list[tuple[int, int]]:
    """Return where a channel is further from its level than EEG can be.

    The level is a running median over five seconds, the limit `ARTEFACT_LIMIT` or 20 robust scales,
    whichever is more.  A span extends over what is beyond a quarter of that, without a break of half a
    second, to where the signal is within 3 robust scales.

    Parameters
    ----------
    volts
        (T,) one channel, continuous.
    rate
        Sampling rate, Hz.

    Returns
    -------
    (start, stop) in samples, sorted and apart.
    """
    if np.ptp(volts) + STILL <= ARTEFACT_LIMIT:
        return []
    away, scale = _deviation(volts, rate)
    limit = max(ARTEFACT_LIMIT, _SCALES * scale)
    beyond = away > limit - STILL  # whole steps of a digital recorder may add up to the limit
    if not beyond.any():
        return []
    high = np.flatnonzero(away > _FOOT * limit)
    groups = np.split(high, np.flatnonzero(np.diff(high) > _APART * rate) + 1)
    first, last = np.array([(at[0], at[-1]) for at in groups if beyond[at].any()]).T
    inside, margin = np.flatnonzero(away <= _USUAL * scale), round(_MARGIN * rate)
    before = np.r_[-1, inside][np.searchsorted(inside, first)]
    after = np.r_[inside, len(volts)][np.searchsorted(inside, last)]
    spans = np.stack([np.maximum(before + 1 - margin, 0), np.minimum(after + margin, len(volts))], axis=1)
    return [(start, stop) for start, stop in union(spans).tolist()]


def find_still(volts: np.ndarray, rate: float) -> list[tuple[int, int]]:
    """Return where a channel (T,) keeps one value for `HELD` seconds or longer, (start, stop) in samples."""
    still = runs(np.abs(np.diff(volts)) <= STILL)
    return [(start, stop + 1) for start, stop in still if stop - start >= HELD * rate]


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return where a mask (T,) is true, (start, stop) in samples."""
    padded = np.zeros(len(mask) + 2, bool)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [*zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def spans_to_bridge(volts: np.ndarray, rate: float) -> list[tuple[int, int]]:
    """Return the artefacts and the spans of one value of a channel; none if a value is not finite.

    Parameters
    ----------
    volts
        (T,) one channel, continuous.
    rate
        Sampling rate, Hz.

    Returns
    -------
    (start, stop) in samples.
    """
    if not np.isfinite(volts).all():
        return []
    return find_artefacts(volts, rate) + find_still(volts, rate)


def bridge_spans(volts: np.ndarray, rate: float, found: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return a channel with straight lines in place of spans.

    Where the level after a span differs by more than `ARTEFACT_LIMIT` from that before, as after a step, all
    that follows is moved to the level before.

    Parameters
    ----------
    volts
        (T,) one channel, continuous and finite.
    rate
        Sampling rate, Hz.
    found
        (start, stop) in samples.

    Returns
    -------
    (T,); ``volts`` itself if there is nothing to remove.
    """
    spans = union(found).tolist()
    if not spans or spans == [[0, len(volts)]]:
        return volts
    out, second = volts.copy(), max(round(rate), 1)
    for start, stop in spans:
        before, after = out[max(start - second, 0) : start], out[stop : stop + second]
        if not len(before) or not len(after):
            out[start:stop] = np.median(before if len(before) else after)
            continue
        step = np.median(after) - np.median(before)
        if abs(step) > ARTEFACT_LIMIT:
            out[stop:] -= step
        out[start:stop] = np.linspace(out[start - 1], out[stop], stop - start + 2)[1:-1]
    return out


def uneven_channels(raw: mne.io.BaseRaw, names: Sequence[str]) -> list[str]:
    """Return the channels whose amplitude is unlike that of the others, such as those of a wrong unit.

    Such a channel has more than five times the amplitude of the median channel, as recorded or against the
    median of the channels.  The amplitude is the median over up to 60 s of the root of the power from 1 to
    40 Hz.  A small amplitude is none of these faults: it harms no other channel.

    Parameters
    ----------
    raw
        A recording, V.
    names
        Its channels to compare.
    """
    volts = sample(raw)[:, [raw.ch_names.index(name) for name in names]]
    high = np.zeros(len(names), bool)
    for shown in (volts - np.median(volts, axis=1, keepdims=True), volts):
        frequency, power = welch(shown, raw.info["sfreq"], nperseg=shown.shape[2], detrend="linear")
        inside = (_BAND[0] <= frequency) & (frequency <= _BAND[1])
        amplitude = np.median(np.sqrt(power[..., inside].sum(axis=2)), axis=0)
        high |= amplitude > _UNEVEN * np.median(amplitude)
    return [name for name, found in zip(names, high, strict=True) if found]


def _deviation(volts: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """Return the distance of each sample from the level (T,), V, and the robust scale, V."""
    second = min(round(rate), len(volts))
    pieces = volts[: len(volts) // second * second].reshape(-1, second)
    medians = np.median(pieces, axis=1)
    scale = 1.4826 * float(np.median(np.abs(pieces - medians[:, None])))
    level = median_filter(medians, _LEVEL, mode="nearest")
    middle = (np.arange(len(medians)) + 0.5) * second
    return np.abs(volts - np.interp(np.arange(len(volts)), middle, level)), scale
