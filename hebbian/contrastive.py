"""Contrastive learning in every block by itself, without labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.rule import Rule, blocks, fed_detached, outputs
from hebbian.synapse import drawn


class Clapp(Rule):
    """A contrastive hinge loss a block, without labels (CLAPP, Illing 2021).

    Where c and z are a block's outputs for two views, a bilinear score s = zᵀ W c is pushed above 1
    for views of the same sample and below -1 for views of different ones:
    mean max(0, 1 - s) + mean max(0, 1 + s).  In the paper the views are successive patches of a scene
    and a negative comes from another; here they are two random halves of a sample, so that any input
    will do, and all other samples of the batch are negatives.  Maps are averaged over space.  The
    readout of the model does not learn.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    example
        A batch (N, ...) of inputs, for the shapes only.
    patch
        Places along each side of the patches that fall to one view or the other, all channels together;
        convolutions want theirs as large as what they look for.  Inputs (N, values) are split by values.
    generator
        Source of the first W.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, patch: int = 1, generator: torch.Generator | None = None
    ) -> None:
        if patch < 1:
            raise ValueError(f"patch must be at least 1, got {patch}")
        super().__init__(model)
        self.patch = patch
        self.predictors = nn.ModuleList(
            drawn(nn.Linear(h.shape[1], h.shape[1], bias=False), h, generator)
            for h in outputs(blocks(model)[:-1], example)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses; ``y`` is not looked at."""
        seen = self.first_view(x)
        views = 2 * torch.cat([x * seen, x * ~seen])  # twice, so that the currents keep their mean
        objectives = []
        for predictor, h in zip(self.predictors, fed_detached(blocks(self.model)[:-1], views), strict=True):
            c, z = (h if h.ndim == 2 else h.flatten(2).mean(2)).chunk(2)
            objectives.append(hinge(z @ predictor(c).T))
        return torch.stack(objectives).sum()

    def first_view(self, x: Tensor) -> Tensor:
        """Return what the first view has of each sample (N, ...); the second has the rest."""
        if x.ndim == 2:
            return torch.rand_like(x) < 0.5
        grid = [-(-side // self.patch) for side in x.shape[2:]]
        seen = torch.rand(len(x), 1, *grid, device=x.device) < 0.5
        for d, side in enumerate(x.shape[2:], 2):
            seen = seen.repeat_interleave(self.patch, d).narrow(d, 0, side)
        return seen


def hinge(s: Tensor) -> Tensor:
    """Return the contrastive hinge loss of scores (N, N), whose diagonal has the pairs that belong."""
    n = len(s)
    strangers = (1 + s).relu()
    negatives = (strangers.sum() - strangers.diagonal().sum()) / max(n * (n - 1), 1)
    return (1 - s.diagonal()).relu().mean() + negatives
