"""Tensors in memory: reshuffled batches, and the image sets of the benchmarks."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.errors import DataError

_UNSIGNED_BYTE = 0x08  # the type code of the IDX format that MNIST uses
_MNIST = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


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
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        size: int,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        augment: Augment | None = None,
    ) -> None:
        if augment is not None and generator is None:
            raise ValueError("augment draws at random and needs a generator")
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        if y is not None and len(x) != len(y):
            raise ValueError(f"x and y must be equally long, got {len(x)} and {len(y)}")
        self.x, self.y, self.size, self.generator, self.drop_last = x, y, size, generator, drop_last
        self.augment = augment

    def __len__(self) -> int:
        return len(self.x) // self.size if self.drop_last else math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chosen in self._order().split(self.size)[: len(self)]:
            x = self.x[chosen]
            if self.augment is not None and self.generator is not None:
                x = self.augment(x, self.generator)
            yield x, None if self.y is None else self.y[chosen]

    def _order(self) -> Tensor:
        if self.generator is None:
            return torch.arange(len(self.x), device=self.x.device)
        return torch.randperm(len(self.x), generator=self.generator).to(self.x.device)


@dataclass(frozen=True)
class Images:
    """Grey images (N, height, width) in [0, 1], float32, and their classes (N,), int64."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y_train.max()) + 1


def load_images(name: str, folder: Path | None = None) -> Images:
    """Return ``digits`` (1437 + 360 images of 8 x 8, from scikit-learn) or ``mnist``.

    Parameters
    ----------
    name
        ``digits`` or ``mnist``.
    folder
        Where the four IDX files of MNIST lie, gzipped or not.

    Raises
    ------
    DataError
        If MNIST's files are missing or damaged.
    """
    if name == "digits":
        return _digits()
    if name == "mnist":
        if folder is None:
            raise DataError("mnist: no folder given; name the one that holds its four IDX files (--folder)")
        return _mnist(folder)
    raise ValueError(f"no images named {name!r}; known: digits, mnist")


def _digits() -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    x = (found.images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, found.target, test_size=0.2, stratify=found.target, random_state=0
    )
    return Images(*map(torch.from_numpy, (x_train, y_train, x_test, y_test)))


def _mnist(folder: Path) -> Images:
    x_train, y_train, x_test, y_test = (_read(folder, name) for name in _MNIST)
    for x, y, part in ((x_train, y_train, "training"), (x_test, y_test, "test")):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{folder}: the {part} images have shape {x.shape} and their labels {y.shape}; "
                "expected (N, height, width) and (N,); download the four files again"
            )
    return Images(_pixels(x_train), _labels(y_train), _pixels(x_test), _labels(y_test))


def _pixels(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x.astype(np.float32) / 255)


def _labels(y: np.ndarray) -> Tensor:
    return torch.from_numpy(y.astype(np.int64))


def _read(folder: Path, name: str) -> np.ndarray:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return read_idx(path)
    raise DataError(f"{folder}: found neither {name} nor {name}.gz; name the folder that holds MNIST's files")


def read_idx(path: Path) -> np.ndarray:
    """Read a file in LeCun's IDX format, unsigned bytes only; gzipped if its name ends in ``.gz``.

    Returns
    -------
    numpy.ndarray
        uint8, in the shape that the header gives.

    Raises
    ------
    DataError
        If the file is damaged, of another format, or not as long as its header says.
    """
    try:
        blob = path.read_bytes()
        if path.suffix == ".gz":
            blob = gzip.decompress(blob)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error
    if len(blob) < 4 or blob[:2] != b"\0\0" or blob[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path}: begins with {blob[:4].hex() or 'nothing'}; expected an IDX file of bytes")
    start = 4 + 4 * blob[3]
    if len(blob) < start:
        raise DataError(f"{path}: ends inside its header; download it again")
    shape = struct.unpack(f">{blob[3]}I", blob[4:start])
    if len(blob) - start != math.prod(shape):
        raise DataError(
            f"{path}: holds {len(blob) - start} values, its header promises {math.prod(shape)}; "
            "download it again"
        )
    return np.frombuffer(blob, np.uint8, offset=start).reshape(shape)
