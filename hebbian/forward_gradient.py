"""Forward gradients: slopes of the loss along random changes of activities, by forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hebbian.chain import ChainRule, forward_detached, has_one_mode
from hebbian.perturbation import sample_losses
from hebbian.rule import Criterion, check_criterion, evaluating
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import randn_like


@register_rule(
    name="forward-gradient",
    family="perturbation",
    source="Ren et al. 2023; Baydin et al. 2022",
    needs=f"{CHAIN}; criterion a mean over samples",
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy"},
)
class ForwardGradient(ChainRule):
    """Activity-perturbed forward gradient: no backward pass between blocks, and no finite differences.

    Equation::

        dW = -(c v) f'(a) xᵀ, c = sum_l <dL/dh_l, v_l>; v ~ N(0, 1) at the output h of each hidden block

    c, one number for each sample, is the slope of its loss along v, which one pass in forward mode computes
    exactly (`torch.func.jvp`).  On average over v, c v_l is the gradient with respect to h_l; the relative
    error of one call is sqrt(D + 1), with D values of all h of a sample, in place of all parameters for
    `weight-perturbation`.  Inside a block the error is propagated by backprop.  The readout learns by the
    criterion.

    Normalisation layers update their statistics in a first pass and are used as in eval mode for the
    slopes; dropout is off.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch; computed for each sample, see `hebbian.perturbation.sample_losses`.
    """

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__(model)
        self.criterion = check_criterion(criterion)

    def slopes(self, hidden: Sequence[Tensor], directions: Sequence[Tensor], y: Tensor) -> Tensor:
        """Return the slope of each sample's loss (N,) along changes of the outputs of the hidden blocks.

        Parameters
        ----------
        hidden
            The outputs (N, ...), without changes.
        directions
            A change of each of them.
        y
            The targets.
        """

        def losses(*changes: Tensor) -> Tensor:
            h = hidden[0].detach() + changes[0]
            for block, change in zip(self.blocks[1:-1], changes[1:], strict=True):
                h = run(block, h) + change
            return sample_losses(self.criterion, run(self.blocks[-1], h), y)

        run: Callable[..., Tensor] = nn.Sequential.forward  # without a block's checks, which need a graph
        at = tuple(torch.zeros_like(v) for v in directions)
        with sdpa_kernel(SDPBackend.MATH):  # the others have no derivative in forward mode
            slopes: Tensor = torch.func.jvp(losses, at, tuple(directions))[1]
        return slopes.detach()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, c v> at fixed c v, mean over the batch."""
        if y is None:
            raise ValueError("forward gradients need targets: rule(x, y)")
        *hidden, scores = forward_detached(self.blocks, x)
        with evaluating(self.model):
            if not all(map(has_one_mode, self.blocks)):
                *hidden, scores = forward_detached(self.blocks, x)
            directions = [randn_like(h) for h in hidden]
            slopes = self.slopes(hidden, directions, y) / len(x)
            objective = self.criterion(scores, y)
        for h, v in zip(hidden, directions, strict=True):
            objective = objective + torch.dot(slopes, (h * v).flatten(1).sum(1))
        return objective
