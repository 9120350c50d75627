"""Tensors in memory: reshuffled batches, and what a rule learns from and is tested on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from hebbian.rule import Criterion

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Inputs (N, ...) and a generator -> inputs of the same shape, altered as their targets allow."""


class Batches:
    """Batches (x, y) of tensors that lie in memory, in a new order each epoch.

    Parameters
    ----------
    x
        Inputs (N, ...).
    y
        Targets (N, ...); None for rules without labels.
    size
        Samples a batch.
    generator
        Draws the order, on the CPU; without it the order stays as it is.
    drop_last
        Leave out the last batch where it is smaller.
    augment
        Alters the inputs of each batch, with draws from ``generator``.
    share
        Which of how many processes this is: it gets its equal part of each batch (see
        `trainers.distributed`).  Samples that cannot be shared equally are left out at the end of an epoch.
    weights
        How often each sample is drawn, (N,), in proportion; without them each is drawn once an epoch.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        size: int,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        augment: Augment | None = None,
        share: tuple[int, int] = (0, 1),
        weights: Tensor | None = None,
    ) -> None:
        if (augment is not None or weights is not None) and generator is None:
            raise ValueError("augment and weights draw at random and need a generator")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if size % share[1]:
            raise ValueError(f"size must be a multiple of the {share[1]} processes, got {size}")
        if y is not None and len(x) != len(y):
            raise ValueError(f"x and y must be equally long, got {len(x)} and {len(y)}")
        if weights is not None and weights.shape != (len(x),):
            raise ValueError(f"weights must be one a sample, ({len(x)},), got {tuple(weights.shape)}")
        self.x, self.y, self.size, self.generator, self.drop_last = x, y, size, generator, drop_last
        self.augment, self.weights = augment, weights
        self.rank, self.world = share

    def __len__(self) -> int:
        n = self._samples()
        return n // self.size if self.drop_last else math.ceil(n / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chosen in self._order().split(self.size)[: len(self)]:
            mine = chosen[self.rank :: self.world]
            if self.augment is not None and self.generator is not None:
                # All that one process would draw, so that many see what one would.
                x = self.augment(self.x[chosen], self.generator)[self.rank :: self.world]
            else:
                x = self.x[mine]
            yield x, None if self.y is None else self.y[mine]

    def _samples(self) -> int:
        return len(self.x) - len(self.x) % self.world

    def _order(self) -> Tensor:
        if self.generator is None:
            return torch.arange(self._samples(), device=self.x.device)
        if self.weights is None:
            order = torch.randperm(len(self.x), generator=self.generator)
        else:
            order = self.weights.multinomial(len(self.x), replacement=True, generator=self.generator)
        return order[: self._samples()].to(self.x.device)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a rule is trained on.

    Parameters
    ----------
    x
        Inputs (N, ...).
    y
        Targets: classes (N,), int64, or for one logit (N, 1), float.
    classes
        Number of scores K of the model.
    criterion
        Loss of scores and targets, a mean over the batch.
    held_out
        Inputs and targets, as ``x`` and ``y``, on which callbacks may evaluate.
    augment
        Alters the inputs of each batch while the rule learns, and in fine-tuning; a readout is trained on
        features of the unaltered inputs.
    weights
        How often each sample is drawn, (N,), in proportion; each once an epoch by default.
    """

    x: Tensor
    y: Tensor
    classes: int
    criterion: Criterion = F.cross_entropy
    held_out: tuple[Tensor, Tensor | None] | None = None
    augment: Augment | None = None
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        if self.classes == 1 and self.criterion is F.cross_entropy:
            raise ValueError(
                "classes is 1, for which cross-entropy is always 0; "
                "use a criterion of one logit such as binary_cross_entropy_with_logits"
            )

    def to(self, device: torch.device) -> TrainingData:
        """Return the same data with inputs and targets on ``device``."""
        held_out = self.held_out and (
            self.held_out[0].to(device),
            None if self.held_out[1] is None else self.held_out[1].to(device),
        )
        return replace(self, x=self.x.to(device), y=self.y.to(device), held_out=held_out)


@dataclass(frozen=True)
class Split:
    """What a rule learns from and what it is tested on.

    Parameters
    ----------
    x_train, x_test
        Inputs (N, ...), float32.
    y_train, y_test
        Their classes (N,), int64, counted from 0.

    Raises
    ------
    ValueError
        If inputs and classes are not equally many, there are none, samples differ in shape between training
        and test, or a class is below 0 or, in the test, above all those of the training.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    def __post_init__(self) -> None:
        for x, y, part in ((self.x_train, self.y_train, "training"), (self.x_test, self.y_test, "test")):
            if y.shape != (len(x),):
                raise ValueError(f"{part}: {len(x)} inputs need as many classes (N,), got {tuple(y.shape)}")
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"training samples are {tuple(self.x_train.shape[1:])}, test samples "
                f"{tuple(self.x_test.shape[1:])}; expected one shape"
            )
        if not len(self.y_train) or not len(self.y_test):
            raise ValueError("there are no samples for training or for the test; give at least one for each")
        for y, part in ((self.y_train, "training"), (self.y_test, "test")):
            least, most = int(y.min()), int(y.max())
            if least < 0 or most >= self.classes:
                raise ValueError(
                    f"{part}: classes are {least} to {most}; expected 0 to {self.classes - 1}, "
                    "counted from 0, none of them in the test alone"
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y_train.max()) + 1

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs and classes for training, then those for the test."""
        return self.x_train, self.y_train, self.x_test, self.y_test

    def training_data(self) -> TrainingData:
        """Return the training part for `trainers.train_rule`, with the test part as held-out data."""
        return TrainingData(self.x_train, self.y_train, self.classes, held_out=(self.x_test, self.y_test))

    def to(self, device: torch.device | str) -> Split:
        """Return the same on another device."""
        return Split(*(tensor.to(device) for tensor in self.tensors))


def from_datasets(train: Dataset[Any], test: Dataset[Any]) -> Split:
    """Read two map-style data sets of (sample, class) into memory.

    Samples are tensors, or arrays, of one shape; they are kept as they are but for their type.
    """
    return Split(*_stacked(train), *_stacked(test))


def _stacked(data: Any) -> tuple[Tensor, Tensor]:
    x, y = zip(*(data[i] for i in range(len(data))), strict=True)
    return torch.stack([torch.as_tensor(sample) for sample in x]).float(), torch.tensor(y)


def tensor_digest(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of the types, shapes and values of ``tensors``, in hex."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
