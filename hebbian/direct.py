"""Rules that project the output error, or the targets, directly to the blocks or to the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.chain import ChainRule, block_outputs, forward_detached, output_error
from hebbian.links import LINKS, LinkRule, alternate
from hebbian.rule import Criterion, check_classes, check_criterion, full_precision
from hebbian.rule_info import CHAIN, register_rule
from hebbian.synapse import drawn_again


@register_rule(
    name="dfa",
    family="feedback",
    source="Nøkland 2016",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
)
class DirectFeedback(ChainRule):
    """Direct feedback alignment (eq. 7): every block gets a fixed random projection of the output error.

    Equation::

        dW = -(B e) f'(a) xᵀ; B fixed and random, e = dL/dscores

    The readout, the last block, learns by the criterion itself.  Inside a block the error is propagated by
    backprop: with one weight layer a block this is the published rule.  Inputs must have the example's
    size, for which B is drawn.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    generator
        For the feedback weights, which are N(0, 1 / units of the block's output): as those of
        `FeedbackAlignment` they preserve the norm of an error on average.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        *hidden, scores = block_outputs(self.blocks, example)
        self.feedback = nn.Module()
        for i, h in enumerate(hidden):
            noise = torch.randn((scores.shape[1], *h.shape[1:]), generator=generator, dtype=h.dtype)
            self.feedback.register_buffer(str(i), noise.to(h.device) / h[0].numel() ** 0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, B e> at fixed B e."""
        if y is None:
            raise ValueError("direct feedback needs targets: rule(x, y)")
        *hidden, scores = forward_detached(self.blocks, x)
        signal, objective = self.signal(scores, y), self.criterion(scores, y)
        for h, b in zip(hidden, self.feedback.buffers(), strict=True):
            objective = objective + torch.sum(h * (signal @ b.flatten(1)).view_as(h))
        return objective

    def signal(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return e, the gradient of the criterion with respect to ``scores`` (N, K)."""
        return output_error(self.criterion, scores, y)


@register_rule(
    name="drtp",
    family="feedback",
    source="Frenkel, Lefebvre & Bol 2021",
    needs=CHAIN,
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"local"},
)
class DirectTarget(DirectFeedback):
    """Direct random target projection: every block gets a fixed random projection of the target.

    Equation::

        dW = (B t) f'(a) xᵀ; B fixed and random, t the one-hot target (for one logit 1 or -1)

    Hidden blocks therefore learn without waiting for the scores.  The readout, the last block, learns by the
    criterion itself.  As t does not become smaller, responses grow unless f is bounded: use Tanh or Sigmoid.

    Parameters
    ----------
    model, criterion, example, generator
        See `DirectFeedback`.
    """

    def signal(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return minus the targets (N, K) / N."""
        if scores.shape[1] == 1:
            return (1 - 2 * y) / len(y)
        check_classes(y, scores.shape[1], len(scores))
        return -F.one_hot(y, scores.shape[1]).to(scores) / len(y)


@register_rule(
    name="pepita",
    family="feedback",
    source="Dellaferrera & Kreiman 2022",
    needs=LINKS,
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
)
class Pepita(LinkRule):
    """PEPITA: the error modulates the input of a second forward pass, and there is no backward pass.

    Equation::

        dW_l = -(h_l - h_l') h_{l-1}'ᵀ, h_0' = x + F e; at the readout dW_L = -e h_{L-1}'ᵀ

    h are the responses to x, h' those to the modulated input, F is fixed and random, and e = dL/dscores of
    each sample.  No derivative of an activation is used.  h_l is the response after the l-th activation; what
    is between two activations, such as pooling before a convolution or a norm after it, belongs to W_l,
    inside which the difference is sent by backprop.  Both passes run in the mode of the rule, so running
    statistics are updated twice a call; they have the same dropout masks, except in a compiled graph.  Other
    layers are refused.

    Parameters
    ----------
    model
        A chain of blocks (see `hebbian.chain.blocks`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    strength
        Of the modulation: the entries of F are N(0, 2 strength² / inputs of a sample).
    generator
        For F.

    Raises
    ------
    TypeError
        If a block contains a layer that is neither a known link nor a known pointwise activation.
    """

    projection: Tensor

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        strength: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        if strength <= 0:
            raise ValueError(f"strength must be positive, got {strength}")
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.links, self.activations = alternate([layer for block in self.layers for layer in block])
        scores = block_outputs(self.blocks, example)[-1]
        noise = torch.randn((scores.shape[1], *example.shape[1:]), generator=generator)
        self.register_buffer("projection", (strength * (2 / example[0].numel()) ** 0.5 * noise).to(example))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of <W_l h_{l-1}', h_l - h_l'> and <scores', e>, mean over the batch."""
        if y is None:
            raise ValueError("PEPITA needs targets: rule(x, y)")
        hidden, h = [], x
        *links, readout = self.links
        with torch.no_grad(), drawn_again(x):
            for link, f in zip(links, self.activations, strict=True):
                h = f(link(h))
                hidden.append(h)
            scores = readout(h)
        error = output_error(self.criterion, scores, y)
        h = x + len(x) * (error @ self.projection.flatten(1)).view_as(x)
        objective = torch.zeros((), device=x.device)
        for link, f, clean in zip(links, self.activations, hidden, strict=True):
            drive = link(h)
            h = f(drive.detach())
            objective = objective + torch.sum(drive * (clean - h)) / len(x)
        return objective + torch.sum(readout(h) * error)
