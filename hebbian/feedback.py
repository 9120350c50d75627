"""Rules that propagate the error through other weights than the forward ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, check_criterion
from hebbian.rule_info import ANY_LAYERS, register_rule
from hebbian.synapse import Synaptic, padded, randn_like
from hebbian.tapped import TappedRule

Magnitude = Literal["uniform", "batch", "fixed"]
_Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]
_Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class _Carry(torch.autograd.Function):
    """Return a layer's output; propagate the error through ``b`` instead of ``w``."""

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
        """Return ``out``.

        Parameters
        ----------
        ctx
            Stores what the backward pass needs.
        out, x
            Output and input of the layer.
        w, bias
            Its weight and bias.
        b
            The weight of the backward pass, in the shape of ``w``.
        geometry
            Stride, padding, dilation and groups of a convolution; None for a Linear layer.
        """
        ctx.save_for_backward(x, b)
        ctx.geometry = geometry
        return out.clone()  # later modules may work in place

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> Any:
        x, b = ctx.saved_tensors
        needs_x, needs_w, needs_bias, needs_b = ctx.needs_input_grad[1:5]
        carry = _carry_linear if ctx.geometry is None else _carry_convolution
        needed = [needs_x, needs_w or needs_b, needs_bias]
        to_x, to_w, to_bias = carry(error.to(b.dtype), x.to(b.dtype), b, ctx.geometry, needed)
        # Kolen & Pollack: b gets the update of w, if b learns.
        return None, to_x, to_w, to_bias, to_w if needs_b else None, None


_carry: Callable[..., Tensor] = _Carry.apply


def _carry_linear(error: Tensor, x: Tensor, b: Tensor, geometry: None, needed: list[bool]) -> _Gradients:
    rows = error.flatten(0, -2)
    return (
        error @ b if needed[0] else None,
        rows.T @ x.flatten(0, -2) if needed[1] else None,
        rows.sum(0) if needed[2] else None,
    )


def _carry_convolution(
    error: Tensor, x: Tensor, b: Tensor, geometry: _Geometry, needed: list[bool]
) -> _Gradients:
    stride, padding, dilation, groups = geometry
    # The layer's own backward with b for w: the gradients of weight and bias depend on neither.
    gradients: _Gradients = torch.ops.aten.convolution_backward(
        error, x, b, [len(b)], stride, padding, dilation, False, [0] * len(stride), groups, needed
    )
    return gradients


