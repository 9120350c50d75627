"""Difference target propagation: every block learns to reach a target that the block above sends down."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, blocks, evaluating, fed_detached, full_precision, outputs
from hebbian.synapse import CONVOLUTION_FOR, Synaptic


class DifferenceTarget(Rule):
    """Lee 2015: targets t travel down through learned approximate inverses g of the blocks.

    The last hidden block's target is t_L = h_L - dL/dh_L, and t_{l-1} = h_{l-1} + g_l(t_l) - g_l(h_l): the
    difference makes up for what g_l cannot invert.  Block l descends |f_l(h_{l-1}) - t_l|² / 2, the
    readout the criterion, and g_l the reconstruction |g_l(f_l(h + n)) - h - n|² / 2 with noise n around
    h = h_{l-1}.  All are one objective; where g is the inverse and the weights are orthogonal, it is
    backprop (Meulemans 2020).  With one hidden block there is nothing to invert and it is backprop.

    g_l is affine, `self.feedback`: a Linear layer, or between feature maps a resizing to the size below
    and a convolution.  It has no squashing function, so it suits any activation.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    noise
        Standard deviation of n.
    generator
        Source of the initial weights of g, which are N(0, 1 / fan-in).
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        noise: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model)
        self.criterion, self.noise = criterion, noise
        hidden = outputs(blocks(model), example)[:-1]
        self.feedback = nn.ModuleList(_inverse(a, b, generator) for a, b in pairwise(hidden))

    @torch.no_grad()
    def targets(self, hidden: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return the target (N, ...) of each hidden block's output."""
        readout = blocks(self.model)[-1]
        t = hidden[-1] - torch.func.grad(lambda h: len(h) * self.criterion(readout(h), y))(hidden[-1])
        found = [t]
        for g, (below, above) in reversed(list(zip(self.feedback, pairwise(hidden), strict=True))):
            t = below + g(t) - g(above)
            found.append(t)
        return found[::-1]

    def reconstruction(self, hidden: list[Tensor]) -> list[Tensor]:
        """Return how far each g is from the inverse of its block, around the outputs ``hidden``."""
        above = blocks(self.model)[1:-1]
        errors = []
        for f, g, h in zip(above, self.feedback, hidden[:-1], strict=True):
            near = h + self.noise * torch.randn_like(h)
            with torch.no_grad():
                seen = f(near)
            errors.append((g(seen) - near).square().sum())
        return errors

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus half the squared distances to the targets and of reconstruction."""
        if y is None:
            raise ValueError("target propagation needs targets: rule(x, y)")
        *hidden, scores = fed_detached(blocks(self.model), x)
        reached = [h.detach() for h in hidden]
        with evaluating(self.model):
            targets = self.targets(reached, y)
            missed = self.reconstruction(reached)
        missed += [(h - t).square().sum() for h, t in zip(hidden, targets, strict=True)]
        return self.criterion(scores, y) + torch.stack(missed).sum() / (2 * len(x))


def _inverse(below: Tensor, above: Tensor, generator: torch.Generator | None) -> nn.Module:
    """Return an affine map from the shape of ``above`` to that of ``below``, both (N, ...)."""
    layer: Synaptic
    if below.ndim == above.ndim > 2:
        layer = CONVOLUTION_FOR[below.ndim](above.shape[1], below.shape[1], 3, padding=1)
        chain = nn.Sequential(nn.Upsample(below.shape[2:]), layer)
    else:
        layer = nn.Linear(above[0].numel(), below[0].numel())
        chain = nn.Sequential(nn.Flatten(), layer, nn.Unflatten(1, below.shape[1:]))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight.normal_(std=layer.weight[0].numel() ** -0.5, generator=generator)
    return chain.to(below)
