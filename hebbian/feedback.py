"""Rules that carry the error back by other weights than the forward ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, TappedRule, blocks, fed_detached, outputs
from hebbian.synapse import Synaptic, padded, synaptic, weight_layers

Magnitude = Literal["uniform", "batch", "fixed"]
_Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
_Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class _Carry(torch.autograd.Function):
    """Pass a layer's output on; send the error back by ``b`` where the layer would have used ``w``."""

    @staticmethod
    def forward(
        ctx: Any,
        out: Tensor,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None,
        b: Tensor,
        geometry: _Geometry | None,
    ) -> Tensor:
        ctx.save_for_backward(x, b)
        ctx.geometry = geometry
        return out.clone()  # what follows may work in place

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> Any:
        x, b = ctx.saved_tensors
        wants_x, wants_w, wants_bias, wants_b = ctx.needs_input_grad[1:5]
        carry = _carry_linear if ctx.geometry is None else _carry_convolution
        wanted = [wants_x, wants_w or wants_b, wants_bias]
        to_x, to_w, to_bias = carry(error.to(b.dtype), x.to(b.dtype), b, ctx.geometry, wanted)
        # Kolen & Pollack: whatever w learns, b learns too, where b learns at all.
        return None, to_x, to_w, to_bias, to_w if wants_b else None, None


_carry: Callable[..., Tensor] = _Carry.apply


def _carry_linear(error: Tensor, x: Tensor, b: Tensor, geometry: None, wanted: list[bool]) -> _Gradients:
    rows = error.flatten(0, -2)
    return (
        error @ b if wanted[0] else None,
        rows.T @ x.flatten(0, -2) if wanted[1] else None,
        rows.sum(0) if wanted[2] else None,
    )


def _carry_convolution(
    error: Tensor, x: Tensor, b: Tensor, geometry: _Geometry, wanted: list[bool]
) -> _Gradients:
    stride, padding, dilation, groups = geometry
    # The layer's own backward with b for w: the gradients of weight and bias depend on neither.
    gradients: _Gradients = torch.ops.aten.convolution_backward(
        error, x, b, [len(b)], stride, padding, dilation, False, [0] * len(stride), groups, wanted
    )
    return gradients


