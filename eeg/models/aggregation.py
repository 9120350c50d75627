"""From the logits of a recording's windows to the recording's own.

An aggregation takes logits (..., N) and returns (...).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, softmax
from sklearn.metrics import roc_auc_score

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


def peak(logits: np.ndarray) -> np.ndarray:
    """Return how far the highest 8 % of the windows lie above the mean of all.

    What all windows of a recording share, such as whose it is, cancels.
    """
    return TopShare()(logits) - mean_logit(logits)


def noisy_or(logits: np.ndarray) -> np.ndarray:
    """Return the logit of one window that, N times over, gives the noisy-or of all: 1 - prod(1 - p)^(1/N).

    For recordings of one length it ranks as the noisy-or does (Pearl 1988); of its own, that would call
    any recording epilepsy that is long enough.
    """
    surprise = np.maximum(np.logaddexp(0, logits).mean(-1), np.finfo(float).tiny)  # -mean log(1 - p)
    return np.asarray(surprise + np.log(-np.expm1(-surprise)))


def attention(logits: np.ndarray) -> np.ndarray:
    """Return the mean of the logits, each weighing as their softmax says: the higher, the more."""
    return np.asarray((softmax(logits, -1) * logits).sum(-1))


AGGREGATIONS: dict[str, Aggregation] = {
    "mean": mean_logit,
    "mean-probability": mean_probability,
    "top": TopShare(),
    "peak": peak,
    "noisy-or": noisy_or,
    "attention": attention,
}

CHOSEN = "chosen"
"""In the place of a name: the best one for subjects that were kept from the network's training."""


def best(logits: Sequence[np.ndarray], labels: np.ndarray, subjects: np.ndarray) -> str:
    """Return the name of the aggregation with the highest ROC-AUC of subjects, the first of equals.

    Parameters
    ----------
    logits
        Those of each recording's windows, (N_i,).
    labels, subjects
        (n,) each, of the recordings; a subject's score is the mean over his.

    Raises
    ------
    ValueError
        If all are of one class.
    """

    def ranked(name: str) -> float:
        scores = np.array([float(AGGREGATIONS[name](z)) for z in logits])
        names = np.unique(subjects)
        means = [scores[subjects == s].mean() for s in names]
        return float(roc_auc_score([labels[subjects == s][0] for s in names], means))

    if labels.min() == labels.max():
        raise ValueError("choosing an aggregation needs both classes")
    return max(AGGREGATIONS, key=ranked)
