"""Novelty gate: detect recordings outside the distribution of the training recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import welch
from scipy.stats import kurtosis

from eeg import large_arrays

_BANDS = {"delta": (0.5, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
_AMPLITUDE = "amplitude"
_SPREAD = "spread of channels"
_LOOKS = 5000  # windows at most, from all over the recording: hours
_TINY = 1e-12  # below any power: the logarithm of a flat channel stays finite


STATISTICS = (*(f"{band} power" for band in (*_BANDS, "gamma")), "kurtosis", "likeness of channels", _SPREAD)
"""Names of the statistics of a recording."""


def statistics(windows: np.ndarray, sfreq: float) -> dict[str, float]:
    """Describe a recording by a few statistics that artefacts in single windows do not change.

    Parameters
    ----------
    windows
        (N, C, T), as the network sees them.
    sfreq
        Their sampling rate, Hz.

    Returns
    -------
    Medians over windows (5000 of them where there are more) and channels: the log power of the bands and of
    the power above them, the kurtosis, how alike channels are, and how different their amplitudes.
    """
    parts = [
        _of_windows(few, sfreq) for few in large_arrays.row_blocks(large_arrays.subsample(windows, _LOOKS))
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    amplitude = np.log(np.median(found.pop(_AMPLITUDE), 0) + _TINY)  # (C,)
    medians = {name: float(np.median(values)) for name, values in found.items()}
    return medians | {_SPREAD: float(amplitude.max() - amplitude.min())}


def _of_windows(windows: np.ndarray, sfreq: float) -> dict[str, np.ndarray]:
    """Return the figures of each window (N, C, T) that `statistics` takes the medians of, (N, ...) each."""
    frequency, power = welch(windows, sfreq, nperseg=min(windows.shape[-1], round(2 * sfreq)))
    bands = {**_BANDS, "gamma": (_BANDS["beta"][1], sfreq / 2)}
    return {
        **{
            f"{name} power": np.log(power[..., (frequency >= low) & (frequency < high)].sum(-1) + _TINY)
            for name, (low, high) in bands.items()
        },
        "kurtosis": np.nan_to_num(kurtosis(windows, axis=-1)),
        "likeness of channels": _likeness(windows),
        _AMPLITUDE: windows.std(-1),
    }


def _likeness(windows: np.ndarray) -> np.ndarray:
    """Return the absolute correlation of every two of C channels in each window, (N, C (C - 1) / 2)."""
    z = windows - windows.mean(-1, keepdims=True)
    z /= np.sqrt((z**2).sum(-1, keepdims=True)) + _TINY
    pairs = np.triu_indices(windows.shape[1], 1)
    return np.asarray(np.abs(z @ z.swapaxes(-1, -2))[:, *pairs])


@dataclass(frozen=True)
class Gate:
    """The range of the training recordings.

    ``centre`` and ``spread`` are the median and the scaled median absolute deviation of each statistic,
    ``limit`` the farthest that any of the ``n`` recordings lay from the centre, in spreads.  Of further
    such recordings about one in n + 1 is farther away.
    """

    centre: dict[str, float]
    spread: dict[str, float]
    limit: float
    n: int

    def __post_init__(self) -> None:
        if not self.centre or set(self.centre) != set(self.spread):
            raise ValueError("centre and spread: expected the same statistics, at least one")
        if not all(map(math.isfinite, self.centre.values())):
            raise ValueError("centre: expected finite numbers")
        if not all(0 < spread < math.inf for spread in self.spread.values()):
            raise ValueError("spread: expected finite numbers above 0")
        if not 0 <= self.limit < math.inf or self.n < 1:
            raise ValueError("limit and n: expected a finite number not below 0, and a number of recordings")

    def deviation(self, found: dict[str, float]) -> tuple[str, float]:
        """Return the statistic with the largest deviation, and this deviation in spreads."""
        far = {name: abs(found[name] - self.centre[name]) / self.spread[name] for name in self.centre}
        name = max(far, key=far.__getitem__)
        return name, far[name]

    def describe_novelty(self, found: dict[str, float]) -> str | None:
        """Return the statistic in which a recording is outside the training range, None if it is inside."""
        name, far = self.deviation(found)
        if far <= self.limit:
            return None
        return (
            f"its {name} is {far:.1f} robust deviations from that of the {self.n} training recordings, "
            f"of which none lay farther than {self.limit:.1f}"
        )


def fit_novelty(rows: Sequence[dict[str, float]]) -> Gate:
    """Fit the range to the statistics of training recordings.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not rows:
        raise ValueError("no training recordings; the novelty gate needs at least one")
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    centre = {name: float(np.median(v)) for name, v in values.items()}
    spread = {name: 1.4826 * float(np.median(np.abs(v - centre[name]))) + _TINY for name, v in values.items()}
    limit = max(float(np.abs(v - centre[name]).max()) / spread[name] for name, v in values.items())
    return Gate(centre, spread, limit, len(rows))
