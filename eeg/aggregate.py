"""From the logits of a recording's windows to the recording's own.

An aggregation takes logits (..., N) and returns (...).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

Aggregation = Callable[[np.ndarray], np.ndarray]


def mean_logit(logits: np.ndarray) -> np.ndarray:
    """Return the mean: exactly additive over windows."""
    return np.mean(logits, -1)


def mean_probability(logits: np.ndarray) -> np.ndarray:
    """Return the logit of the mean probability, as in Uyttenhove et al. 2020."""
    return np.asarray(logit(np.clip(expit(logits).mean(-1), 1e-7, 1 - 1e-7)))


@dataclass(frozen=True)
class TopShare:
    """The mean over the highest ``share`` of the windows, at least one: for rare, brief events.

    A share and not a count, so that a longer recording is not more suspect for its length.
    """

    share: float = 0.08

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Return the mean of the highest windows."""
        k = max(1, round(self.share * logits.shape[-1]))
        return np.partition(logits, -k, -1)[..., -k:].mean(-1)


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": mean_logit,
    "mean-probability": mean_probability,
    "top": TopShare(),
}
