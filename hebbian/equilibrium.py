"""Equilibrium propagation: one network settles freely, then nudged; the contrast of the two teaches."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.nn import RePU
from hebbian.rule import Rule, blocks, evaluating, full_precision, outputs
from hebbian.synapse import LAYERS

Nudge = Literal["one-sided", "symmetric", "random-sign"]

_LINKS = (
    *LAYERS,
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.Flatten, nn.Unflatten, nn.Upsample, nn.Identity, nn.Dropout),
)
_POINTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.ReLU6),
    *(nn.Tanh, nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, RePU),
)


class EquilibriumPropagation(Rule):
    """Scellier & Bengio 2017, with the nudges of Laborieux 2021: every link is used both ways.

    The states s of the blocks settle by s <- clip(dPhi/ds, 0, 1), where Phi = sum_l <s_l, f_l(s_{l-1})>, and
    dPhi/ds of the last block, one unit a class, gets beta (y - s) where it is nudged.  The weights climb

    - ``one-sided``: (Phi(s_beta) - Phi(s_0)) / beta, whose error is of order beta,
    - ``random-sign``: the same, with the sign of beta drawn anew each call,
    - ``symmetric``: (Phi(s_beta) - Phi(s_-beta)) / (2 beta), whose error is of order beta².

    This descends the squared error |y - s|² / 2 of the free equilibrium, averaged over the batch.

    A link f_l is its block without pointwise activations, whose place the clip takes: so ``predict``, which
    settles, is not ``model(x)``.  Linear and ConvNd layers, flattening and pooling work both ways (max
    pooling sends back to where the maximum came from).  Normalisation layers gather statistics in the
    first sweep and are used as in eval mode while the states settle; dropout is off.  Other layers are
    refused.  No gradient passes through ``predict``.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which has one unit a class, at least two.
    example
        A batch (N, ...) of inputs, for the shapes only.
    beta
        Strength of the nudge.
    steps
        Of the free phase, and of each nudged one.
    nudge
        See above.

    Raises
    ------
    TypeError
        If a block holds a layer that is known neither as a link nor as a pointwise activation.
    ValueError
        If the last block has one unit.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        beta: float = 0.5,
        steps: tuple[int, int] = (30, 10),
        nudge: Nudge = "symmetric",
    ) -> None:
        if nudge not in ("one-sided", "symmetric", "random-sign"):
            raise ValueError(f"nudge must be 'one-sided', 'symmetric' or 'random-sign', got {nudge!r}")
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.classes = outputs(blocks(model), example)[-1].shape[1]
        if self.classes < 2:
            raise ValueError(
                f"equilibrium propagation needs one unit a class, at least 2; got {self.classes}"
            )
        super().__init__(model)
        self.links = [_link(block) for block in blocks(model)]
        self.beta, self.steps, self.nudge = beta, steps, nudge

    def harmony(self, drive: Tensor, s: list[Tensor]) -> Tensor:
        """Return Phi of the states ``s``, summed over the batch; ``drive`` is f_1(x)."""
        fields = [drive, *(f(below) for f, below in zip(self.links[1:], s[:-1], strict=True))]
        return torch.stack([torch.sum(a * u) for a, u in zip(s, fields, strict=True)]).sum()

    @torch.no_grad()
    def settle(
        self, drive: Tensor, s: list[Tensor], steps: int, beta: Tensor | float = 0.0, y: Tensor | None = None
    ) -> list[Tensor]:
        """Let the states ``s`` settle, the last of them drawn to ``y`` (N, K) by ``beta``."""
        pull = torch.func.grad(lambda s: self.harmony(drive, s))
        for _ in range(steps):
            field = pull(s)
            if y is not None:
                field[-1] = field[-1] + beta * (y - s[-1])
            s = [u.clamp(0, 1) for u in field]
        return s

    @torch.no_grad()
    def sweep(self, x: Tensor) -> list[Tensor]:
        """Return the states that the input alone gives, block after block."""
        s = []
        for link in self.links:
            x = link(x).clamp(0, 1)
            s.append(x)
        return s

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return minus the contrast of the phases, mean over the batch; ``y`` (N,) are classes."""
        if y is None:
            raise ValueError("equilibrium propagation needs targets: rule(x, y)")
        wanted = F.one_hot(y, self.classes).to(x.dtype)
        s = self.sweep(x)
        with evaluating(self.model):
            drive = self.links[0](x)
            free = self.settle(drive.detach(), s, self.steps[0])
            low, high = self.nudges()
            a, b = (self.settle(drive.detach(), free, self.steps[1], beta, wanted) for beta in (low, high))
            return (self.harmony(drive, a) - self.harmony(drive, b)) / ((high - low) * len(x))

    def nudges(self) -> tuple[float, Tensor | float]:
        """Return the beta of the two phases that are held against each other."""
        if self.nudge == "symmetric":
            return -self.beta, self.beta
        if self.nudge == "one-sided":
            return 0.0, self.beta
        return 0.0, self.beta * (2 * torch.randint(0, 2, ()) - 1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the last block's states (N, K) at the free equilibrium, in [0, 1]."""
        s = self.sweep(x)
        with evaluating(self.model):
            return self.settle(self.links[0](x), s, self.steps[0])[-1]


def _link(block: nn.Module) -> nn.Sequential:
    """Return ``block`` without its pointwise activations."""
    kept = []
    for layer in _leaves(block):
        if isinstance(layer, _LINKS):
            kept.append(layer)
        elif not isinstance(layer, _POINTWISE):
            raise TypeError(
                f"equilibrium propagation uses every link both ways and cannot use {type(layer).__name__}; "
                "build blocks of Linear, ConvNd, pooling, Flatten and torch's pointwise activations"
            )
    return nn.Sequential(*kept)


def _leaves(block: nn.Module) -> list[nn.Module]:
    """Return the layers of a chain of chains, in order."""
    if isinstance(block, nn.Sequential):
        return [leaf for child in block for leaf in _leaves(child)]
    return [block]
