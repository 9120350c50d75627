"""The training windows of a model that are most similar to a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eeg.detector.prototypes import Prototypes, directions
from eeg.explanation.attribution import Montage, attribute
from eeg.explanation.segments import MAX_SEGMENT_SECONDS, SampleSpan, evidence_over_time, find_peaks


@dataclass(frozen=True)
class Neighbour:
    """The prototype of a class that is most similar to a window.

    Parameters
    ----------
    number
        Its number within the class, from 1.
    window
        (C, T).
    similarity
        Cosine of the angle between the two before the network's readout, -1 to 1.
    strongest
        Onset and duration in s of the strongest evidence for epilepsy in it, None if there is none.
    """

    number: int
    window: np.ndarray
    similarity: float
    strongest: tuple[float, float] | None = None


@dataclass(frozen=True)
class SimilarWindows:
    """The window (C, T) that holds a segment, ``onset`` s from its start, and its neighbour of each class."""

    window: np.ndarray
    onset: float
    epilepsy: Neighbour
    control: Neighbour


def find_similar(
    network: nn.Module,
    prototypes: Prototypes,
    windows: np.ndarray,
    spans: Sequence[SampleSpan],
    montage: Montage,
) -> tuple[SimilarWindows, ...]:
    """Return the prototypes most similar to the window of each span.

    Parameters
    ----------
    network
        The network whose last layer measures similarity.
    prototypes
        The training windows to compare with.
    windows
        (N, C, T), the windows of one recording.
    spans
        Samples of these windows laid end to end.
    montage
        What the channels are and how fast they were sampled.
    """
    if not spans:
        return ()
    length = windows.shape[2]
    place = [min((start + stop) // (2 * length), len(windows) - 1) for start, stop in spans]
    embedded = directions(network, torch.from_numpy(windows[place]))
    epilepsy, control = (
        _nearest(network, kept, embedded, montage) for kept in (prototypes.epilepsy, prototypes.control)
    )
    onsets = [(start - length * i) / montage.sfreq for (start, _), i in zip(spans, place, strict=True)]
    return tuple(map(SimilarWindows, windows[place], onsets, epilepsy, control))


def _nearest(network: nn.Module, prototypes: Tensor, embedded: Tensor, montage: Montage) -> list[Neighbour]:
    """Return the nearest of the prototypes (P, C, T) to each of the directions ``embedded`` (N, D)."""
    best, index = (embedded @ directions(network, prototypes).T).max(1)
    marks = {i: _strongest(network, prototypes[i], montage) for i in set(index.tolist())}
    return [
        Neighbour(i + 1, prototypes[i].numpy(), min(cosine, 1.0), marks[i])
        for i, cosine in zip(index.tolist(), best.tolist(), strict=True)
    ]


def _strongest(network: nn.Module, window: Tensor, montage: Montage) -> tuple[float, float] | None:
    """Return onset and duration of the highest peak of evidence in a window (C, T)."""
    evidence = attribute(network, window[None], torch.zeros_like(window)[None], montage)
    relevance = evidence_over_time(evidence.double().numpy(), montage.sfreq)
    found = find_peaks(relevance, montage.samples(MAX_SEGMENT_SECONDS), 1)
    return next(((start / montage.sfreq, (stop - start) / montage.sfreq) for start, stop in found), None)
