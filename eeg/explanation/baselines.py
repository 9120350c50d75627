"""Baselines: what replaces a part of EEG that is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eeg import large_arrays

Baseline = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Windows (N, C, T) -> what replaces them, of the same shape and type."""


def zero(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a flat line, as from a disconnected electrode."""
    return large_arrays.zeros(x.shape, x.dtype)


def mean(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each channel's mean over its window."""
    out = large_arrays.zeros(x.shape, x.dtype)
    for windows, flat in zip(large_arrays.row_blocks(x), large_arrays.row_blocks(out), strict=True):
        flat[:] = windows.mean(-1, keepdims=True)
    return out


def phase(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a surrogate with the spectra and cross-spectra of each window and no transients.

    The same random phases are added to all channels of a window (Prichard & Theiler 1994).
    """
    out = large_arrays.zeros(x.shape, x.dtype)
    for windows, surrogates in zip(large_arrays.row_blocks(x), large_arrays.row_blocks(out), strict=True):
        spectrum = np.fft.rfft(windows, axis=-1)
        shift = np.exp(2j * np.pi * rng.random((len(windows), 1, spectrum.shape[-1])))
        shift[..., 0] = 1  # the mean is kept
        if x.shape[-1] % 2 == 0:
            shift[..., -1] = np.sign(shift[..., -1].real)  # real at the Nyquist frequency
        surrogates[:] = np.fft.irfft(spectrum * shift, x.shape[-1], axis=-1)
    return out


def control_baseline(healthy: np.ndarray) -> Baseline:
    """Return a baseline that draws from windows of controls, (M, C, T)."""

    def draw(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if healthy.shape[1:] != x.shape[1:]:
            raise ValueError(f"healthy windows are {healthy.shape[1:]}, expected {x.shape[1:]}")
        drawn = large_arrays.take(healthy, rng.integers(len(healthy), size=len(x)))
        return drawn.astype(x.dtype, copy=False)

    return draw


BASELINES: Mapping[str, Baseline] = {"zero": zero, "mean": mean, "phase": phase}
"""The baselines that need only the windows; `control_baseline` makes one of a control's windows."""
