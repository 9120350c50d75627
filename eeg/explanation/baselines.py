"""What stands in for a piece of EEG that is taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from eeg import large_arrays

Baseline = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Windows (N, C, T) -> what replaces them, of the same shape and type."""


def zero(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a flat line, which a disconnected electrode would give too."""
    return large_arrays.zeros(x.shape, x.dtype)


def mean(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each channel's mean over its window."""
    out = large_arrays.zeros(x.shape, x.dtype)
    for windows, flat in zip(large_arrays.blocks(x), large_arrays.blocks(out), strict=True):
        flat[:] = windows.mean(-1, keepdims=True)
    return out


def phase(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a surrogate with the spectra and cross-spectra of each window and no transients.

    All channels of a window get the same random phases on top of their own (Prichard & Theiler 1994).
    """
    out = large_arrays.zeros(x.shape, x.dtype)
    for windows, surrogates in zip(large_arrays.blocks(x), large_arrays.blocks(out), strict=True):
        spectrum = np.fft.rfft(windows, axis=-1)
        turn = np.exp(2j * np.pi * rng.random((len(windows), 1, spectrum.shape[-1])))
        turn[..., 0] = 1  # the mean stays
        if x.shape[-1] % 2 == 0:
            turn[..., -1] = np.sign(turn[..., -1].real)  # real, as the Nyquist frequency has it
        surrogates[:] = np.fft.irfft(spectrum * turn, x.shape[-1], axis=-1)
    return out


def control_baseline(healthy: np.ndarray) -> Baseline:
    """Return a baseline that draws from windows of controls, (M, C, T)."""

    def draw(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if healthy.shape[1:] != x.shape[1:]:
            raise ValueError(f"healthy windows are {healthy.shape[1:]}, the others are {x.shape[1:]}")
        drawn = large_arrays.take(healthy, rng.integers(len(healthy), size=len(x)))
        return drawn.astype(x.dtype, copy=False)

    return draw


BASELINES: Mapping[str, Baseline] = {"zero": zero, "mean": mean, "phase": phase}
"""Those that need nothing but the windows; `control_baseline` makes the one of healthy ones."""
