"""Predictive coding: activities settle first, then every block descends its own prediction error."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hebbian.chain import ChainRule, forward_detached, has_one_mode, pullback
from hebbian.rule import Criterion, check_criterion, evaluating, full_precision
from hebbian.rule_info import CHAIN, register_rule

Solver = Literal["errors", "states"]
_RISEN = (
    "settling raised the energy of predictive coding above that of the feed-forward sweep; use weights that "
    "stretch less, a lower precision, or solver='states' with a lower rate"
)


@register_rule(
    name="pc",
    family="settling",
    source="Whittington & Bogacz 2017; Goemaere et al. 2025",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class PredictiveCoding(ChainRule):
    """Predictive coding: hidden activities z minimise all prediction errors.

    Equation::

        dθ = -dF/dθ at the z that minimise F = sum_l |z_l - f_l(z_{l-1})|² / 2 + precision L

    z_0 = x and L is the criterion of readout(z_L).  From the feed-forward sweep F descends to its minimum;
    then every block descends F / precision at fixed z.  As the precision of the output tends to 0, this
    becomes backprop, with an error linear in it.  At precision 1 it does not, however small the error of
    the output.

    ``solver`` names the variables in which F descends:

    - ``errors``: e, with z_l = f_l(z_{l-1}) + e_l (ePC, Goemaere et al. 2025).  The minima are those in z.
      As dF/de is e plus what backprop sends to z, each step reaches all blocks, and the curvature of F is
      at least 1 if L is convex and the blocks are linear.  The rate of each sample is that of Barzilai &
      Borwein 1988, ``|Δe|² / <Δe, Δ(dF/de)>``, at most 1; a step that raises F is repeated with the rate it
      yields.  This gives up biological plausibility: errors are sent through all blocks at once, as by
      backprop, and a sample's rate depends on all its blocks.
    - ``states``: z itself (Whittington & Bogacz 2017).  The slope of a block depends on its own error and
      that of the next block only, so a deep chain takes many steps.

    A sample is settled when the norm of its slope is at most ``tolerance`` times that at the feed-forward
    sweep.  Blocks with kinks, such as ReLU, often settle at a kink, where slopes do not vanish: then F
    descends for all ``steps``.  A warning is given if F has risen.

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
    steps
        Maximum number; 20 in errors and 1000 in states by default.  A compiled rule takes them all, in
        which settled samples do not change.
    rate
        Of plain descent.  By default 0.05 in states, and in errors that given above.  Descent converges
        if rate < 2 / (the largest curvature of F).  In states, with precision up to 1 and linear blocks with
        spectral norms up to s, the curvature is at most (1 + s)²: the default converges up to s = 5.3.
    solver
        See above.
    tolerance
        Relative norm of the slope of a settled sample; 0 to take all steps.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        precision: float = 1.0,
        steps: int | None = None,
        rate: float | None = None,
        solver: Solver = "errors",
        tolerance: float = 1e-3,
    ) -> None:
        if precision <= 0:
            raise ValueError(f"precision must be positive, got {precision}")
        if solver not in ("errors", "states"):
            raise ValueError(f"solver must be 'errors' or 'states', got {solver!r}")
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {tolerance}")
        if (steps is not None and steps < 1) or (rate is not None and rate <= 0):
            raise ValueError(f"steps must be at least 1 and rate positive, got {steps} and {rate}")
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.precision, self.solver, self.tolerance = precision, solver, tolerance
        self.steps = steps or (20 if solver == "errors" else 1000)
        self.rate = 0.05 if rate is None and solver == "states" else rate

    def energy(self, first: Tensor, z: list[Tensor], y: Tensor) -> Tensor:
        """Return F of the hidden activities ``z``, summed over the batch; ``first`` is f_1(x)."""
        _, *above, readout = self.blocks
        predictions = [first, *(f(below) for f, below in zip(above, z[:-1], strict=True))]
        errors = [(a - p).square().sum() for a, p in zip(z, predictions, strict=True)]
        return torch.stack(errors).sum() / 2 + self.precision * len(y) * self.criterion(readout(z[-1]), y)

    @torch.no_grad()
    def settle(self, first: Tensor, z: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return the activities that minimise F; ``z`` are those of the feed-forward sweep from ``first``."""
        slope_of = self.error_slope if self.solver == "errors" else self.slope
        v = _join(z, len(y))
        if self.solver == "errors":
            v = torch.zeros_like(v)
        step = v.new_full((len(y), 1), 1e-3 if self.rate is None else self.rate)
        limit = last_square = last = move = torch.zeros_like(step)
        for k in range(self.steps):
            slope = _join(slope_of(first, _divide(v, z), y), len(y))
            if k and self.rate is None:
                product = torch.linalg.vecdot(slope, last)[:, None]
                change = last_square - product
                step = torch.where(change > 0, (step * last_square / change).clamp(max=1), step / 2)
                risen = last_square + product < 0  # the slope of F along the step, before and after it
                v = v.addcmul(last, torch.where(risen, -move, 0))
                slope = torch.where(risen, last, slope)
            square = torch.linalg.vecdot(slope, slope)[:, None]
            if k == 0:
                limit = self.tolerance**2 * square
            unsettled = square > limit
            if not (torch.compiler.is_compiling() or unsettled.any()):
                break
            move, last, last_square = torch.where(unsettled, -step, 0), slope, square
            v = v.addcmul(slope, move)
        settled = _divide(v, z)
        return settled if self.solver == "states" else self.sweep(first, settled)

    def sweep(self, first: Tensor, e: Sequence[Tensor]) -> list[Tensor]:
        """Return the activities with the errors ``e``."""
        z = [first + e[0]]
        for block, a in zip(self.blocks[1:-1], e[1:], strict=True):
            z.append(block(z[-1]) + a)
        return z

    def slope(self, first: Tensor, z: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return dF/dz of each hidden block: its error minus what the errors above send back."""
        slopes = [z[0] - first]
        for block, below, a in zip(self.blocks[1:-1], z[:-1], z[1:], strict=True):
            prediction, send = pullback(block, below)
            slopes.append(a - prediction)
            slopes[-2] -= send(slopes[-1])
        slopes[-1] += self._pull_of_output(z[-1], y)
        return slopes

    def error_slope(self, first: Tensor, e: list[Tensor], y: Tensor) -> list[Tensor]:
        """Return dF/de of each hidden block: its error plus what backprop sends to it from the output."""
        z, sends = first + e[0], []
        for block, a in zip(self.blocks[1:-1], e[1:], strict=True):
            prediction, send = pullback(block, z)
            z = prediction + a
            sends.append(send)
        pulls = [self._pull_of_output(z, y)]
        for send in reversed(sends):
            pulls.append(send(pulls[-1]))
        return [a + pull for a, pull in zip(e, reversed(pulls), strict=True)]

    def _pull_of_output(self, top: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of the output's part of F with respect to the last hidden activities."""
        loss, send = pullback(lambda h: self.criterion(self.blocks[-1](h), y), top)
        return send(torch.full_like(loss, self.precision * len(y)))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return F / precision at the settled activities, mean over the batch."""
        if y is None:
            raise ValueError("predictive coding needs targets: rule(x, y)")
        first, z, scores = self._feed_forward(x)
        with evaluating(self.model):
            if not all(map(has_one_mode, self.blocks)):
                first, z, scores = self._feed_forward(x)
            settled = self.energy(first, self.settle(first.detach(), z, y), y) / (self.precision * len(x))
            sweep = self.criterion(scores, y)
        if not torch.compiler.is_compiling() and settled - sweep > sweep.abs() / 100:
            warnings.warn(_RISEN, RuntimeWarning, stacklevel=2)
        return settled

    def _feed_forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return f_1(x), the detached activities of the hidden blocks, and the scores."""
        first = self.blocks[0](x)
        with torch.no_grad():
            *above, scores = forward_detached(self.blocks[1:], first)
        return first, [first.detach(), *above], scores


def _join(values: Sequence[Tensor], samples: int) -> Tensor:
    """Return the values of all blocks in one matrix (samples, values)."""
    return torch.cat([v.reshape(samples, -1) for v in values], 1)


def _divide(joined: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the values of each block, in the shapes of ``like``."""
    parts = joined.split([v.numel() // len(joined) for v in like], 1)
    return [part.reshape(v.shape) for part, v in zip(parts, like, strict=True)]


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
