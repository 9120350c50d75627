"""Filtering by FIR filters without phase, in single precision: MNE's designs, applied by overlapping FFTs.

A filter and a change of the sampling rate are one transform: the inverse one is of the spectrum up to the new
Nyquist frequency only.
"""

from fractions import Fraction
from functools import lru_cache
from typing import Any

import mne
import numpy as np
import scipy.fft

_FFT = 8  # kernels in a transform, of which all but one are of use
_SHORTEST = 1 << 13  # samples of a transform, of a signal as long: shorter ones cost their calls


@lru_cache
def design(rate: float, low: float | None, high: float | None, **settings: Any) -> np.ndarray:
    """Return the response to an impulse of a filter of `mne.filter.create_filter`, (2 K + 1,), read only.

    Its phase is zero.  MNE spends more time on the design of a filter than on a block of signals.

    Parameters
    ----------
    rate
        Sampling rate, Hz.
    low, high
        Pass band, Hz.
    **settings
        Arguments of `mne.filter.create_filter`.  The phase "zero-double" is that of a filter applied twice.
    """
    response: np.ndarray = mne.filter.create_filter(None, rate, low, high, verbose="error", **settings)
    if settings.get("phase") == "zero-double":
        response = np.convolve(response, response)
    response.flags.writeable = False
    return response


def filter_signals(volts: np.ndarray, response: np.ndarray, ratio: Fraction = Fraction(1)) -> np.ndarray:
    """Filter signals and change their sampling rate.

    The ends are mirrored at a point, as MNE does.  No other filter is applied before decimation, which would
    droop below the new Nyquist frequency, where a band may end.

    Parameters
    ----------
    volts
        (C, T), of any floating type.  The error of single precision is about 1e-7 of their largest value, so
        take a constant off before.
    response
        (2 K + 1,) the response to an impulse, symmetric.
    ratio
        The new sampling rate as a multiple of the old one.

    Returns
    -------
    (C, round(T ratio)) float32.
    """
    volts = volts.astype(np.float32, copy=False)
    length, reach = volts.shape[1], len(response) // 2
    edge = reach + -reach % ratio.denominator  # whole samples of the new rate
    most = -(-min(max(_FFT * len(response), _SHORTEST), length + 2 * edge) // ratio.denominator)
    parts = scipy.fft.next_fast_len(max(most, 2 * edge // ratio.denominator + 1), real=True)
    old, new = parts * ratio.denominator, parts * ratio.numerator
    step, inside = old - 2 * edge, new // 2 + 1
    gain = np.float32(ratio) * _gain(response, old)[:inside]
    count = -(-length // step)
    out = np.empty((len(volts), int(count * step * ratio)), np.float32)
    for i, piece in enumerate(np.split(out, count, axis=1)):
        spectrum = scipy.fft.rfft(_mirrored(volts, i * step - edge, i * step - edge + old))[:, :inside]
        spectrum *= gain
        piece[:] = scipy.fft.irfft(spectrum, new)[:, int(edge * ratio) :][:, : piece.shape[1]]
    return out[:, : round(length * ratio)]


def _gain(response: np.ndarray, length: int) -> np.ndarray:
    """Return the real transfer function (length // 2 + 1,) of a symmetric response, float32."""
    centred = np.roll(np.pad(response, (0, length - len(response))), -(len(response) // 2))
    return scipy.fft.rfft(centred).real.astype(np.float32)


def _mirrored(volts: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return samples ``start`` to ``stop`` of signals (C, T) that go on beyond their ends.

    There they are mirrored at the first and at the last point, and zero where this ends.
    """
    length = volts.shape[1]
    before, after = max(-start, 0), max(stop - length, 0)
    if not before and not after:
        return volts[:, start:stop]
    out = np.zeros((len(volts), stop - start), volts.dtype)
    end = out.shape[1] - after
    out[:, before:end] = volts[:, max(start, 0) : stop]
    left, right = min(before, length - 1), min(after, length - 1)
    out[:, before - left : before] = 2 * volts[:, :1] - volts[:, left:0:-1]
    out[:, end : end + right] = 2 * volts[:, -1:] - volts[:, -2 : -2 - right : -1]
    return out
