"""From a recording to a network's input: reference, filter, sampling rate and scale.

Long recordings are filtered in blocks that overlap by more than the filters reach, so that the seams have no
effect and memory does not grow with the length.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Self

import mne
import numpy as np

from eeg import large_arrays
from eeg.datasets.seizure_words import AUTO
from eeg.io.electrodes import EARS, scalp_names
from eeg.io.gaps import GAP, mark_gaps
from eeg.io.reader import recording_file
from eeg.preprocessing.artefacts import bridge_spans, spans_to_bridge
from eeg.preprocessing.fir import filter_signals
from eeg.preprocessing.interpolation import complete_channels, missing_channels
from eeg.preprocessing.recording import BLOCK, Recording, SingleRaw, with_facts_of
from eeg.preprocessing.reference import Reference, input_channels, rereference
from trainers.errors import DataError

_TRANSITION = 5.0  # Hz above the pass band: at 45 Hz every power-line frequency is in the stop band
_NARROWEST = 1.0  # Hz between the pass band and the Nyquist frequency
_KERNEL = 3.3  # s Hz: length of MNE's Hamming FIR times its transition width
_NOTCH_TRANSITION = 0.5  # Hz on either side of a notch, MNE's default
_FASTEST = 20_000.0  # Hz
_SLOWEST_LINE = 10.0  # Hz: railways have 16.7
_LARGEST_SCALE = 1e12
_MOST_WORDS = 1000  # letters of the words that mark a seizure
_CLIP = 20.0  # robust scales: artefacts of hundreds would dominate the training
_WORKING = 1024.0  # Hz, far above every band that is examined or kept
_MULTIPLE = 4  # of the rate afterwards, so that the decimation filter is flat within the band
FLAT = 1e-7
"""V: below the resolution of every clinical amplifier."""

_FURTHER = (0.0, 30.0, 300.0)  # s beyond a block: a line over five minutes is nearly level
_REACH = 1.2  # kernels on either side of a block: half of each of two filters, and the foot of the resampling


@dataclass(frozen=True)
class Preprocessing:
    """How a recording is prepared for a network.

    In each channel, artefacts beyond 1 mV and spans of one value are replaced by straight lines
    (`eeg.preprocessing.artefacts`).  Then missing channels and those that cannot be EEG are interpolated,
    the reference is changed, the signal filtered and resampled, and the unit removed.

    Parameters
    ----------
    channels
        Electrodes in the order of the network's input.
    sfreq
        Sampling rate afterwards, Hz.
    low, high
        Pass band, Hz.  ``high = sfreq / 2`` means as high as the recording's rate allows.
    notch
        Power-line frequency, Hz; its multiples within the pass band are removed.  ``None``: no notch.
    scale
        Factor on volts.  ``None``: each recording is divided by its robust scale and clipped at 20 times
        that.
    reference
        ``"average"`` of the channels, ``"mastoids"``, ``"bipolar"`` or ``"laplacian"``; see
        `eeg.preprocessing.reference.rereference`.
    ictal
        Which annotations mark a seizure, whose windows are left out; see
        `eeg.datasets.seizure_words.marks_seizure`.

    Raises
    ------
    ValueError
        The settings are inconsistent.
    """

    channels: tuple[str, ...]
    sfreq: float = 128.0
    low: float = 0.5
    high: float = 45.0
    notch: float | None = None
    scale: float | None = None
    reference: Reference = "average"
    ictal: str = AUTO

    def __post_init__(self) -> None:
        if len(set(self.channels)) != len(self.channels) or len(self.channels) < 2:
            raise ValueError(
                f"channels = {self.channels}: expected two or more, each once; a single one has no reference"
            )
        if not set(self.channels) <= set(scalp_names().values()):
            raise ValueError("channels: expected electrodes of the 10-05 system, such as Fp1, C3, Cz")
        if not self.sfreq <= _FASTEST:
            raise ValueError(f"sfreq = {self.sfreq}: expected at most {_FASTEST:g} Hz")
        top = self.sfreq / 2
        if not (0 < self.low < self.high and (self.high <= top - _NARROWEST or self.high == top)):
            raise ValueError(
                f"low = {self.low}, high = {self.high}, sfreq = {self.sfreq} Hz: "
                f"expected 0 < low < high, and high at most {top - _NARROWEST} or exactly {top}"
            )
        if self.notch is not None and not _SLOWEST_LINE <= self.notch < math.inf:
            raise ValueError(f"notch = {self.notch}: expected a power-line frequency, such as 50 or 60 Hz")
        if self.scale is not None and not 0 < self.scale <= _LARGEST_SCALE:
            raise ValueError(f"scale = {self.scale}: expected a factor on volts, such as 1e6")
        if not self.ictal.strip(" ,") or len(self.ictal) > _MOST_WORDS:
            raise ValueError("ictal: expected auto, none, or words of annotations separated by commas")
        input_channels(self.reference, self.channels)

    @property
    def working_rate(self) -> float:
        """Sampling rate, Hz, that examination and filters need; faster recordings are decimated first."""
        return max(_WORKING, _MULTIPLE * self.sfreq)

    @property
    def electrodes(self) -> tuple[str, ...]:
        """Electrodes that may be used: the channels and, where they are the reference, those at the ears."""
        return (*self.channels, *(EARS if self.reference == "mastoids" else ()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Channels of the network's input: the electrodes or, bipolar, pairs of them."""
        return input_channels(self.reference, self.channels)

    @classmethod
    def paper(cls, channels: tuple[str, ...]) -> Self:
        """Return the settings of Uyttenhove et al. 2020 (PMLR 136:355-366); the scale is ours."""
        return cls(channels, sfreq=256.0, low=0.5, high=128.0, notch=60.0, scale=1e5)


