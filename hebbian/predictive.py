"""Predictive coding: activities settle first, then every block descends its own prediction error."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.chain import ChainRule, forward_detached, has_one_mode, pullback
from hebbian.rule import Criterion, check_criterion, evaluating, full_precision
from hebbian.rule_info import CHAIN, register_rule


@register_rule(
    name="pc",
    family="settling",
    source="Whittington & Bogacz 2017",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class PredictiveCoding(ChainRule):
    """Predictive coding: hidden activities z minimise all prediction errors.

    Equation::

        dθ = -dF/dθ at the z that minimise F = sum_l |z_l - f_l(z_{l-1})|² / 2 + precision L

    z_0 = x and L is the criterion of readout(z_L).  z descends F from the feed-forward sweep; then every
    block descends F / precision at fixed z.  As the precision of the output tends to 0, this becomes
    backprop, with an error linear in it.  At precision 1 it does not, however small the error of the output.

    Normalisation layers update their statistics in the first sweep and are used as in eval mode while the
    activities settle; dropout is off.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    precision
        Weight of the output's loss relative to the squared errors of the hidden blocks.
    steps, rate
        Of the descent in z, which converges if rate < 2 / (the largest curvature of F).  With precision up
        to 1 and linear blocks with spectral norms up to s, the curvature is at most (1 + s)²: the default
        converges up to s = 5.3.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        precision: float = 1.0,
        steps: int = 20,
        rate: float = 0.05,
    ) -> None:
        if precision <= 0:
            raise ValueError(f"precision must be positive, got {precision}")
        if steps < 1 or rate <= 0:
            raise ValueError(f"steps must be at least 1 and rate positive, got {steps} and {rate}")
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.precision, self.steps, self.rate = precision, steps, rate

    def energy(self, first: Tensor, z: list[Tensor], y: Tensor) -> Tensor:
        """Return F of the hidden activities ``z``, summed over the batch; ``first`` is f_1(x)."""
        _, *above, readout = self.blocks
        predictions = [first, *(f(below) for f, below in zip(above, z[:-1], strict=True))]
        errors = [(a - p).square().sum() for a, p in zip(z, predictions, strict=True)]
        return torch.stack(errors).sum() / 2 + self.precision * len(y) * self.criterion(readout(z[-1]), y)

    @torch.no_grad()
    def settle(self, first: Tensor, z: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return the activities ``z`` after descent of the energy."""
        for _ in range(self.steps):
            z = [torch.sub(a, g, alpha=self.rate) for a, g in zip(z, self.slope(first, z, y), strict=True)]
        return z

    def slope(self, first: Tensor, z: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return dF/dz of each hidden block: its error minus what the errors above send back."""
        _, *above, readout = self.blocks
        slopes = [z[0] - first]
        for block, below, a in zip(above, z[:-1], z[1:], strict=True):
            prediction, send = pullback(block, below)
            slopes.append(a - prediction)
            slopes[-2] -= send(slopes[-1])
        loss, send = pullback(lambda h: self.criterion(readout(h), y), z[-1])
        slopes[-1] += send(torch.full_like(loss, self.precision * len(y)))
        return slopes

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return F / precision at the settled activities, mean over the batch."""
        if y is None:
            raise ValueError("predictive coding needs targets: rule(x, y)")
        first = self.blocks[0](x)
        with torch.no_grad():
            z = [first.detach(), *forward_detached(self.blocks[1:-1], first)]
        with evaluating(self.model):
            if not has_one_mode(self.blocks[0]):
                first = self.blocks[0](x)
            z = self.settle(first.detach(), z, y)
            return self.energy(first, z, y) / (self.precision * len(x))


@register_rule(
    name="pc-fixed",
    family="settling",
    source="Millidge, Tschantz & Buckley 2022; Rosenbaum 2022",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class FixedPrediction(ChainRule):
    """Predictive coding with the fixed predictions of the feed-forward sweep.

    Equation::

        dθ_l = -(df_l/dθ_l)ᵀ e_l; e_l <- e_l + rate (J_{l+1}ᵀ e_{l+1} - e_l), J of the sweep

    J is the Jacobian, and the error of the readout is the gradient of the criterion.  At rate 1 and with as
    many steps as hidden blocks this is backprop (Rosenbaum 2022), except with normalisation layers, which
    are used as in eval mode while the errors settle.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    steps
        One for each hidden block by default.
    rate
        Of the errors, above 0 and at most 1.
    """

    def __init__(
        self, model: nn.Module, criterion: Criterion, steps: int | None = None, rate: float = 1.0
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, got {rate}")
        if steps is not None and steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.steps = len(self.blocks) - 1 if steps is None else steps
        self.rate = rate

    def pull(self, h: list[Tensor], e: list[Tensor], y: Tensor) -> Tensor:
        """Return the scalar whose gradient with respect to ``h`` is Jᵀ e of the blocks above."""
        _, *above, readout = self.blocks
        sent = [torch.sum(f(below) * a) for f, below, a in zip(above, h[:-1], e[1:], strict=True)]
        return torch.stack([len(y) * self.criterion(readout(h[-1]), y), *sent]).sum()

    @torch.no_grad()
    def settle(self, h: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return the errors (N, ...) of the hidden blocks, of each sample's own loss."""
        send = torch.func.grad(self.pull)
        e = [torch.zeros_like(a) for a in h]
        for _ in range(self.steps):
            e = [torch.lerp(a, g, self.rate) for a, g in zip(e, send(h, e, y), strict=True)]
        return e

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block with output h, the mean of <h, e>."""
        if y is None:
            raise ValueError("predictive coding needs targets: rule(x, y)")
        *hidden, scores = forward_detached(self.blocks, x)
        with evaluating(self.model):
            errors = self.settle([h.detach() for h in hidden], y)
        local = [torch.sum(h * e) / len(x) for h, e in zip(hidden, errors, strict=True)]
        return torch.stack([self.criterion(scores, y), *local]).sum()
