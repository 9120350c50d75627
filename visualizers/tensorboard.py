"""A callback that writes what a training does for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from hebbian.rule import Rule
from hebbian.synapse import Synaptic, synaptic, weight_layers
from visualizers.weights import receptive_fields

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Training(Protocol):
    """What the callback needs to know of a trainer."""

    rule: Rule
    optimizer: torch.optim.Optimizer
    phase: str
    epoch: int

    def evaluate(self) -> Mapping[str, float]:
        """Return the metrics on held-out data."""
        ...


class TensorBoard:
    """Write curves once an epoch; histograms and pictures of the weights at epochs 1, 2, 4, 8 and so on.

    Tags begin with the phase.  TensorBoard keeps ten pictures a tag: doubling the interval shows a run
    of up to 512 epochs from its beginning to its end.

    The objective is written where the rule has a criterion; the scalar of the other rules means nothing.

    Parameters
    ----------
    folder
        Where the event file goes; it is made.
    image
        Height and width of the inputs, if they are pictures: dense layers on the inputs are then shown
        as receptive fields, too.  The kernels of a first convolution always are.
    """

    def __init__(self, folder: Path, image: tuple[int, int] | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self.image = image
        self._writer: SummaryWriter = SummaryWriter(str(folder))
        self._objective: Tensor | None = None

    def on_gradients(self, trainer: Training, objective: Tensor) -> None:
        """Keep the objective for the end of the epoch; reading it now would wait for the device."""
        if getattr(trainer.rule, "criterion", None) is not None:
            self._objective = objective

    def on_epoch(self, trainer: Training) -> None:
        """Write the epoch's curves and, at doubling intervals, the weights."""
        curves = {**trainer.evaluate(), **_rates(trainer.optimizer)}
        if self._objective is not None:
            curves["objective"] = self._objective.item()
        for name, value in curves.items():
            self._writer.add_scalar(f"{trainer.phase}/{name}", value, trainer.epoch)
        if trainer.epoch.bit_count() == 1:
            self._write_weights(trainer)

    def on_phase(self, trainer: Training) -> None:
        """Write the weights that the phase ended with."""
        if trainer.epoch.bit_count() != 1:
            self._write_weights(trainer)
        self._objective = None
        self._writer.flush()

    def close(self) -> None:
        """End the event file."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_weights(self, trainer: Training) -> None:
        layers = _layers(trainer.rule.model)
        for path, layer in layers.items():
            tag = "/".join(filter(None, (trainer.phase, "weights", path)))
            self._writer.add_histogram(tag, layer.weight.detach(), trainer.epoch)
        path, first = next(iter(layers.items()))
        pictures = _pictures(first, self.image)
        if pictures is not None:
            tag = f"{trainer.phase}/receptive_fields/{path}"
            self._writer.add_image(tag, receptive_fields(pictures), trainer.epoch)


def _layers(model: nn.Module) -> dict[str, Synaptic]:
    return {path: synaptic(model, path) for path in weight_layers(model)}


def _rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    rates = [group["lr"] for group in optimizer.param_groups]
    return {f"learning_rate/{i}": float(rate) for i, rate in enumerate(rates)}


def _pictures(layer: Synaptic, image: Sequence[int] | None) -> np.ndarray | None:
    """Return the weights of ``layer`` as (units, height, width); None where they are no pictures."""
    w = layer.weight.detach().cpu().float().numpy()
    if not isinstance(layer, nn.Linear):
        return w.reshape(len(w), -1, w.shape[-1])  # channels and rows of a kernel one above the other
    if image is not None and math.prod(image) == w.shape[1]:
        return w.reshape(len(w), *image)
    return None
