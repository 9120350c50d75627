"""Augmentation of EEG windows: the same discharge, seen under a head that is turned or mirrored.

A training set knows few foci, as many as it has patients.  Turning the head below its electrodes
moves a focus elsewhere and leaves the time course of every source as it is (Krell & Kim 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mne
import numpy as np
import torch
from numpy.polynomial.legendre import legval
from scipy.spatial.transform import Rotation
from torch import Tensor

from eeg.recording import MONTAGE

_ORDER, _TERMS, _RIDGE = 4, 50, 1e-5  # Perrin et al. 1989: m, and how far the series is summed


@dataclass(frozen=True)
class TurnedHead:
    """Windows (N, C, T) as electrodes would see them on a head turned by up to ``most`` degrees.

    The axis is drawn at random, every second head is mirrored as well.  ``maps`` (M, C, C) holds the
    turns to draw from; each window gets its own.
    """

    maps: Tensor

    @classmethod
    def drawn(
        cls, channels: Sequence[str], rng: np.random.Generator, most: float = 90.0, turns: int = 256
    ) -> TurnedHead:
        """Draw ``turns`` turns of at most ``most`` degrees for these channels."""
        places = _on_sphere(channels)
        maps = []
        for i in range(turns):
            axis = rng.normal(size=3)
            angle = np.deg2rad(rng.uniform(0, most)) * axis / np.linalg.norm(axis)
            turned = Rotation.from_rotvec(angle).apply(places * ([-1, 1, 1] if i % 2 else [1, 1, 1]))
            maps.append(spline(places, turned))
        return cls(torch.from_numpy(np.stack(maps)).float())

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn every window by a map of its own."""
        drawn = torch.randint(len(self.maps), (len(x),), generator=generator)
        return torch.bmm(self.maps[drawn], x)


def spline(origin: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the spherical-spline interpolation (Perrin et al. 1989, eqs. 1-3).

    ``origin`` (C, 3) and ``target`` (D, 3) are unit vectors; the result (D, C) takes potentials at the
    one to potentials at the other.
    """
    n = np.arange(1, _TERMS + 1)
    series = np.concatenate([[0], (2 * n + 1) / (n * (n + 1)) ** _ORDER]) / (4 * np.pi)
    inner = legval(np.clip(origin @ origin.T, -1, 1), series) + _RIDGE * np.eye(len(origin))
    system = np.block([[inner, np.ones((len(origin), 1))], [np.ones((1, len(origin))), np.zeros((1, 1))]])
    across = np.hstack([legval(np.clip(target @ origin.T, -1, 1), series), np.ones((len(target), 1))])
    return across @ np.linalg.pinv(system)[:, : len(origin)]


def _on_sphere(channels: Sequence[str]) -> np.ndarray:
    """Return the electrodes' directions (C, 3) from the centre of the head, x to the right."""
    positions = mne.channels.make_standard_montage(MONTAGE).get_positions()["ch_pos"]
    scalp = np.array(list(positions.values()))
    # The sphere |p - c|² = r² is linear in its centre: 2 c·p + (r² - c²) = p².
    centre = np.linalg.lstsq(np.c_[2 * scalp, np.ones(len(scalp))], (scalp**2).sum(1), rcond=None)[0][:3]
    places = np.array([positions[name] for name in channels]) - centre
    return places / np.linalg.norm(places, axis=1, keepdims=True)
