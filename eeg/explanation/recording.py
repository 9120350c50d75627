"""Evidence for a recording's logit, pooled from the logits of its windows."""

from __future__ import annotations

import numpy as np
import torch

from eeg.models.pooling import POOLINGS

_STEPS, _AT_ONCE = 200, 10


def contributions(pooling: str, logits: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Return what each window adds to the raw logit of its recording, (N,).

    ``logits`` and ``baseline`` (N,) are the network's logits of the windows and of what replaces each.  The
    contributions add up to the recording's logit minus that of the baseline.
    """
    return pooling_weights(pooling, logits, baseline) * (logits - baseline)


def pooling_weights(pooling: str, logits: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Return how much of each window's logit reaches the recording's, (N,).

    The mean of the pooling's derivatives on the straight line from ``baseline`` to ``logits``, (N,) each,
    in 200 steps (Aumann & Shapley 1974): ``weights @ (logits - baseline)`` is what the recording's logit
    gains.  Times the evidence for each window's logit they are evidence for the recording's: a chain rule,
    as DeepLift's (Shrikumar et al. 2017).
    """
    start, end = torch.from_numpy(baseline), torch.from_numpy(logits)
    steps = ((torch.arange(_STEPS) + 0.5) / _STEPS).double()[:, None]
    total = torch.zeros_like(end)
    for part in steps.split(_AT_ONCE):  # a day of windows at all steps would take a gigabyte
        points = (start + part * (end - start)).requires_grad_()
        (slopes,) = torch.autograd.grad(POOLINGS[pooling](points).sum(), points)
        total += slopes.sum(0)
    return (total / _STEPS).numpy()
