"""Difference target propagation: every block learns to reach a target from the block above."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from hebbian.chain import ChainRule, block_outputs, forward_detached, pullback
from hebbian.rule import Criterion, check_criterion, evaluating, full_precision
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import CONVOLUTION_FOR, Synaptic, randn_like


@register_rule(
    name="dtp",
    family="settling",
    source="Lee et al. 2015; Meulemans et al. 2020",
    needs=f"{CHAIN}; with one hidden block it is backprop",
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"noisy"},
)
class DifferenceTarget(ChainRule):
    """Difference target propagation: targets t pass through learned approximate inverses g of the blocks.

    Equation::

        dθ_l = -d|h_l - t_l|²/dθ_l / 2; t_{l-1} = h_{l-1} + g(t_l) - g(h_l), t_L = h_L - dL/dh_L

    The difference compensates for the error of g.  The readout descends the criterion, and g_l the
    reconstruction error ``|g_l(f_l(h + n)) - h - n|² / 2`` with noise n around h = h_{l-1}.  All are one
    objective; if g is the inverse and the weights are orthogonal, it is backprop (Meulemans 2020).  With
    one hidden block there is no inverse and it is backprop.

    g_l is affine, `self.feedback`: a Linear layer, or between feature maps a resizing to the size below
    and a convolution.  It has no nonlinearity, so it suits any activation.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    noise
        Standard deviation of n.
    generator
        For the initial weights of g, which are N(0, 1 / fan-in).
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        noise: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        if noise < 0:
            raise ValueError(f"noise must be at least 0, got {noise}")
        super().__init__(model)
        self.criterion, self.noise = check_criterion(criterion), noise
        hidden = block_outputs(self.blocks[:-1], example, maps=True)
        self.feedback = nn.ModuleList(_inverse(a, b, generator) for a, b in pairwise(hidden))

    @torch.no_grad()
    def targets(self, hidden: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return the target (N, ...) of each hidden block's output."""
        readout = self.blocks[-1]
        loss, send = pullback(lambda h: self.criterion(readout(h), y), hidden[-1])
        t = hidden[-1] - send(torch.full_like(loss, len(y)))
        targets = [t]
        for g, (below, above) in reversed(list(zip(self.feedback, pairwise(hidden), strict=True))):
            t = below + g(t) - g(above)
            targets.append(t)
        return targets[::-1]

    def reconstruction(self, hidden: list[Tensor]) -> list[Tensor]:
        """Return the reconstruction error of each g around the outputs ``hidden``."""
        above = self.blocks[1:-1]
        errors = []
        for f, g, h in zip(above, self.feedback, hidden[:-1], strict=True):
            near = h + self.noise * randn_like(h)
            with torch.no_grad():
                above_near = f(near)
            errors.append((g(above_near) - near).square().sum())
        return errors

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus half the squared distances to the targets and of reconstruction."""
        if y is None:
            raise ValueError("target propagation needs targets: rule(x, y)")
        *hidden, scores = forward_detached(self.blocks, x)
        reached = [h.detach() for h in hidden]
        with evaluating(self.model):
            targets = self.targets(reached, y)
            errors = self.reconstruction(reached)
        errors += [(h - t).square().sum() for h, t in zip(hidden, targets, strict=True)]
        return self.criterion(scores, y) + torch.stack(errors).sum() / (2 * len(x))


@register_rule(
    name="ldrl",
    family="settling",
    source="Ernoult et al. 2022",
    needs=f"{CHAIN}; with one hidden block it is backprop",
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"noisy"},
)
class LocalDifferenceReconstruction(DifferenceTarget):
    """Difference target propagation with the local difference reconstruction loss (L-DRL) of the feedback.

    Equation::

        dθ_l = -d|h_l - t_l|²/dθ_l / 2; t_{l-1} = h_{l-1} + g(t_l) - g(h_l), t_L = h_L - dL/dh_L;
        dg = d(<n, g(f(h + n)) - g(f(h))> - |g(f(h) + m) - g(f(h))|² / 2)/dg

    n is noise at the input h = h_{l-1} of f = f_l, m noise at its output.  For small noise the loss of g
    is least, in expectation, where its Jacobian is the transposed one of f instead of the inverse: then the
    targets are those of backprop.  As g is affine (see `DifferenceTarget`), it learns the mean of the
    transposed Jacobians over the data, which is exact for linear blocks.

    The gradient for g is proportional to noise², so use an optimizer such as Adam, whose step does not
    depend on this, or a high rate.

    Parameters
    ----------
    model, criterion, example, generator
        See `DifferenceTarget`.
    noise
        Standard deviation of n and m, positive.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        noise: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        if noise <= 0:
            raise ValueError(f"noise must be positive, got {noise}: without it the feedback learns nothing")
        super().__init__(model, criterion, example, noise, generator)
        for name, parameter in self.feedback.named_parameters():
            if name.endswith("bias"):  # cancels in every difference
                parameter.requires_grad_(False)

    def reconstruction(self, hidden: list[Tensor]) -> list[Tensor]:
        """Return twice the loss of each g around the outputs ``hidden``."""
        losses = []
        for f, g, h, above in zip(self.blocks[1:-1], self.feedback, hidden[:-1], hidden[1:], strict=True):
            below_noise = self.noise * randn_like(h)
            with torch.no_grad():
                moved = f(h + below_noise)
            back = g(above)
            spread = (g(above + self.noise * randn_like(above)) - back).square().sum()
            losses.append(spread - 2 * torch.sum(below_noise * (g(moved) - back)))
        return losses


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
