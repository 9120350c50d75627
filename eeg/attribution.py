"""Which segments of a recording drove its decision.

The evidence over time comes from Captum, window by window; its peaks become segments of at most one
second; and each segment is then taken out of the recording, exactly, to see what the decision loses.
Taken out means: replaced by zero, which after the high-pass is each channel's mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import FeatureAblation, LayerAttribution, LayerGradCam, Occlusion
from torch import Tensor, nn

from eeg.detector import Detector

LONGEST = 1.0
"""Seconds: one event is one segment."""

Method = Callable[[Detector, np.ndarray], np.ndarray]
"""A detector and windows (N, C, T) -> evidence over time (N, T), in units of the network's logit."""


@dataclass(frozen=True)
class Segment:
    """At most one second of EEG that drove the decision.

    ``onset`` and ``duration`` are in seconds, ``channels`` the electrodes that carry it, the strongest
    first.  ``attribution`` is what its windows' logits lose without it, ``change`` the recording's
    probability with it minus the probability without it.
    """

    onset: float
    duration: float
    channels: tuple[str, ...]
    attribution: float
    change: float


@dataclass(frozen=True)
class Explanation:
    """Ranked segments, the strongest first, and the evidence over time that they were found in.

    ``relevance`` (T,) is sampled at ``times`` (T,) in seconds.
    """

    method: str
    segments: tuple[Segment, ...]
    times: np.ndarray
    relevance: np.ndarray


def grad_cam(detector: Detector, windows: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return LayerGradCam (Selvaraju et al. 2017) at the last convolution, (N, C, T) -> (N, T).

    Its cells, 16 samples each, are interpolated linearly.
    """
    method = LayerGradCam(_logit(detector.network), detector.network.last_convolution)
    parts = []
    for x in torch.from_numpy(windows).split(batch):
        cells = method.attribute(x, target=0)
        parts.append(LayerAttribution.interpolate(cells, (x.shape[2],), "linear")[:, 0].detach())
    return torch.cat(parts).double().numpy()


def occlusion(
    detector: Detector, windows: np.ndarray, length: float = 0.25, step: float = 0.0625, batch: int = 64
) -> np.ndarray:
    """Return what each window's logit loses when all channels are zero around a moment.

    Occlusion (Zeiler & Fergus 2014) over ``length`` seconds every ``step``, (N, C, T) -> (N, T); what
    several positions cover is their mean.
    """
    sfreq = detector.preprocessing.sfreq
    size, stride = (max(1, round(s * sfreq)) for s in (length, step))
    method = Occlusion(_logit(detector.network))
    parts = [
        method.attribute(x, sliding_window_shapes=(x.shape[1], size), strides=(x.shape[1], stride), target=0)[
            :, 0
        ]
        for x in torch.from_numpy(windows).split(batch)
    ]
    return torch.cat(parts).double().numpy()


METHODS: Mapping[str, Method] = {"grad-cam": grad_cam, "occlusion": occlusion}


def explain(
    detector: Detector,
    windows: np.ndarray,
    *,
    method: str = "occlusion",
    most: int = 10,
    prevalence: float | None = None,
) -> Explanation:
    """Rank the segments that speak for epilepsy in a recording.

    Parameters
    ----------
    windows
        (N, C, T), adjoining windows of one recording.
    method
        Where the evidence over time comes from, one of `METHODS`.
    most
        How many segments at most.

    Returns
    -------
    Segments whose removal lowers the logit of their windows, ranked by how much; `Segment.change` is
    exact for the recording, with windows and aggregation computed anew.
    """
    relevance = METHODS[method](detector, windows).ravel()
    sfreq = detector.preprocessing.sfreq
    spans = peaks(relevance, round(LONGEST * sfreq), 3 * most)
    logits = detector.logits(windows)
    found = [_segment(detector, windows, logits, span, prevalence) for span in spans]
    ranked = sorted((s for s in found if s.attribution > 0), key=lambda s: -s.attribution)
    return Explanation(method, tuple(ranked[:most]), np.arange(len(relevance)) / sfreq, relevance)


def peaks(relevance: np.ndarray, longest: int, most: int) -> list[tuple[int, int]]:
    """Return the spans [start, stop) of at most ``longest`` samples around the highest peaks.

    A span reaches from its peak as far as the evidence stays above half of it; spans are taken from
    the highest peak down, and neither overlap nor touch within ``longest``, so that one event is one
    segment.
    """
    left = relevance.astype(float).copy()
    spans: list[tuple[int, int]] = []
    while len(spans) < most:
        top = int(np.argmax(left))
        if left[top] <= 0:
            break
        low, high = max(0, top - longest // 2), min(len(left), top + longest // 2)
        below = left[low:high] < left[top] / 2
        start = low + int(np.flatnonzero(below[: top - low])[-1]) + 1 if below[: top - low].any() else low
        stop = top + int(np.argmax(below[top - low :])) if below[top - low :].any() else high
        spans.append((start, stop))
        left[max(0, top - longest // 2) : top + longest // 2] = -np.inf
    return spans


def without(windows: np.ndarray, span: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows that ``span`` (samples from the start) touches, with it taken out.

    Returns
    -------
    index
        (M,) which windows.
    emptied
        (M, C, T) copies in which the span is zero on all channels.
    """
    length = windows.shape[2]
    index = np.arange(span[0] // length, (span[1] - 1) // length + 1)
    emptied = windows[index].copy()
    for row, i in zip(emptied, index, strict=True):
        row[:, max(0, span[0] - i * length) : span[1] - i * length] = 0
    return index, emptied


def _segment(
    detector: Detector,
    windows: np.ndarray,
    logits: np.ndarray,
    span: tuple[int, int],
    prevalence: float | None,
) -> Segment:
    index, emptied = without(windows, span)
    after = logits.copy()
    after[index] = detector.logits(emptied)
    with_it, without_it = detector.probability(np.stack([logits, after]), prevalence)
    sfreq = detector.preprocessing.sfreq
    return Segment(
        onset=span[0] / sfreq,
        duration=(span[1] - span[0]) / sfreq,
        channels=_channels(detector, windows[index], emptied),
        attribution=float((logits[index] - after[index]).sum()),
        change=float(with_it - without_it),
    )


def _channels(detector: Detector, windows: np.ndarray, emptied: np.ndarray) -> tuple[str, ...]:
    """Return the channels whose part of a segment matters at least half as much as the first one's.

    Feature ablation, one channel of the segment at a time; the strongest alone if none matters.
    """
    names = detector.preprocessing.channels
    mask = torch.arange(len(names))[None, :, None]
    x, baseline = torch.from_numpy(windows), torch.from_numpy(emptied)
    lost = FeatureAblation(_logit(detector.network)).attribute(
        x, baselines=baseline, feature_mask=mask, target=0, perturbations_per_eval=len(names)
    )
    effect = lost.amax(2).sum(0).numpy()
    order = np.argsort(-effect)
    return tuple(names[i] for i in order if effect[i] >= effect[order[0]] / 2 and effect[order[0]] > 0) or (
        names[order[0]],
    )


def _logit(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Give Captum one logit a window, (N, 1), also from a network of two scores."""
    network.eval()

    def forward(x: Tensor) -> Tensor:
        scores = network(x)
        return scores if scores.shape[1] == 1 else scores[:, 1:] - scores[:, :1]

    return forward
