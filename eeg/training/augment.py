"""Augmentation of EEG windows: keep what marks a discharge, remove what identifies a subject.

Each maps windows (N, C, T) and a generator to windows of the same shape, with one random draw per window.
The most useful is head-rotation: a training set contains only as many foci as patients, and rotating the head
under its electrodes moves a focus without changing the time course of any source (Krell & Kim 2017).
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
from torch.nn.functional import avg_pool1d

from eeg.io.electrodes import MONTAGE
from eeg.labels import AUGMENTATIONS
from trainers.data.batches import Augment
from trainers.data.rows import Inputs

_ORDER, _TERMS, _RIDGE = 4, 50, 1e-5  # Perrin et al. 1989: m, and how far the series is summed


@dataclass(frozen=True)
class HeadRotation:
    """Windows (N, C, T) as electrodes would record them on a rotated head.

    The axis is drawn at random, and every second head is mirrored as well.  ``maps`` (M, C, C) holds the
    rotations, of which one is drawn for each window.
    """

    maps: Tensor

    @classmethod
    def draw(
        cls, channels: Sequence[str], rng: np.random.Generator, most: float = 90.0, turns: int = 256
    ) -> HeadRotation:
        """Draw rotations for these channels.

        Parameters
        ----------
        channels
            (C,) names of 10-10 electrodes.
        rng
            Draws the axes and angles.
        most
            Largest angle, degrees.
        turns
            Number of rotations.
        """
        places = _on_sphere(channels)
        maps = []
        for i in range(turns):
            axis = rng.normal(size=3)
            angle = np.deg2rad(rng.uniform(0, most)) * axis / np.linalg.norm(axis)
            turned = Rotation.from_rotvec(angle).apply(places * ([-1, 1, 1] if i % 2 else [1, 1, 1]))
            maps.append(spline(places, turned))
        return cls(torch.from_numpy(np.stack(maps)).float())

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate each window by a map drawn for it."""
        drawn = torch.randint(len(self.maps), (len(x),), generator=generator)
        return torch.bmm(self.maps[drawn], x)


def gain(x: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply each window by a factor from a half to two."""
    return x * torch.exp2(_uniform(x, generator, -1, 1))


def channel_dropout(x: Tensor, generator: torch.Generator) -> Tensor:
    """Set every tenth channel to 0."""
    return x * (torch.rand(x.shape[:2], generator=generator)[..., None] >= 0.1)


def sign_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Change the sign of every second window: the polarity of a focus depends on the fold of its cortex."""
    return x * (1 - 2 * torch.randint(2, (len(x), 1, 1), generator=generator))


def time_shift(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate each window in time, its end to its beginning."""
    start = torch.randint(x.shape[-1], (len(x), 1, 1), generator=generator)
    return x.gather(-1, ((torch.arange(x.shape[-1]) + start) % x.shape[-1]).expand_as(x))


def whiten(x: Tensor, generator: torch.Generator) -> Tensor:
    """Flatten the spectrum of each window, some a little and some wholly; its power stays.

    The spectrum is the mean over channels, smoothed over nine frequencies so that only the background's
    shape is taken away and not the discharge in it.
    """
    spectrum = torch.fft.rfft(x)
    shape = avg_pool1d(spectrum.abs().mean(1, keepdim=True), 9, 1, 4, count_include_pad=False)
    floor = 0.02 * shape.amax(-1, keepdim=True)  # do not amplify what the band-pass filter removed
    flat = torch.fft.irfft(spectrum / shape.clamp_min(floor) ** _uniform(x, generator, 0, 1), x.shape[-1])
    return flat * (_rms(x) / _rms(flat))


@dataclass(frozen=True)
class BackgroundMix:
    """Windows with up to half of a window of another subject's background added.

    ``backgrounds`` (M, C, T) are windows of controls: they hold no discharge, and are added to windows of
    both classes.
    """

    backgrounds: Inputs

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add another background to every window."""
        drawn = torch.randint(len(self.backgrounds), (len(x),), generator=generator)
        return x + _uniform(x, generator, 0, 0.5) * self.backgrounds[drawn]


@dataclass(frozen=True)
class Compose:
    """One augmentation after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Apply all."""
        for step in self.steps:
            x = step(x, generator)
        return x


def augmentation(
    names: Sequence[str], channels: Sequence[str], backgrounds: Inputs, rng: np.random.Generator
) -> Augment:
    """Return the augmentations called ``names``, one after the other.

    Parameters
    ----------
    names
        Some of `AUGMENTATIONS`.
    channels
        Of the windows, (C,).
    backgrounds
        Windows (M, C, T) of controls, for ``background-mix``.
    rng
        Draws the turns of the head.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if unknown := set(names) - set(AUGMENTATIONS):
        raise ValueError(
            f"unknown augmentation {sorted(unknown)}; expected some of {', '.join(AUGMENTATIONS)}"
        )
    simple: dict[str, Augment] = {
        "gain": gain,
        "channel-dropout": channel_dropout,
        "sign-flip": sign_flip,
        "time-shift": time_shift,
        "whiten": whiten,
    }

    def one(name: str) -> Augment:
        if name == "head-rotation":
            return HeadRotation.draw(channels, rng)
        return BackgroundMix(backgrounds) if name == "background-mix" else simple[name]

    return Compose(tuple(one(name) for name in names))


def _uniform(x: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Draw a number for each window, (N, 1, 1)."""
    return low + (high - low) * torch.rand((len(x), 1, 1), generator=generator)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12)


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
