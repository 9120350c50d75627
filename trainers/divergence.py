"""Detection of a training whose numbers are not finite, or whose weights have grown beyond any use."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainers.errors import DivergenceError

LIMIT = torch.finfo(torch.float16).max
"""Largest absolute weight, 65504: the largest number in half precision."""


class Watch:
    """The tensors of a rule and the numbers of its batches, checked for a divergence.

    Only `check` waits for the device.  Biases may exceed `LIMIT`, and
    buffers that are not finite at the start, such as masks, are left out.

    Parameters
    ----------
    rule
        Its floating-point parameters and buffers are watched.

    Raises
    ------
    DivergenceError
        If its parameters are not finite.
    """

    def __init__(self, rule: nn.Module) -> None:
        tensors = [*rule.named_parameters(), *rule.named_buffers()]
        tensors = [(name, t.detach()) for name, t in tensors if t.is_floating_point() and t.numel()]
        sizes = _largest([t for _, t in tensors])
        self._limits: dict[str, float] = {}
        self._tensors: dict[str, Tensor] = {}
        for (name, t), size in zip(tensors, sizes, strict=True):
            if math.isfinite(size):
                self._tensors[name] = t
                self._limits[name] = LIMIT if t.ndim > 1 and size <= LIMIT else math.inf
            elif name in dict(rule.named_parameters()):
                raise DivergenceError(f"{_layer(name)} is not finite before the training; initialise it")
        self._batches: Tensor | float = 0.0
        self.objective: Tensor | None = None
        """Objective of the last batch, detached."""

    def observe_batch(self, x: Tensor, y: Tensor | None) -> None:
        """Add the inputs and targets of a batch."""
        for values in (x, y):
            if values is not None and values.is_floating_point():
                self._batches = self._batches + values.sum(dtype=torch.float32)

    def check(self) -> None:
        """Raise `DivergenceError` that names the data, or the first layer that has diverged."""
        if not math.isfinite(self._batches):
            raise DivergenceError("a batch contains NaN or infinite values; remove or replace them")
        for name, size in zip(self._tensors, _largest([*self._tensors.values()]), strict=True):
            if not math.isfinite(size) or size > self._limits[name]:
                raise DivergenceError(
                    f"{_layer(name)} has diverged: its largest absolute value is {size:.3g}; "
                    "use a lower learning rate"
                )
        if self.objective is not None and not self.objective.isfinite():
            raise DivergenceError("the objective is not finite; use a lower learning rate")
        self._batches = 0.0


def _largest(tensors: list[Tensor]) -> list[float]:
    """Return the largest absolute value of each tensor; NaN if it contains one."""
    if not tensors:
        return []
    # Several times faster than the maximum norm.
    bounds = [torch.stack(torch.aminmax(t)).to(tensors[0].device, torch.float64) for t in tensors]
    return [float(size) for size in torch.stack(bounds).abs().amax(1).tolist()]


def _layer(name: str) -> str:
    """Return ``model.0.weight`` as ``the weight of layer 0``."""
    path, _, tensor = name.removeprefix("model.").rpartition(".")
    return f"the {tensor} of layer {path}" if path else tensor
