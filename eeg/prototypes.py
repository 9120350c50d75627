"""What a segment is like among what the model learned from: windows that a detector keeps of its training.

To keep EEG of people in a file is for its owner to decide; the windows go in without name, date or subject,
but EEG can tell by itself whose it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eeg.embedding import embed
from eeg.segments import Segment


@dataclass(frozen=True)
class Prototypes:
    """Training windows of each class, (P, C, T) and (Q, C, T) float32, as the network gets them."""

    epilepsy: Tensor
    control: Tensor


@dataclass(frozen=True)
class Neighbour:
    """A prototype: its number among those of its class, its window (C, T), and how similar it is, -1 to 1."""

    number: int
    window: np.ndarray
    similarity: float


@dataclass(frozen=True)
class Comparison:
    """The window (C, T) that holds a segment, ``onset`` seconds from its start, and its likes.

    ``epilepsy`` and ``control`` are the most similar prototypes of each class.
    """

    window: np.ndarray
    onset: float
    epilepsy: Neighbour
    control: Neighbour


def choose(network: nn.Module, x: Tensor, y: Tensor, number: int, seed: int) -> Prototypes:
    """Return ``number`` windows of each class that stand for the others, or all where there are fewer.

    k-means groups the directions of what the network's readout is given; of each group the window nearest
    to its centre is kept.

    Parameters
    ----------
    x, y
        Windows (N, C, T), and 1 for epilepsy or 0 for control, (N, 1).
    """
    directions, positive = _directions(network, x), y[:, 0] > 0.5

    def of_class(held: Tensor) -> Tensor:
        index = torch.nonzero(held)[:, 0]
        return x[index[_central(directions[index].numpy(), number, seed)]].clone()

    return Prototypes(of_class(positive), of_class(~positive))


def compare(
    network: nn.Module, prototypes: Prototypes, windows: np.ndarray, segments: Sequence[Segment], sfreq: float
) -> tuple[Comparison, ...]:
    """Return for each segment on adjoining ``windows`` (N, C, T) the most similar prototypes.

    Similar is who has a small angle before the readout: `Neighbour.similarity` is its cosine.
    """
    if not segments:
        return ()
    length = windows.shape[2] / sfreq
    place = [min(int((s.onset + s.duration / 2) / length), len(windows) - 1) for s in segments]
    held = windows[place]
    seen = _directions(network, torch.from_numpy(held))
    epilepsy, control = (_nearest(network, kept, seen) for kept in (prototypes.epilepsy, prototypes.control))
    onsets = [s.onset - length * i for s, i in zip(segments, place, strict=True)]
    return tuple(map(Comparison, held, onsets, epilepsy, control))


def _directions(network: nn.Module, x: Tensor) -> Tensor:
    return F.normalize(embed(network, x), dim=1)


def _nearest(network: nn.Module, kept: Tensor, seen: Tensor) -> list[Neighbour]:
    best, index = (seen @ _directions(network, kept).T).max(1)
    return [
        Neighbour(i + 1, kept[i].numpy(), min(cosine, 1.0))
        for i, cosine in zip(index.tolist(), best.tolist(), strict=True)
    ]


def _central(points: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return the indices of the points (N, D) that are nearest to the centres of ``number`` groups."""
    if len(points) <= number:
        return np.arange(len(points))
    from sklearn.cluster import KMeans  # takes a second

    distance = KMeans(number, n_init=1, random_state=seed).fit_transform(points)
    return np.unique(distance.argmin(0))
