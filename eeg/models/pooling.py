"""From the logits of windows to one logit of a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import softplus

Pooling = Callable[[Tensor], Tensor]
"""Logits of windows (..., N) -> those of their recordings (...)."""


def top(logits: Tensor, share: float = 0.08) -> Tensor:
    """Return the mean of the highest ``share`` of the logits, at least one."""
    return logits.topk(max(1, round(share * logits.shape[-1]))).values.mean(-1)


def peak(logits: Tensor) -> Tensor:
    """Return how far the highest 8 % of the windows lie above the mean of all."""
    return top(logits) - logits.mean(-1)


def mean_probability(logits: Tensor) -> Tensor:
    """Return the logit of the mean probability."""
    return logits.sigmoid().mean(-1).logit(eps=1e-7)


def noisy_or(logits: Tensor) -> Tensor:
    """Return the logit of one window that, N times over, gives the noisy-or of all."""
    surprise = softplus(logits).mean(-1).clamp_min(torch.finfo(logits.dtype).tiny)
    return surprise + torch.log(-torch.expm1(-surprise))


def attention(logits: Tensor) -> Tensor:
    """Return the mean of the logits, each weighing as its own softmax says."""
    return (logits.softmax(-1) * logits).sum(-1)


POOLINGS: Mapping[str, Pooling] = {
    "mean": lambda logits: logits.mean(-1),
    "mean-probability": mean_probability,
    "top": top,
    "peak": peak,
    "noisy-or": noisy_or,
    "attention": attention,
}
"""The aggregations of `eeg.models.aggregation`, with gradients: what a network can be trained through."""