def _noise(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw weights like ``w`` from N(0, 1 / fan-in), which keep the length of an error on average."""
    drawn = torch.randn(w.shape, generator=generator, dtype=w.dtype) * _scale(w)
    return drawn.to(w.device)


def _scale(w: Tensor) -> float:
    return w[0].numel() ** -0.5


class _Feedback(TappedRule):
    """The criterion, whose error passes every Linear and ConvNd layer by `backward_weight`."""

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        layers = {synaptic(model, path): str(i) for i, path in enumerate(weight_layers(model))}
        super().__init__(model, layers)
        self.criterion = criterion
        self.names = layers

    def backward_weight(self, layer: Synaptic) -> Tensor:
        """Return what the error passes ``layer`` by, in the shape of its weight."""
        raise NotImplementedError

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Pass ``out`` on, with another way back."""
        geometry = None
        if not isinstance(layer, nn.Linear):
            x, padding = padded(layer, x)
            geometry = (layer.stride, padding, layer.dilation, layer.groups)
        b = self.backward_weight(layer)
        return _carry(out.detach(), x, layer.weight, layer.bias, b, geometry)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion of the model's scores and ``y``."""
        if y is None:
            raise ValueError("feedback needs targets: rule(x, y)")
        return self.criterion(self.run(x)[0], y)


class FeedbackAlignment(_Feedback):
    """Feedback alignment: fixed random weights B carry the error back (Lillicrap 2016).

    dW = -(B error of the next layer) f'(a) xᵀ, at every Linear and ConvNd layer of any model.  All
    other layers (norms, pooling, attention) pass the error by their own gradient, and so does a Linear layer
    whose owner uses its weight without calling it, as `nn.MultiheadAttention` does.  Needs labels.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    generator
        Source of the feedback weights, which are N(0, 1 / fan-in).
    """

    learns = False

    def __init__(
        self, model: nn.Module, criterion: Criterion, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(model, criterion)
        self.feedback = nn.ParameterDict(
            {
                name: nn.Parameter(_noise(layer.weight, generator), requires_grad=self.learns)
                for layer, name in self.names.items()
            }
        )

    def backward_weight(self, layer: Synaptic) -> Tensor:
        """Return B of ``layer``."""
        return self.feedback[self.names[layer]]


class KolenPollack(FeedbackAlignment):
    """Kolen & Pollack 1994, Akrout 2019: B gets the update of W, so that both become one.

    dB = dW: their difference shrinks by the optimizer's weight decay alone, which must therefore be
    above 0 and the same for both (plain SGD, or a decoupled decay as in `torch.optim.AdamW`).  B is a
    parameter, so the optimizer must be given those of the rule, not of the model.  Needs labels.
    """

    learns = True


class WeightMirror(FeedbackAlignment):
    """Akrout 2019: noise at a layer's input and the response to it teach B its shape.

    B <- (1 - rate) B + rate mean(u nᵀ), where u = w n is what the layer makes of white noise n, taken
    as linear.  Its mean is w itself.  One such mirror step goes before each call in training mode; for
    a convolution n is a patch.  Needs labels.  In a distributed run every rank draws its own noise and
    keeps its own B.

    Parameters
    ----------
    rate
        How fast B follows: its error is about sqrt(rate fan-in / (2 samples)).
    samples
        Noise vectors a call.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        rate: float = 0.01,
        samples: int = 100,
        generator: torch.Generator | None = None,
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, got {rate}")
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        super().__init__(model, criterion, generator)
        self.rate, self.samples = rate, samples

    def backward_weight(self, layer: Synaptic) -> Tensor:
        """Return B of ``layer``, after a mirror step where the rule is in training mode."""
        b = super().backward_weight(layer)
        if not self.training:
            return b
        with torch.no_grad():
            w = layer.weight.flatten(1)
            noise = torch.randn((self.samples, w.shape[1]), dtype=w.dtype, device=w.device)
            seen = (noise @ w.T).T @ noise / self.samples
            new = torch.lerp(b, seen.view_as(b).to(b.dtype), self.rate)
            b.copy_(new)
        return new  # and not b, which the next call changes, perhaps before this one's backward


class SignSymmetry(_Feedback):
    """Sign symmetry: the error passes by the signs of W (Liao 2016; Moskovitz 2018).

    B = M sign(W), entry by entry, at the scale of 1 / sqrt(fan-in).  ``magnitude`` names M:

    - ``uniform``: 1 (uSF)
    - ``batch``: abs(N(0, 1)), drawn anew each call (brSF)
    - ``fixed``: abs(N(0, 1)), drawn once from ``generator`` (frSF)

    Reaches the same layers as `FeedbackAlignment` and needs labels.  The signs still have to travel from W
    to B, one bit a weight.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        magnitude: Magnitude = "uniform",
        generator: torch.Generator | None = None,
    ) -> None:
        if magnitude not in ("uniform", "batch", "fixed"):
            raise ValueError(f"magnitude must be 'uniform', 'batch' or 'fixed', got {magnitude!r}")
        super().__init__(model, criterion)
        self.magnitude = magnitude
        self.fixed = nn.Module()
        if magnitude == "fixed":
            for layer, name in self.names.items():
                self.fixed.register_buffer(name, _noise(layer.weight, generator).abs())

    def backward_weight(self, layer: Synaptic) -> Tensor:
        """Return M sign(W) of ``layer``."""
        w = layer.weight.detach()
        if self.magnitude == "fixed":
            return w.sign() * self.fixed.get_buffer(self.names[layer])
        if self.magnitude == "batch":
            return w.sign() * torch.randn_like(w).abs() * _scale(w)
        return w.sign() * _scale(w)


class DirectFeedback(Rule):
    """Direct feedback alignment: a fixed random projection of the output error teaches every block.

    Nøkland 2016, eq. 7: for each hidden block with output h, dW = -(B e) f'(a) xᵀ, where e (N, K) is
    the gradient of the criterion in the scores.  The readout, the last block, learns by the criterion
    itself.  Inside a block the taught signal travels by backprop: with one weight layer a block this
    is the published rule.  Needs labels, and inputs of the example's size, for B is made for it.

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
        *hidden, scores = outputs(blocks(model), example)
        self.feedback = nn.Module()
        for i, h in enumerate(hidden):
            noise = torch.randn((scores.shape[1], *h.shape[1:]), generator=generator, dtype=h.dtype)
            self.feedback.register_buffer(str(i), noise.to(h.device) / scores.shape[1] ** 0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, B e> at fixed B e."""
        if y is None:
            raise ValueError("direct feedback needs targets: rule(x, y)")
        *hidden, scores = fed_detached(blocks(self.model), x)
        error = torch.func.grad(self.criterion)(scores.detach(), y)
        objective = self.criterion(scores, y)
        for h, b in zip(hidden, self.feedback.buffers(), strict=True):
            objective = objective + torch.sum(h * (error @ b.flatten(1)).view_as(h))
        return objective