def scale(
    cleaned: mne.io.BaseRaw,
    continuous: Sequence[tuple[int, int]],
    settings: Preprocessing,
    unflawed: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Remove the unit of a recording that `clean` returned.

    Parameters
    ----------
    cleaned
        The recording, in volts.
    continuous
        Where it is continuous, as `eeg.io.gaps.stretches` returns it; elsewhere the result is 0.
    settings
        Where the scale comes from.
    unflawed
        The spans of samples whose robust scale is taken; ``continuous`` if there are none.

    Returns
    -------
    (C, T) float32.

    Raises
    ------
    DataError
        The recording is flat for most of its time, so that it has no scale.
    """
    out = large_arrays.zeros((len(cleaned.ch_names), cleaned.n_times), np.float32)
    own = settings.scale is None
    unit = _robust_scale(cleaned, unflawed or continuous) if own else 1.0
    for row, volts in zip(out, _rows(cleaned), strict=True):
        for start, stop in continuous:
            part = volts[start:stop]
            row[start:stop] = np.clip(part / unit, -_CLIP, _CLIP) if own else settings.scale * part
        large_arrays.release(out)
    return out


def clean(recording: Recording, settings: Preprocessing) -> mne.io.BaseRaw:
    """Interpolate missing channels of a recording, rereference, filter and resample it.

    Parameters
    ----------
    recording
        The recording, which is not changed.  A long one that is not in memory is read in blocks.
    settings
        How it is prepared; the scale is not applied.

    Returns
    -------
    A new recording of ``settings.inputs`` at ``settings.sfreq``, in volts, with the annotations.

    Raises
    ------
    DataError
        More channels are missing or marked bad than may be interpolated, some are flat or not finite, there
        are no mastoids where they are the reference, or the recording is too short for the filter or sampled
        too slowly for the band.
    """
    raw = recording.raw
    _check_duration(recording, settings)
    inputs = _unit_inputs(raw, settings)
    filtered = recording.without_short(kernel(raw, settings))
    weights = inputs.get_data()
    used = np.flatnonzero(weights.any(axis=0))
    names, weights = [raw.ch_names[i] for i in used], weights[:, used]
    _check_signal(filtered, names)
    rate, ratio, (high, transition) = raw.info["sfreq"], _ratio(raw, settings), _upper_edge(raw, settings)
    response = _impulse_response(rate, settings.low, high, transition, settings.notch, kernel(raw, settings))
    out = large_arrays.zeros((len(settings.inputs), round(raw.n_times * ratio) + 1), np.float32)
    gaps, end = [], 0
    for start, stop in filtered.stretches:
        at = round(start * ratio)
        gaps += [(end, at)] if end < at else []
        for block in _blocks(stop - start, raw, settings):
            first, rows, level = _bridged(filtered, names, block, (start, stop), ratio)
            changed = filter_signals(_mixed(rows, weights), response, ratio)
            skip = block.out - int((first - start) * ratio)
            end = at + block.out + block.length
            constant = (response.sum() * weights @ level).astype(np.float32)[:, None]
            inside = changed[:, skip : skip + block.length]
            np.add(inside, constant, out=out[:, at + block.out : end])
            large_arrays.release(out)
    whole = _recording(out[:, :end], _new_info(inputs.info, settings.sfreq, (settings.low, high)), raw)
    mark_gaps(whole, gaps)
    return whole


def _unit_inputs(raw: mne.io.BaseRaw, settings: Preprocessing) -> mne.io.BaseRaw:
    """Return the model's channels, interpolated and rereferenced, for one volt in each channel in turn.

    Both are linear, so that the first samples, (inputs, C), are the weights of the recording's channels.
    """
    units = mne.io.RawArray(np.eye(len(raw.ch_names)), raw.info, verbose="error")
    units.filenames = raw.filenames
    return rereference(
        complete_channels(units, settings.channels), settings.reference, _ears(units, settings)
    )


def _mixed(volts: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return the product of weights (I, C) and C signals (T,), (I, T) float32.

    What most rows have in common, such as an average, is computed once.  Other than in a product of matrices
    by BLAS, the rounding depends neither on the number of threads nor on where a block begins.
    """
    common = np.median(weights, axis=0)
    own = (weights - common).astype(np.float32)
    out = np.zeros((len(weights), len(volts[0])), np.float32)
    for i in np.flatnonzero(common).tolist():
        out[0] += np.float32(common[i]) * volts[i]
    out[1:] = out[0]
    for row, factors in zip(out, own, strict=True):
        for i in np.flatnonzero(factors).tolist():
            row += factors[i] * volts[i]
    return out


@dataclass(frozen=True)
class _Block:
    """Samples ``start`` to ``stop`` of a stretch, from which ``length`` samples at ``out`` result."""

    start: int
    stop: int
    length: int
    out: int


def _blocks(samples: int, raw: mne.io.BaseRaw, settings: Preprocessing) -> Iterator[_Block]:
    """Divide a stretch at samples that coincide with a sample of the new rate."""
    rate = raw.info["sfreq"]
    ratio = _ratio(raw, settings)
    step = ratio.denominator * max(1, round(BLOCK * rate / ratio.denominator))
    margin = ratio.denominator * int(np.ceil(_REACH * kernel(raw, settings) * rate / ratio.denominator))
    total = round(samples * ratio)
    starts = range(0, max(samples - margin, 1), step)  # no tiny block at the end
    for start, end in zip(starts, [*starts[1:], samples], strict=True):
        before, out = max(start - margin, 0), int(start * ratio)
        until = total if end == samples else int(end * ratio)
        yield _Block(before, min(end + margin, samples), until - out, out)


def _bridged(
    recording: Recording, names: Sequence[str], block: _Block, stretch: tuple[int, int], ratio: Fraction
) -> tuple[int, list[np.ndarray], np.ndarray]:
    """Return the first sample of a block, its signals with lines in place of artefacts, and their level.

    A line connects the levels before and after an artefact.  Where one reaches an end of the block that is
    none of the stretch, the signals begin or end further away.
    """
    rate, (begin, end) = recording.raw.info["sfreq"], stretch
    for seconds in _FURTHER:
        more = ratio.denominator * round(seconds * rate / ratio.denominator)
        first, last = max(begin + block.start - more, begin), min(begin + block.stop + more, end)
        volts, level = recording.signals(names, first, last)
        spans = [spans_to_bridge(channel, rate) for channel in volts]
        ends = {at for found in spans for span in found for at in span}
        if not (0 in ends and first > begin) and not (last - first in ends and last < end):
            break
    rows = [bridge_spans(channel, rate, found) for channel, found in zip(volts, spans, strict=True)]
    return first, rows, level


def _ratio(raw: mne.io.BaseRaw, settings: Preprocessing) -> Fraction:
    """Return the new sampling rate as a multiple of the old one."""
    return Fraction(settings.sfreq / raw.info["sfreq"]).limit_denominator(100_000)


def _recording(data: np.ndarray, info: mne.Info, raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    """Return cleaned signals (C, T), V, as a recording; its gaps are yet to be marked."""
    whole = with_facts_of(raw, data, info)
    whole.annotations.delete(np.flatnonzero(whole.annotations.description == GAP))
    return whole


@lru_cache
def _impulse_response(
    rate: float, low: float, high: float, transition: float, notch: float | None, seconds: float
) -> np.ndarray:
    """Return the response of MNE's band-pass and notch filters, which have no phase, to an impulse.

    ``seconds`` is the length of the longest of their kernels.
    """
    lines = np.arange(notch or high, high, notch)
    middle = math.ceil((1 if len(lines) else 0.5) * seconds * rate) + 1
    response = np.zeros(2 * middle + 1)
    response[middle] = 1
    response = mne.filter.filter_data(
        response, rate, low, high, h_trans_bandwidth=transition, verbose="error"
    )
    if len(lines):
        response = mne.filter.notch_filter(response, rate, lines, verbose="error")
    response.flags.writeable = False
    return response


def _new_info(info: mne.Info, rate: float, band: tuple[float, float]) -> mne.Info:
    """Return what MNE notes of a recording once it is filtered and resampled."""
    info = info.copy()
    with info._unlock():  # MNE changes these when it changes the signals, for which this is
        info["sfreq"] = rate
        info["highpass"] = max(info["highpass"] or 0.0, band[0])
        info["lowpass"] = min(info["lowpass"] or np.inf, band[1])
    return info


def _ears(raw: mne.io.BaseRaw, settings: Preprocessing) -> mne.io.BaseRaw | None:
    """Return the two electrodes at the ears or at the mastoids, if these are the reference."""
    if settings.reference != "mastoids":
        return None
    pair = next((list(two) for two in (EARS[:2], EARS[2:]) if not missing_channels(raw, two)), None)
    if pair is None:
        raise DataError(
            f"{recording_file(raw)}: neither {' and '.join(EARS[:2])} nor {' and '.join(EARS[2:])} among its "
            "good channels; expected both for linked mastoids"
        )
    return raw.copy().load_data(verbose="error").pick(pair)


def _upper_edge(raw: mne.io.BaseRaw, settings: Preprocessing) -> tuple[float, float]:
    """Return the upper edge of the pass band and the transition above it, Hz."""
    rate = raw.info["sfreq"]
    nyquist = min(rate, settings.sfreq) / 2
    edge = min(settings.high, nyquist - _NARROWEST)
    if edge < settings.high < settings.sfreq / 2:
        raise DataError(
            f"{recording_file(raw)}: sampled at {rate:g} Hz; expected at least "
            f"{2 * (settings.high + _NARROWEST):g} Hz for a band up to {settings.high:g} Hz"
        )
    return edge, min(_TRANSITION, nyquist - edge)


def kernel(raw: mne.io.BaseRaw, settings: Preprocessing) -> float:
    """Return the length of the longest filter kernel, s."""
    _, transition = _upper_edge(raw, settings)
    below = min(max(settings.low / 4, 2.0), settings.low)  # MNE's default transition below the band
    return _KERNEL / min(below, transition, np.inf if settings.notch is None else _NOTCH_TRANSITION)


def _check_duration(recording: Recording, settings: Preprocessing) -> None:
    """Refuse a recording without a stretch as long as the longest filter kernel."""
    needed, found = kernel(recording.raw, settings), recording.longest
    if found < needed:
        raise DataError(
            f"{recording_file(recording.raw)}: {found:.1f} s long; expected at least {needed:.1f} s for the "
            "filter"
        )


def _check_signal(recording: Recording, names: Sequence[str]) -> None:
    low, high = recording.extremes(names)
    faults = {"not finite": ~(np.isfinite(low) & np.isfinite(high)), "flat": high < low + FLAT}
    for fault, found in faults.items():
        if found.any():
            wrong = ", ".join(np.array(names)[found])
            raise DataError(
                f"{recording_file(recording.raw)}: {fault} signal in {wrong}; "
                "expected EEG, leave these channels out"
            )


def cleaned_signals(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return the signals of a recording that `clean` returned, (C, T) V, without a copy: read only."""
    return raw.signals if isinstance(raw, SingleRaw) else raw._data


def _rows(raw: mne.io.BaseRaw) -> Iterator[np.ndarray]:
    """Yield the channels of `cleaned_signals` one by one, (T,) each."""
    volts = cleaned_signals(raw)
    for row in volts:
        yield row
        large_arrays.release(volts)


def _robust_scale(raw: mne.io.BaseRaw, continuous: Sequence[tuple[int, int]]) -> float:
    """Return the median over channels of 1.4826 times the median absolute deviation, V."""
    rows = (np.concatenate([volts[start:stop] for start, stop in continuous]) for volts in _rows(raw))
    deviation = [np.median(np.abs(volts - np.median(volts))) for volts in rows]
    scale = 1.4826 * float(np.median(deviation))
    if scale < FLAT:
        raise DataError(
            f"{recording_file(raw)}: most channels are flat for most of the time once filtered; expected EEG"
        )
    return scale