def _noise(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw weights like ``w`` from N(0, 1 / fan-in), which preserve the norm of an error on average."""
    noise = torch.randn(w.shape, generator=generator, dtype=w.dtype) * _scale(w)
    return noise.to(w.device)


def _scale(w: Tensor) -> float:
    return w[0].numel() ** -0.5


class _Feedback(TappedRule):
    """The criterion, whose error passes every Linear and ConvNd layer through `backward_weight`."""

    propagates, cuts_error = True, False

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__(model)
        self.criterion = check_criterion(criterion)
        self.names: dict[Any, str] = {layer: str(i) for i, layer in enumerate(self.layers)}

    def backward_weight(self, layer: Synaptic) -> Tensor:
        """Return the weights through which the error passes ``layer``, in the shape of its weight."""
        raise NotImplementedError

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Return ``out`` with another backward pass.

        Parameters
        ----------
        layer, x, out, ledger
            As in `TappedRule.at`.
        """
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


@register_rule(
    name="fa",
    family="feedback",
    source="Lillicrap et al. 2016",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class FeedbackAlignment(_Feedback):
    """Feedback alignment: fixed random weights B propagate the error.

    Equation::

        dW = -(B d) f'(a) xᵀ; B fixed and random, d the error of the next layer

    It acts at every Linear and ConvNd layer of any model, each of which the model must call.  All other
    layers (norms, pooling, transposed convolutions, recurrent cells) propagate the error, and learn, by
    their own gradient.  A model whose layers are used without being called, as in `nn.MultiheadAttention`,
    is refused.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    generator
        For the feedback weights, which are N(0, 1 / fan-in).

    Examples
    --------
    >>> import torch
    >>> from hebbian import FeedbackAlignment
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> rule = FeedbackAlignment(model, torch.nn.CrossEntropyLoss())
    >>> optimizer = torch.optim.SGD(rule.parameters(), lr=0.1)
    >>> rule(torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])).backward()
    >>> optimizer.step()
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


@register_rule(
    name="kolen-pollack",
    family="feedback",
    source="Kolen & Pollack 1994; Akrout et al. 2019",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class KolenPollack(FeedbackAlignment):
    """Kolen-Pollack learning: B gets the update of W, so that both converge.

    Equation::

        as fa with dB = dW; weight decay on both makes them equal

    Their difference shrinks by the optimizer's weight decay only, which must therefore be above 0 and the
    same for both (plain SGD, or a decoupled decay as in `torch.optim.AdamW`).  B is a parameter, so the
    optimizer needs the parameters of the rule, not of the model.
    """

    learns = True


@register_rule(
    name="weight-mirror",
    family="feedback",
    source="Akrout et al. 2019",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy", "rewrites weights"},
)
class WeightMirror(FeedbackAlignment):
    """Weight mirror: B follows the correlation of noise at a layer's input with the response to it.

    Equation::

        as fa with dB = rate (mean(u nᵀ) - B); n noise at the layer's input, u its response

    The mean of u nᵀ is W itself.  One such mirror step precedes each call in training mode; for a
    convolution n is a patch.  In a distributed run every rank draws its own noise and has its own B.

    Parameters
    ----------
    model, criterion, generator
        See `FeedbackAlignment`.
    rate
        Weight of the current step in B; the error of B is about sqrt(rate fan-in / (2 samples)).
    samples
        Number of noise vectors in a call.
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
        """Return B of ``layer``, after a mirror step if the rule is in training mode."""
        b = super().backward_weight(layer)
        if not self.training:
            return b
        with torch.no_grad():
            w = layer.weight.flatten(1)
            noise = torch.randn((self.samples, w.shape[1]), dtype=w.dtype, device=w.device)
            mirrored = (noise @ w.T / self.samples).T @ noise
            new = torch.lerp(b, mirrored.view_as(b).to(b.dtype), self.rate)
            b.copy_(new)
        return new  # and not b, which the next call changes, perhaps before this one's backward


@register_rule(
    name="usf",
    family="feedback",
    source="Liao et al. 2016; Moskovitz et al. 2018",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, "uniform", **c.settings),
)
@register_rule(
    name="brsf",
    family="feedback",
    source="Liao et al. 2016; Moskovitz et al. 2018",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, "batch", **c.settings),
    traits={"noisy"},
)
@register_rule(
    name="frsf",
    family="feedback",
    source="Liao et al. 2016; Moskovitz et al. 2018",
    needs=ANY_LAYERS,
    build=lambda make, c: make(c.model, c.loss, "fixed", **c.settings),
)
class SignSymmetry(_Feedback):
    """Sign symmetry: the error is propagated through the signs of W.

    Equation::

        as fa with B = M sign(W) / sqrt(fan-in); M = 1 (usf), abs(N(0, 1)) each batch (brsf) or once (frsf)

    It acts at the same layers as `FeedbackAlignment`.  The signs are still transported from W to B, one
    bit a weight.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    magnitude
        M: ``uniform``, ``batch`` or ``fixed``, in the order of the equation.
    generator
        For fixed magnitudes.
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
        if generator is not None and magnitude != "fixed":
            raise ValueError(f"a generator is for fixed magnitudes only, and the magnitude is {magnitude!r}")
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
            return randn_like(w).abs_().mul_(w.sign()).mul_(_scale(w))
        return w.sign() * _scale(w)
