"""Training windows stored in a detector for comparison with segments.

Whether EEG may be stored in a file is the decision of its owner; the windows contain no name, date or
subject, but EEG can identify a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eeg.models.embedding import embed
from trainers.data.rows import Inputs


@dataclass(frozen=True)
class Prototypes:
    """Training windows of each class, (P, C, T) and (Q, C, T) float32, as in the network's input.

    The classes are windows with and without an annotated discharge where these were learned; else, also where
    networks had to find them, windows of patients and of controls.
    """

    epilepsy: Tensor
    control: Tensor


def choose(network: nn.Module, x: Inputs, y: Tensor, number: int, seed: int) -> Prototypes:
    """Return ``number`` windows of each class that stand for the others, or all where there are fewer.

    k-means groups the directions of what the network's readout is given; of each group the window nearest
    to its centre is kept.

    Parameters
    ----------
    x, y
        Windows (N, C, T), and 1 for epilepsy or 0 for control, (N, 1).
    """
    places, positive = directions(network, x), y[:, 0] > 0.5

    def of_class(held: Tensor) -> Tensor:
        index = torch.nonzero(held)[:, 0]
        return x[index[_central(places[index].numpy(), number, seed)]].clone()

    return Prototypes(of_class(positive), of_class(~positive))


def directions(network: nn.Module, x: Inputs) -> Tensor:
    """Return the unit vectors (N, D) of windows (N, C, T) before the readout (0 stays 0)."""
    return F.normalize(embed(network, x), dim=1)


def _central(points: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return the indices of the points (N, D) that are nearest to the centres of ``number`` groups."""
    if len(points) <= number:
        return np.arange(len(points))
    _, first = np.unique(points, axis=0, return_index=True)
    if len(first) <= number:  # equal points are not further groups
        return np.sort(first)
    from sklearn.cluster import KMeans  # takes a second

    distance = KMeans(number, n_init=1, random_state=seed).fit_transform(points)
    return np.unique(distance.argmin(0))
