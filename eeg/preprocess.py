"""From a recording to what a network sees: reference, filter, rate and scale."""

from dataclasses import dataclass
from typing import Self

import mne
import numpy as np

from eeg.recording import complete
from trainers.errors import DataError

_TRANSITION = 5.0  # Hz above the pass band: 45 Hz puts the mains of every country into the stop band
_NARROWEST = 1.0  # Hz between the pass band and the Nyquist frequency
_KERNEL = 3.3  # s Hz: length of MNE's Hamming FIR times its transition width
_NOTCH_TRANSITION = 0.5  # Hz on either side of a notch, MNE's default
_CLIP = 20.0  # robust scales: an artefact of hundreds would outweigh all else in what a network learns
_FLAT = 1e-7  # V: below the resolution of every clinical amplifier


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a recording before a network sees it.

    Parameters
    ----------
    channels
        Electrodes in the order of the network's input; also the reference, which is their average.
    sfreq
        Sampling rate afterwards, Hz.
    low, high
        Pass band, Hz.  ``high = sfreq / 2`` means as high as the recording's rate permits.
    notch
        Mains frequency, Hz; its multiples within the pass band are taken out.  ``None``: no notch.
    scale
        Factor on volts.  ``None``: each recording is divided by its own robust scale, and clipped at 20
        times that.

    Raises
    ------
    ValueError
        The settings contradict each other.
    """

    channels: tuple[str, ...]
    sfreq: float = 128.0
    low: float = 0.5
    high: float = 45.0
    notch: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        if len(set(self.channels)) != len(self.channels) or len(self.channels) < 2:
            raise ValueError(f"channels = {self.channels}: expected two or more, each once")
        top = self.sfreq / 2
        if not (0 < self.low < self.high and (self.high <= top - _NARROWEST or self.high == top)):
            raise ValueError(
                f"low = {self.low}, high = {self.high}, sfreq = {self.sfreq} Hz: "
                f"expected 0 < low < high, and high at most {top - _NARROWEST} or exactly {top}"
            )

    @classmethod
    def paper(cls, channels: tuple[str, ...]) -> Self:
        """Give the settings of Uyttenhove et al. 2020 (PMLR 136:355-366); the scale is ours."""
        return cls(channels, sfreq=256.0, low=0.5, high=128.0, notch=60.0, scale=1e5)


def prepare(raw: mne.io.BaseRaw, settings: Preprocessing) -> np.ndarray:
    """Turn a recording into a network's input.

    Parameters
    ----------
    raw
        The recording in volts, as `eeg.recording.read` gives it; it stays as it is.
    settings
        What to do.

    Returns
    -------
    (C, T) float32 without unit, in the order of ``settings.channels`` and at ``settings.sfreq``.

    Raises
    ------
    DataError
        As `clean`; or the recording is flat for most of its time and so has no scale of its own.
    """
    volts = clean(raw, settings).get_data()
    if settings.scale is not None:
        return np.asarray(settings.scale * volts, dtype=np.float32)
    return np.clip(volts / _robust_scale(volts, raw), -_CLIP, _CLIP).astype(np.float32)


def clean(raw: mne.io.BaseRaw, settings: Preprocessing) -> mne.io.BaseRaw:
    """Complete a recording, put it on the average reference, filter and resample it, and leave it in volts.

    Parameters
    ----------
    raw
        The recording in volts; it stays as it is.
    settings
        What to do; the scale is left out.

    Returns
    -------
    A new recording of ``settings.channels`` at ``settings.sfreq``, with the annotations.

    Raises
    ------
    DataError
        More channels are missing or marked bad than `eeg.recording.complete` makes up, some are flat or
        not finite, or the recording is too short for the filter or sampled too slowly for the band.
    """
    high, transition = _upper_edge(raw, settings)
    _check_duration(raw, settings, transition)
    work = complete(raw, settings.channels)
    _check_signal(work)
    work.set_eeg_reference("average", verbose="error")
    work.filter(settings.low, high, h_trans_bandwidth=transition, verbose="error")
    if settings.notch is not None and settings.notch < high:
        work.notch_filter(np.arange(settings.notch, high, settings.notch), verbose="error")
    # By FFT: the polyphase filter would droop below the Nyquist frequency, where the paper's band ends.
    return work.resample(settings.sfreq, method="fft", verbose="error")


def _name(raw: mne.io.BaseRaw) -> str:
    """Name the recording's file, for messages."""
    return str(next((name for name in raw.filenames if name), "recording"))


def _upper_edge(raw: mne.io.BaseRaw, settings: Preprocessing) -> tuple[float, float]:
    """Upper edge of the pass band and the transition above it, Hz."""
    rate = raw.info["sfreq"]
    nyquist = min(rate, settings.sfreq) / 2
    edge = min(settings.high, nyquist - _NARROWEST)
    if edge < settings.high < settings.sfreq / 2:
        raise DataError(
            f"{_name(raw)}: sampled at {rate:g} Hz; expected at least "
            f"{2 * (settings.high + _NARROWEST):g} Hz for a band up to {settings.high:g} Hz"
        )
    return edge, min(_TRANSITION, nyquist - edge)


def _check_duration(raw: mne.io.BaseRaw, settings: Preprocessing, transition: float) -> None:
    """Refuse a recording that is shorter than the longest filter kernel."""
    below = min(max(settings.low / 4, 2.0), settings.low)  # MNE's default transition below the band
    narrowest = min(below, transition, np.inf if settings.notch is None else _NOTCH_TRANSITION)
    needed, found = _KERNEL / narrowest, raw.n_times / raw.info["sfreq"]
    if found < needed:
        raise DataError(f"{_name(raw)}: {found:.1f} s long; expected at least {needed:.1f} s for the filter")


def _check_signal(raw: mne.io.BaseRaw) -> None:
    volts = raw.get_data()
    faults = {
        "not finite": ~np.isfinite(volts).all(axis=1),
        "flat": volts.max(axis=1) < volts.min(axis=1) + _FLAT,
    }
    for fault, found in faults.items():
        if found.any():
            names = ", ".join(np.array(raw.ch_names)[found])
            raise DataError(
                f"{_name(raw)}: {fault} signal in {names}; expected EEG, leave these channels out"
            )


def _robust_scale(volts: np.ndarray, raw: mne.io.BaseRaw) -> float:
    """Median over channels of 1.4826 times the median absolute deviation, V: blind to artefacts."""
    deviation = np.abs(volts - np.median(volts, axis=1, keepdims=True))
    scale = 1.4826 * float(np.median(np.median(deviation, axis=1)))
    if scale < _FLAT:
        raise DataError(f"{_name(raw)}: most channels are flat for most of the time; expected EEG")
    return scale
