"""Evidence for a recording's logit, which is put together from those of its windows."""

from __future__ import annotations

import numpy as np
import torch

from eeg.aggregate import AGGREGATIONS, Aggregation
from eeg.attribution import DEFAULT, Montage, attribute
from eeg.detector import Detector, network_logits

_STEPS = 200


def attribute_recording(
    detector: Detector,
    windows: np.ndarray,
    baseline: np.ndarray,
    *,
    method: str = DEFAULT,
    batch: int = 64,
    seed: int = 0,
    progress: bool = False,
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
    evidence = attribute(
        detector.network, x, filled, montage, method=method, batch=batch, seed=seed, progress=progress
    )
    logits, nothing = (network_logits(detector.network, data, batch) for data in (windows, baseline))
    share = shares(AGGREGATIONS[detector.aggregation], logits, nothing)
    return evidence.double().numpy() * share[:, None, None]


def shares(aggregate: Aggregation, logits: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """Return how much of each window's logit reaches the recording's, (N,).

    The mean of the aggregation's derivatives on the straight line from ``nothing`` to ``logits``, (N,) each,
    in 200 steps (Aumann & Shapley 1974): ``shares @ (logits - nothing)`` is what the recording's logit gains.
    """
    width = 1e-6 * (np.ptp([logits, nothing]) or 1.0)
    step = width * np.eye(len(logits))
    total = np.zeros(len(logits))
    for along in (np.arange(_STEPS) + 0.5) / _STEPS:
        here = nothing + along * (logits - nothing)
        total += (aggregate(here + step) - aggregate(here - step)) / (2 * width)
    return total / _STEPS
