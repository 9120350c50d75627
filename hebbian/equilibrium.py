"""Equilibrium propagation: the contrast between a free and a nudged phase of one network."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.chain import POINTWISE, block_outputs, has_one_mode, pullback
from hebbian.links import LINKS, LinkRule
from hebbian.rule import check_classes, evaluating, full_precision
from hebbian.rule_info import register_rule

Nudge = Literal["one-sided", "symmetric", "random-sign"]


@register_rule(
    name="eqprop",
    family="settling",
    source="Scellier & Bengio 2017; Laborieux et al. 2021",
    needs=f"{LINKS}; one unit a class",
    build=lambda make, c: make(c.model, c.example, **c.settings),
    traits={"own readout"},
    one_logit=False,
)
class EquilibriumPropagation(LinkRule):
    """Equilibrium propagation, with the nudges of Laborieux 2021.

    Equation::

        dW = (dPhi/dW(s_beta) - dPhi/dW(s_-beta)) / (2 beta), Phi = sum_l <s_l, f_l(s_{l-1})>

    The states s of the blocks settle by s <- clip(dPhi/ds, 0, 1); in the nudged phase beta (y - s) is added
    to dPhi/ds of the last block, which has one unit a class.  The weights ascend

    - ``one-sided``: ``(Phi(s_beta) - Phi(s_0)) / beta``, with an error of order beta,
    - ``random-sign``: the same, with a new random sign of beta each call,
    - ``symmetric``: ``(Phi(s_beta) - Phi(s_-beta)) / (2 beta)``, with an error of order beta².

    This descends the squared error ``|y - s|² / 2`` of the free equilibrium, averaged over the batch.

    A link f_l is its block without pointwise activations, which the clip replaces: so ``predict``, which
    settles, is not ``model(x)``.  Linear and ConvNd layers, flattening and pooling are used in both
    directions (max pooling sends back to the position of the maximum).  Normalisation layers update their
    statistics in the first sweep and are used as in eval mode while the states settle; dropout is off.
    Other layers are refused.  No gradient passes through ``predict``.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which has one unit a class, at least two.
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
        If a block contains a layer that is neither a known link nor a known pointwise activation.
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
        if min(steps) < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        super().__init__(model)
        self.classes = block_outputs(self.blocks, example)[-1].shape[1]
        if self.classes < 2:
            raise ValueError(
                f"equilibrium propagation needs one unit a class, at least 2; got {self.classes}"
            )
        self.links = [
            nn.Sequential(*(layer for layer in layers if not isinstance(layer, POINTWISE)))
            for layers in self.layers
        ]
        self.beta, self.steps, self.nudge = beta, steps, nudge

    def harmony(self, drive: Tensor, s: list[Tensor]) -> Tensor:
        """Return Phi of the states ``s``, summed over the batch; ``drive`` is f_1(x)."""
        fields = [drive, *(f(below) for f, below in zip(self.links[1:], s[:-1], strict=True))]
        return torch.stack([torch.sum(a * u) for a, u in zip(s, fields, strict=True)]).sum()

    def pull(self, drive: Tensor, s: list[Tensor]) -> list[Tensor]:
        """Return dPhi/ds of each state: what the link below sends up and the link above sends back."""
        fields = [drive]
        for link, below, above in zip(self.links[1:], s[:-1], s[1:], strict=True):
            fields[-1:] = _both_ways(link, below, above, fields[-1])
        return fields

    @torch.no_grad()
    def settle(
        self, drive: Tensor, s: list[Tensor], steps: int, beta: Tensor | float = 0.0, y: Tensor | None = None
    ) -> list[Tensor]:
        """Return the states after settling.

        Parameters
        ----------
        drive
            Input f_1(x) of the first block.
        s
            Initial state of each block.
        steps
            Number of iterations.
        beta
            Strength with which the last state is nudged to ``y``.
        y
            One-hot targets (N, K); None in the free phase.
        """
        for _ in range(steps):
            field = self.pull(drive, s)
            if y is not None:
                field[-1] = field[-1] + beta * (y - s[-1])
            s = [u.clamp(0, 1) for u in field]
        return s

    def drive(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return f_1(x) as in eval mode, and the states after one feed-forward pass."""
        drive = self.links[0](x)
        with torch.no_grad():
            s = [drive.clamp(0, 1)]
            for link in self.links[1:]:
                s.append(link(s[-1]).clamp(0, 1))
        if not has_one_mode(self.links[0]):
            with evaluating(self.model):
                drive = self.links[0](x)
        return drive, s

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return minus the contrast of the phases, mean over the batch; ``y`` (N,) are classes."""
        if y is None:
            raise ValueError("equilibrium propagation needs targets: rule(x, y)")
        check_classes(y, self.classes, len(x))
        target = F.one_hot(y, self.classes).to(x.dtype)
        drive, s = self.drive(x)
        with evaluating(self.model):
            free = self.settle(drive.detach(), s, self.steps[0])
            low, high = self.nudges()
            a, b = (self.settle(drive.detach(), free, self.steps[1], beta, target) for beta in (low, high))
            return (self.harmony(drive, a) - self.harmony(drive, b)) / ((high - low) * len(x))

    def nudges(self) -> tuple[float, Tensor | float]:
        """Return the beta of the two phases that are compared."""
        if self.nudge == "symmetric":
            return -self.beta, self.beta
        if self.nudge == "one-sided":
            return 0.0, self.beta
        return 0.0, self.beta * (2 * torch.randint(0, 2, ()) - 1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the last block's states (N, K) at the free equilibrium, in [0, 1]."""
        with torch.inference_mode(False):  # inside it autograd, which sends states back, does nothing
            x = x.clone() if x.is_inference() else x
            drive, s = self.drive(x)
            with evaluating(self.model):
                return self.settle(drive, s, self.steps[0])[-1]


def _both_ways(link: nn.Sequential, below: Tensor, above: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``field`` plus ``above`` sent back through ``link``, and its output for ``below``."""
    layer = link[0]
    if len(link) == 1 and type(layer) is nn.Linear and not layer._forward_hooks and above.ndim == 2:
        return torch.addmm(field, above, layer.weight), layer(below)  # less than half of the general case
    out, send = pullback(link, below)
    return field + send(above), out
