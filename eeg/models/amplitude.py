"""Baselines without learning: statistics of amplitude.

Each maps windows (N, C, T) to (N,): the value of the channel where it is largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import kurtosis as excess_kurtosis

from eeg.preprocessing.windows import Windows


def line_length(x: np.ndarray) -> np.ndarray:
    """Return the sum of absolute steps (Esteller et al. 2001)."""
    return np.abs(np.diff(x, axis=-1)).sum(-1).max(-1)


def kurtosis(x: np.ndarray) -> np.ndarray:
    """Return the excess kurtosis, which is high for a few large values."""
    return np.asarray(excess_kurtosis(x, axis=-1)).max(-1)


def peak_to_peak(x: np.ndarray) -> np.ndarray:
    """Return the range."""
    return np.ptp(x, axis=-1).max(-1)


AMPLITUDE_STATISTICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "line length": line_length,
    "kurtosis": kurtosis,
    "peak-to-peak": peak_to_peak,
}


def amplitude_scores(windows: Windows) -> dict[str, float]:
    """Return the maximum of each statistic over the windows of a recording."""
    return {name: float(statistic(windows.data).max()) for name, statistic in AMPLITUDE_STATISTICS.items()}
