"""Evidence for a recording's logit, which is put together from those of its windows."""

from __future__ import annotations

import numpy as np
import torch

from eeg.detector.detector import Detector, network_logits
from eeg.explanation.attribution import DEFAULT, Montage, attribute
from eeg.models.pooling import POOLINGS

_STEPS, _AT_ONCE = 200, 10


def attribute_recording(
    detector: Detector,
    windows: np.ndarray,
    baseline: np.ndarray,
    *,
    method: str = DEFAULT,
    batch: int = 64,
    seed: int = 0,
) -> np.ndarray:
    """Return what each moment adds to the raw logit of a recording.

    Evidence about the windows' logits times the share of each in the recording's: a chain rule, as DeepLift's
    (Shrikumar et al. 2017).  Of `Method.complete` methods it adds up to the recording's logit minus that of
    its baseline.

    Parameters
    ----------
    windows, baseline
        (N, C, T) each: all windows of the recording, and what stands for nothing in each.

    Returns
    -------
    (N, C, T), or (N, 1, T) of a method that does not tell channels apart, in logits a sample.
    """
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)
    x, filled = torch.from_numpy(windows), torch.from_numpy(baseline)
    evidence = attribute(detector.network, x, filled, montage, method=method, batch=batch, seed=seed)
    logits, nothing = (network_logits(detector.network, data, batch) for data in (windows, baseline))
    share = shares(detector.aggregation, logits, nothing)
    return evidence.double().numpy() * share[:, None, None]


def contributions(
    detector: Detector, windows: np.ndarray, baseline: np.ndarray, batch: int = 64
) -> np.ndarray:
    """Return what each window (N, C, T) adds to the raw logit of the recording, (N,).

    They add up to that logit minus the one that the baseline (N, C, T) has.
    """
    logits, nothing = (network_logits(detector.network, data, batch) for data in (windows, baseline))
    return shares(detector.aggregation, logits, nothing) * (logits - nothing)


def shares(aggregation: str, logits: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """Return how much of each window's logit reaches the recording's, (N,).

    The mean of the aggregation's derivatives on the straight line from ``nothing`` to ``logits``, (N,) each,
    in 200 steps (Aumann & Shapley 1974): ``shares @ (logits - nothing)`` is what the recording's logit gains.
    """
    start, end = torch.from_numpy(nothing), torch.from_numpy(logits)
    along = ((torch.arange(_STEPS) + 0.5) / _STEPS).double()[:, None]
    total = torch.zeros_like(end)
    for some in along.split(_AT_ONCE):  # a day of windows at all steps would take a gigabyte
        points = (start + some * (end - start)).requires_grad_()
        (slopes,) = torch.autograd.grad(POOLINGS[aggregation](points).sum(), points)
        total += slopes.sum(0)
    return (total / _STEPS).numpy()
