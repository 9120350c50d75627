"""Rules that carry the error back by other weights than the forward ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, blocks, outputs


class DirectFeedback(Rule):
    """Direct feedback alignment: a fixed random projection of the output error teaches every block.

    Nøkland 2016, eq. 7: for each hidden block with output h, dW = -(B e) f'(a) xᵀ, where e (N, K) is
    the gradient of the criterion in the scores.  The readout, the last block, learns by the criterion
    itself.  Inside a block the taught signal travels by backprop: with one weight layer a block this
    is the published rule.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    generator
        Source of the feedback weights, which are N(0, 1 / K).
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model)
        self.criterion = criterion
        *self.hidden, self.readout = blocks(model)
        *hidden, scores = outputs([*self.hidden, self.readout], example)
        self.feedback = nn.Module()
        for i, h in enumerate(hidden):
            noise = torch.randn((scores.shape[1], *h.shape[1:]), generator=generator, dtype=h.dtype)
            self.feedback.register_buffer(str(i), noise.to(h.device) / scores.shape[1] ** 0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, B e> at fixed B e."""
        if y is None:
            raise ValueError("direct feedback needs targets: rule(x, y)")
        hidden, h = [], x
        for block in self.hidden:
            h = block(h.detach())
            hidden.append(h)
        scores = self.readout(h.detach())
        error = torch.func.grad(self.criterion)(scores.detach(), y)
        objective = self.criterion(scores, y)
        for h, b in zip(hidden, self.feedback.buffers(), strict=True):
            objective = objective + torch.sum(h * (error @ b.flatten(1)).view_as(h))
        return objective
