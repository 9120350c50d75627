"""Dual propagation: units of two states, whose mean goes forward and whose difference goes back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.chain import output_error, pullback
from hebbian.links import LINKS, LinkRule, alternate
from hebbian.rule import Criterion, check_criterion, evaluating, full_precision
from hebbian.rule_info import register_rule


@register_rule(
    name="dual-propagation",
    family="settling",
    source="Høier, Staudt & Zach 2023; Høier & Zach 2024",
    needs=LINKS,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class DualPropagation(LinkRule):
    """Dual propagation: the mean of a unit's two states is its activity, their difference its error.

    Equation::

        dθ = d sum_l <s⁺_l - s⁻_l, link_l(s_{l-1})> / dθ / beta, s = alpha s⁺ + (1 - alpha) s⁻;
        s⁺_l = f(a_l + (1 - alpha) b_l), s⁻_l = f(a_l - alpha b_l), a_l = link_l(s_{l-1}),
        b_l = link_{l+1}ᵀ (s⁺_{l+1} - s⁻_{l+1}), at the output s⁺ - s⁻ = -beta dL/da

    f are the pointwise activations, and a link is what is between two of them: Linear and ConvNd layers,
    normalisation, pooling and flattening, used in both directions (max pooling sends back to the position of
    the maximum).  No derivative of f is needed.  A sweep runs from the first to the last unit with the errors
    of the sweep before, none at first, and back to the first.

    As beta tends to 0 this becomes backprop, with an error of order beta², or beta if alpha is not 1/2.  It
    is backprop already where no unit has a kink of a piecewise linear f, such as ReLU, between a and its two
    states.

    With alpha = 1/2 this is the rule of 2023, for other alpha the stable one of 2024 (DPᵀ).  The loss L of
    the output is linearised at a.  Normalisation layers update their statistics in a pass of the model and
    are used as in eval mode in the sweeps; dropout is off.  Other layers are refused.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    beta
        Strength of the nudge.
    alpha
        Weight of s⁺ in the mean, from 0 to 1.
    steps
        Number of sweeps.

    Raises
    ------
    TypeError
        If a block contains a layer that is neither a known link nor a known pointwise activation.
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, beta: float = 0.1, alpha: float = 0.5, steps: int = 1
    ) -> None:
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.beta, self.alpha, self.steps = beta, alpha, steps
        layers = [layer for block in self.layers for layer in block]
        self.links, self.activations = alternate(layers)
        self._has_statistics = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)

    def states(self, k: int, drive: Tensor, sent: Tensor) -> tuple[Tensor, Tensor]:
        """Return s⁺ and s⁻ of the units ``k`` whose links send ``drive`` up and ``sent`` back."""
        f = self.activations[k]
        return f(drive + (1 - self.alpha) * sent), f(drive - self.alpha * sent)

    @torch.no_grad()
    def settle(self, x: Tensor, y: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the input of each link, and the difference of the two states above it, both (N, ...)."""
        first, *above = self.links
        drive = first(x)
        sent = [drive.new_zeros(())] * len(above)
        for _ in range(self.steps):
            drives, sends = [drive], []
            for k, link in enumerate(above):
                plus, minus = self.states(k, drives[-1], sent[k])
                out, send = pullback(link, torch.lerp(minus, plus, self.alpha))
                drives.append(out)
                sends.append(send)
            error = output_error(self.criterion, drives[-1], y)
            inputs, differences = [], [-self.beta * len(y) * error]
            for k in reversed(range(len(above))):
                sent[k] = sends[k](differences[-1])
                plus, minus = self.states(k, drives[k], sent[k])
                inputs.append(torch.lerp(minus, plus, self.alpha))
                differences.append(plus - minus)
        return [x, *reversed(inputs)], differences[::-1]

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return minus the products of differences and inputs of the links / beta, mean over the batch."""
        if y is None:
            raise ValueError("dual propagation needs targets: rule(x, y)")
        if self._has_statistics:
            with torch.no_grad():
                self.model(x)
        with evaluating(self.model):
            inputs, differences = self.settle(x, y)
            terms = [torch.sum(f(s) * d) for f, s, d in zip(self.links, inputs, differences, strict=True)]
        return -torch.stack(terms).sum() / (self.beta * len(x))
