"""Poolings: from the logits of a recording's windows to the logit of the recording.

A pooling takes logits (..., N) and returns (...).  It is differentiable, so that a network can be trained
through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

Pooling = Callable[[Tensor], Tensor]


def mean_logit(logits: Tensor) -> Tensor:
    """Return the mean, which is additive over windows.

    >>> mean_logit(torch.tensor([0.0, 1.0, 5.0]))
    tensor(2.)
    """
    return logits.mean(-1)


def mean_probability(logits: Tensor) -> Tensor:
    """Return the logit of the mean probability, as in Uyttenhove et al. 2020."""
    return logits.sigmoid().mean(-1).logit(eps=1e-7)


def top_mean(logits: Tensor, fraction: float = 0.08) -> Tensor:
    """Return the mean of the highest ``fraction`` of the logits, at least one: for rare, brief events.

    It is a fraction and not a count, so that the score of a recording does not grow with its length.

    >>> top_mean(torch.tensor([0.0, 1.0, 5.0, 2.0]), fraction=0.5)
    tensor(3.5000)
    """
    return logits.topk(max(1, round(fraction * logits.shape[-1]))).values.mean(-1)


def peak_above_mean(logits: Tensor) -> Tensor:
    """Return how far the highest 8 % of the windows are above the mean of all.

    Whatever all windows of a recording have in common, such as the subject, cancels.
    """
    return top_mean(logits) - logits.mean(-1)


def noisy_or(logits: Tensor) -> Tensor:
    """Return the logit of 1 - prod(1 - p)^(1/N), the noisy-or (Pearl 1988) per window.

    For recordings of one length it ranks as the noisy-or does, which by itself grows with the length.
    """
    surprise = softplus(logits, threshold=40).mean(-1)  # -mean log(1 - p)
    surprise = surprise.clamp_min(torch.finfo(logits.dtype).tiny)
    return surprise + torch.log(-torch.expm1(-surprise))


def attention(logits: Tensor) -> Tensor:
    """Return the mean of the logits, weighted by their softmax."""
    return (logits.softmax(-1) * logits).sum(-1)


POOLINGS: Mapping[str, Pooling] = {
    "mean": mean_logit,
    "mean-probability": mean_probability,
    "top": top_mean,
    "peak": peak_above_mean,
    "noisy-or": noisy_or,
    "attention": attention,
}
"""Names on the command line (``--aggregation``)."""

CHOSEN = "chosen"
"""In place of a name: `best_pooling` for subjects that were not used to train the network."""


def pool_logits(name: str, logits: np.ndarray) -> np.ndarray:
    """Return a pooling of `POOLINGS` on an array, (..., N) -> (...), in float64.

    >>> float(pool_logits("mean", np.array([0.0, 1.0, 5.0])))
    2.0
    """
    return POOLINGS[name](torch.from_numpy(np.array(logits, float, order="C"))).numpy()


def best_pooling(logits: Sequence[np.ndarray], labels: np.ndarray, subjects: np.ndarray) -> str:
    """Return the name of the pooling with the highest ROC-AUC of subjects, the first of equals.

    Parameters
    ----------
    logits
        Those of each recording's windows, (N_i,).
    labels, subjects
        (n,) each, of the recordings; the score of a subject is the mean over their recordings.

    Raises
    ------
    ValueError
        If all labels are the same.
    """
    if labels.min() == labels.max():
        raise ValueError("choosing a pooling needs subjects of both classes; all have the same label")

    from sklearn.metrics import roc_auc_score  # takes half a second

    names, first, subject = np.unique(subjects, return_index=True, return_inverse=True)

    def subject_auc(name: str) -> float:
        scores = np.array([float(pool_logits(name, z)) for z in logits])
        means = [scores[subject == i].mean() for i in range(len(names))]
        return float(roc_auc_score(labels[first], means))

    return max(POOLINGS, key=subject_auc)
