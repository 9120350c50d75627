"""Data sets as tensors or rows of arrays: batches, training data, and training-test splits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from hebbian.rule import Criterion, check_classes, check_finite
from trainers.data.rows import Inputs, Rows

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Maps inputs (N, ...) and a generator to altered inputs of the same shape and targets."""


class Batches:
    """Batches (x, y) of data sets, in a new order each epoch.

    Parameters
    ----------
    x
        Inputs (N, ...), in memory or `trainers.data.rows.Rows`.
    y
        Targets (N, ...); None for unsupervised rules.
    size
        Samples a batch.
    generator
        CPU generator that draws the order; None keeps the order.
    drop_last
        Drop the last batch if it is smaller.
    augment
        Alters the inputs of each batch, with random numbers from ``generator``.
    rank, world
        Index of this process and number of processes, each of which gets an equal part of every batch (see
        `trainers.distributed`).  Samples that cannot be divided equally are dropped at the end of an epoch.
    weights
        Relative sampling frequencies (N,); by default each sample is drawn once an epoch.

    Raises
    ------
    TypeError
        If ``x`` or ``y`` is not a tensor or `Rows`.
    ValueError
        If lengths or sizes do not fit, or inputs or targets are not finite.
    """

    def __init__(
        self,
        x: Inputs,
        y: Tensor | None,
        size: int,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
        weights: Tensor | None = None,
    ) -> None:
        require_tensor("x", x)
        if y is not None:
            require_tensor("y", y)
        if (augment is not None or weights is not None) and generator is None:
            raise ValueError("augment and weights need a generator")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if size % world:
            raise ValueError(f"size must be a multiple of the {world} processes, got {size}")
        if y is not None and len(x) != len(y):
            raise ValueError(f"x and y must have the same length, got {len(x)} and {len(y)}")
        if weights is not None and weights.shape != (len(x),):
            raise ValueError(f"weights must have the shape ({len(x)},), got {tuple(weights.shape)}")
        require_finite("x", x)
        if y is not None:
            require_finite("y", y)
        self.x, self.y, self.size, self.generator, self.drop_last = x, y, size, generator, drop_last
        self.augment, self.weights = augment, weights
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        n = self._samples()
        return n // self.size if self.drop_last else math.ceil(n / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chosen in self._order().split(self.size)[: len(self)]:
            mine = chosen[self.rank :: self.world]
            if self.augment is not None and self.generator is not None:
                # The whole batch, so that several processes see what one would.
                x = self.augment(self.x[chosen], self.generator)[self.rank :: self.world]
            else:
                x = self.x.index_select(0, mine) if isinstance(self.x, Tensor) else self.x[mine]
            yield x, None if self.y is None else self.y[mine]

    @property
    def is_finite(self) -> bool:
        """Whether all batches are known to be finite; not if they are augmented."""
        return self.augment is None

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
    """Data that a rule is trained on, and the loss.

    Parameters
    ----------
    x
        Inputs (N, ...), in memory or `trainers.data.rows.Rows`.
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
        Relative sampling frequencies (N,); by default each sample is drawn once an epoch.
    """

    x: Inputs
    y: Tensor
    classes: int
    criterion: Criterion = F.cross_entropy
    held_out: tuple[Tensor, Tensor | None] | None = None
    augment: Augment | None = None
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a criterion or targets that do not fit the classes."""
        if self.classes == 1 and self.criterion is F.cross_entropy:
            raise ValueError(
                "classes is 1, for which cross-entropy is always 0; "
                "use a criterion of one logit such as binary_cross_entropy_with_logits"
            )
        if not self.y.is_floating_point():
            ignored = getattr(self.criterion, "ignore_index", None)
            labels = self.y.flatten() if ignored is None else self.y[self.y != ignored]
            check_classes(labels, max(self.classes, 2))
        elif is_binary(self.criterion) and not bool(((self.y >= 0) & (self.y <= 1)).all()):
            raise ValueError(
                f"targets from {self.y.min():g} to {self.y.max():g}; "
                "expected 0 and 1, or probabilities, for binary cross-entropy"
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
    """Training and test data of a classification task.

    Parameters
    ----------
    x_train, x_test
        Inputs (N, ...), float32.
    y_train, y_test
        Classes (N,), int64, from 0.

    Raises
    ------
    TypeError
        If one of them is not a tensor, or of another type.
    ValueError
        If the numbers of inputs and classes differ or are 0, the shapes of training and test samples differ,
        an input is not finite, or a class is negative or occurs in the test data alone.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    def __post_init__(self) -> None:
        for field in fields(self):
            require_tensor(field.name, value := getattr(self, field.name))
            expected = torch.float32 if field.name.startswith("x") else torch.int64
            if value.dtype != expected:
                raise TypeError(
                    f"{field.name} is of {value.dtype}, expected {expected}: use {field.name}.to({expected})"
                )
        for x, y, part in ((self.x_train, self.y_train, "training"), (self.x_test, self.y_test, "test")):
            if y.shape != (len(x),):
                raise ValueError(
                    f"{part}: classes have the shape {tuple(y.shape)}; expected ({len(x)},) as for the inputs"
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"training samples are {tuple(self.x_train.shape[1:])}, test samples "
                f"{tuple(self.x_test.shape[1:])}; expected one shape"
            )
        if not len(self.y_train) or not len(self.y_test):
            raise ValueError("the training or the test data are empty; expected at least one sample in each")
        require_finite("training", self.x_train)
        require_finite("test", self.x_test)
        for y, part in ((self.y_train, "training"), (self.y_test, "test")):
            least, most = int(y.min()), int(y.max())
            if least < 0 or most >= self.classes:
                raise ValueError(
                    f"{part}: classes range from {least} to {most}; expected 0 to {self.classes - 1}, "
                    "the classes of the training data"
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y_train.max()) + 1

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training inputs and classes, then test inputs and classes."""
        return self.x_train, self.y_train, self.x_test, self.y_test

    def training_data(self) -> TrainingData:
        """Return the training part for `trainers.train_rule`, with the test part as held-out data."""
        return TrainingData(self.x_train, self.y_train, self.classes, held_out=(self.x_test, self.y_test))

    def to(self, device: torch.device | str) -> Split:
        """Return the same data on another device."""
        return Split(*(tensor.to(device) for tensor in self.tensors))


def from_datasets(train: Dataset[Any], test: Dataset[Any]) -> Split:
    """Read two map-style data sets of (sample, class) into memory.

    Samples are tensors or arrays of one shape; they are converted to float32.
    """
    return Split(*_stack(train), *_stack(test))


def _stack(data: Any) -> tuple[Tensor, Tensor]:
    x, y = zip(*(data[i] for i in range(len(data))), strict=True)
    return torch.stack([torch.as_tensor(sample) for sample in x]).float(), torch.tensor(y)


def is_binary(criterion: Criterion | None) -> bool:
    """Return whether ``criterion`` is torch's binary cross-entropy of logits, also with fixed arguments."""
    criterion = criterion.func if isinstance(criterion, partial) else criterion
    return criterion is F.binary_cross_entropy_with_logits or isinstance(criterion, nn.BCEWithLogitsLoss)


def require_tensor(name: str, value: object) -> None:
    """Raise `TypeError` unless ``value`` is a tensor or `Rows`."""
    if not isinstance(value, Tensor | Rows):
        raise TypeError(f"{name} is a {type(value).__name__}, expected a tensor: use torch.as_tensor({name})")


def require_finite(name: str, x: Inputs, batch: int = 512) -> None:
    """Raise `ValueError` that names the first sample of ``x`` (N, ...) with NaN or infinite values."""
    if x.is_floating_point():
        for start in range(0, len(x), batch):
            check_finite(name, x[start : start + batch], start)


def tensor_digest(tensors: Iterable[Inputs]) -> str:
    """Return the SHA-256 of the types, shapes and values of ``tensors``, in hex."""
    result = hashlib.sha256()
    for tensor in tensors:
        result.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        for part in tensor.split(4096) if isinstance(tensor, Rows) else [tensor]:
            result.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return result.hexdigest()
