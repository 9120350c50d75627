"""Forward gradients: slopes of the loss along random changes of activities, by forward-mode derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hebbian.chain import Block, ChainRule, forward_detached, has_one_mode, output_error
from hebbian.rule import Criterion, check_criterion, evaluating
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import randn_like


@register_rule(
    name="forward-gradient",
    family="perturbation",
    source="Ren et al. 2023; Baydin et al. 2022",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy"},
)
class ForwardGradient(ChainRule):
    """Activity-perturbed forward gradient: no backward pass between blocks, and no finite differences.

    Equation::

        dW = -(c v) f'(a) xᵀ, c = sum_l <dL/dh_l, v_l>; v ~ N(0, 1) at the output h of each hidden block

    c, one number for each sample, is the slope of the criterion along its v, which one pass in forward mode
    computes exactly (`torch.func.jvp`).  On average over v, c v_l is the gradient with respect to h_l; the
    relative error of one call is sqrt(D + 1), with D values of all h of a sample, in place of all parameters
    for `weight-perturbation`.  Inside a block the error is propagated by backprop.  The readout learns by the
    criterion, from which no error passes to other blocks.

    h is the output of a block, after its activation; Ren et al. change the activity before it, and have a
    loss at each block in place of one at the end.  Normalisation layers update their statistics in a first
    pass and are used as in eval mode for the update; dropout is off.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.  The blocks after
        the first must have derivatives in forward mode; an `autograd.Function` needs a ``jvp``.
    criterion
        Any function of scores and targets.
    """

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__(model)
        self.criterion = check_criterion(criterion)

    def slopes(self, hidden: Sequence[Tensor], directions: Sequence[Tensor], y: Tensor) -> Tensor:
        """Return the slope of the criterion along each sample's changes (N,) of the hidden blocks' outputs.

        Parameters
        ----------
        hidden
            The outputs (N, ...), without changes.
        directions
            A change of each of them.
        y
            The targets.

        Raises
        ------
        RuntimeError
            If an operation has no derivative in forward mode; a note names the block.
        """

        def changed(*changes: Tensor) -> Tensor:
            h = hidden[0].detach() + changes[0]
            for block, change in zip(self.blocks[1:-1], changes[1:], strict=True):
                h = _run(block, h) + change
            return _run(self.blocks[-1], h)

        at = tuple(torch.zeros_like(v) for v in directions)
        with sdpa_kernel(SDPBackend.MATH):  # the others have no derivative in forward mode
            scores, rise = (t.detach() for t in torch.func.jvp(changed, at, tuple(directions)))
        return (output_error(self.criterion, scores, y) * rise).flatten(1).sum(1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, c v> at fixed c v."""
        if y is None:
            raise ValueError("forward gradients need targets: rule(x, y)")
        *hidden, scores = forward_detached(self.blocks, x)
        with evaluating(self.model):
            if not all(map(has_one_mode, self.blocks)):
                *hidden, scores = forward_detached(self.blocks, x)
            directions = [randn_like(h) for h in hidden]
            slopes = self.slopes(hidden, directions, y)
            objective = self.criterion(scores, y)
        for h, v in zip(hidden, directions, strict=True):
            objective = objective + torch.dot(slopes, (h * v).flatten(1).sum(1))
        return objective


def _run(block: Block, h: Tensor) -> Tensor:
    """Return the output of ``block`` without its own checks, which need a graph."""
    try:
        out: Tensor = nn.Sequential.forward(block, h)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        error.add_note(
            f"raised in block {block.name!r} of the chain, which forward-gradient derives in forward mode; "
            "give its autograd.Function a setup_context and a jvp, or use operations of torch"
        )
        raise
    return out
