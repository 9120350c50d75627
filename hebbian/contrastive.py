"""Contrastive learning in every block separately, without labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.chain import ChainRule, block_outputs, forward_detached
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import init_uniform


@register_rule(
    name="clapp",
    family="local losses",
    source="Illing et al. 2021",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.example, **c.settings),
    traits={"local", "noisy", "batch statistics"},
    supervised=False,
)
class Clapp(ChainRule):
    """CLAPP: a contrastive hinge loss for each block, without labels.

    Equation::

        a block descends max(0, 1 - s) for views of a sample, max(0, 1 + s) of two; s = zᵀ W c

    c and z are a block's outputs for two views.  In the paper the views are successive patches of a scene
    and negatives are patches of another scene; here they are two random halves of a sample, so that any
    input is possible, and all other samples of the batch are negatives.  Maps are averaged over space.
    The readout of the model does not learn.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    example
        A batch (N, ...) of inputs, for the shapes only.
    patch
        Side of the patches that are assigned to one view or the other, all channels together, in places;
        for convolutions choose the size of the features.  Inputs (N, values) are split by values.
    generator
        For the initial W.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, patch: int = 1, generator: torch.Generator | None = None
    ) -> None:
        if patch < 1:
            raise ValueError(f"patch must be at least 1, got {patch}")
        if patch > 1 and example.ndim == 2:
            raise ValueError(f"inputs (N, values) have no patches; expected patch 1, got {patch}")
        super().__init__(model)
        self.patch = patch
        self.predictors = nn.ModuleList(
            init_uniform(nn.Linear(h.shape[1], h.shape[1], bias=False), h, generator)
            for h in block_outputs(self.blocks[:-1], example, maps=True)
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses; ``y`` is not used."""
        mask = self.first_view(x)
        views = 2 * torch.cat([x * mask, x * ~mask])  # doubled, to preserve the mean of the currents
        objectives = []
        for predictor, h in zip(self.predictors, forward_detached(self.blocks[:-1], views), strict=True):
            c, z = (h if h.ndim == 2 else h.flatten(2).mean(2)).chunk(2)
            objectives.append(hinge(z @ predictor(c).T))
        return torch.stack(objectives).sum()

    def first_view(self, x: Tensor) -> Tensor:
        """Return the mask of each sample (N, ...) for the first view; the second view is the rest."""
        if x.ndim == 2:
            return torch.rand_like(x, memory_format=torch.contiguous_format) < 0.5
        grid = [-(-side // self.patch) for side in x.shape[2:]]
        mask = torch.rand(len(x), 1, *grid, device=x.device) < 0.5
        for d, side in enumerate(x.shape[2:], 2):
            mask = mask.repeat_interleave(self.patch, d).narrow(d, 0, side)
        return mask


def hinge(s: Tensor) -> Tensor:
    """Return the contrastive hinge loss of scores (N, N), with the positive pairs on the diagonal."""
    n = len(s)
    margins = (1 + s).relu()
    negatives = (margins.sum() - margins.diagonal().sum()) / max(n * (n - 1), 1)
    return (1 - s.diagonal()).relu().mean() + negatives


@register_rule(
    name="scff",
    family="local losses",
    source="Chen et al. 2025",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.example, **c.settings),
    traits={"local", "batch statistics"},
    supervised=False,
)
class SelfContrastive(ChainRule):
    """Self-contrastive Forward-Forward: higher goodness for samples than for mixtures.

    Equation::

        a block descends softplus(θ₊ - g₊) + softplus(g₋ - θ₋) + penalty |g₊|; g = mean of h² over units

    The paper joins the input of a block for a sample with itself (positive) or with that of another sample
    (negative), under equal weights, which then receive the sum of the two.  Here they receive half of it,
    so that the positive input is the sample itself and the model is trained on what it computes; weights
    are twice those of the paper.  Convolutions have one goodness g for each place, and ``|g₊|`` is the norm
    over places.  The other sample is the neighbour in the batch, so batches must be shuffled.  The paper
    standardises the inputs of each block; so should the model, by a norm.  No labels are used, and the
    readout of the model does not learn.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    example
        A batch (N, ...) of inputs, for the shapes only.
    thresholds
        θ₊, which the goodness of a sample exceeds, and θ₋, under which that of a mixture stays.
    penalty
        Weight of the goodness of samples, which bounds it; not negative.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        thresholds: tuple[float, float] = (4.0, 4.0),
        penalty: float = 0.0,
    ) -> None:
        if penalty < 0:
            raise ValueError(f"penalty must not be negative, got {penalty}")
        super().__init__(model)
        block_outputs(self.blocks[:-1], example, maps=True)  # refuses features last
        self.thresholds, self.penalty = thresholds, penalty

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the blocks' losses; ``y`` is not used."""
        if len(x) < 2:
            raise ValueError("scff compares samples of a batch; expected at least 2, got 1")
        above, below = self.thresholds
        objectives, h = [], x
        for block in self.blocks[:-1]:
            h = h.detach()
            out = block(torch.cat([h, (h + h.roll(1, 0)) / 2]))
            h, _ = out.chunk(2)
            sample, mixture = out.square().mean(1).chunk(2)
            loss = F.softplus(above - sample).mean() + F.softplus(mixture - below).mean()
            size = torch.linalg.vector_norm(sample.reshape(len(h), -1), dim=1).mean()
            objectives.append(loss + self.penalty * size)
        return torch.stack(objectives).sum()
