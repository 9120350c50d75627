"""The image sets of the benchmarks, read from the files in which they are published."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.data.batches import Split
from trainers.errors import DataError

_UNSIGNED_BYTE = 0x08  # the type code of the IDX format
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_CIFAR_TRAINING = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_CIFAR_TEST = "test_batch.bin"
_CIFAR_IMAGE = (3, 32, 32)
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_images(name: str, folder: Path | None = None) -> Split:
    """Return images in [0, 1], float32, and their classes, int64.

    Parameters
    ----------
    name
        ``digits``: 1437 + 360 images (8, 8), from scikit-learn.  ``mnist``, ``fashion-mnist``: (28, 28).
        ``cifar10``: (3, 32, 32).
    folder
        Where the files lie: for the two MNIST sets four IDX files, gzipped or not; for CIFAR-10 the six
        files ``*_batch*.bin`` of its binary version; or for any of them one ``mnist.npz``,
        ``fashion_mnist.npz`` or ``cifar10.npz`` with uint8 arrays ``x_train``, ``y_train``, ``x_test`` and
        ``y_test``, colours last.

    Raises
    ------
    DataError
        If files are missing or damaged.
    ValueError
        If there is no such set.
    """
    if name == "digits":
        return _digits()
    if name not in _READERS:
        raise ValueError(f"no images named {name!r}; known: {', '.join(IMAGES)}")
    if folder is None:
        raise DataError(f"{name}: no folder given; name the one that holds its files (--folder)")
    archive = folder / f"{name.replace('-', '_')}.npz"
    arrays = _read_npz(archive) if archive.is_file() else _READERS[name](folder)
    return _split(arrays, folder)


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
    blob = _bytes(path)
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


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of CIFAR-10's binary version: records of one label and 3 x 32 x 32 colours.

    Returns
    -------
    images, labels
        uint8, (N, 3, 32, 32) and (N,).

    Raises
    ------
    DataError
        If the file is empty, no whole number of records, or has labels above 9.
    """
    blob = _bytes(path)
    record = 1 + math.prod(_CIFAR_IMAGE)
    if not blob or len(blob) % record:
        raise DataError(
            f"{path}: holds {len(blob)} bytes; expected a multiple of {record}, as CIFAR-10's binary "
            "version has; download it again"
        )
    records = np.frombuffer(blob, np.uint8).reshape(-1, record)
    labels = records[:, 0]
    if labels.max() > 9:
        raise DataError(f"{path}: has a label {labels.max()}; expected 0 to 9; download it again")
    return records[:, 1:].reshape(-1, *_CIFAR_IMAGE), labels


def _digits() -> Split:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    x = (found.images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, found.target, test_size=0.2, stratify=found.target, random_state=0
    )
    return Split(*map(torch.from_numpy, (x_train, y_train, x_test, y_test)))


def _read_idx_set(folder: Path) -> list[np.ndarray]:
    return [read_idx(_find(folder, name, f"{name}.gz")) for name in _IDX_FILES]


def _read_cifar_set(folder: Path) -> list[np.ndarray]:
    parts = [read_cifar(_find(folder, name)) for name in _CIFAR_TRAINING]
    return [
        np.concatenate([images for images, _ in parts]),
        np.concatenate([labels for _, labels in parts]),
        *read_cifar(_find(folder, _CIFAR_TEST)),
    ]


_READERS: dict[str, Callable[[Path], list[np.ndarray]]] = {
    "mnist": _read_idx_set,
    "fashion-mnist": _read_idx_set,
    "cifar10": _read_cifar_set,
}
IMAGES = ("digits", *_READERS)
"""The names that `load_images` knows."""


def _read_npz(path: Path) -> list[np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x_train, y_train, x_test, y_test = (archive[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected the arrays {', '.join(_ARRAYS)}"
        ) from error
    return [_colours_first(x_train), _flat(y_train), _colours_first(x_test), _flat(y_test)]


def _colours_first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def _flat(y: np.ndarray) -> np.ndarray:
    """Keras keeps CIFAR's labels in a column."""
    return y[:, 0] if y.shape[1:] == (1,) else y


def _split(arrays: list[np.ndarray], folder: Path) -> Split:
    x_train, y_train, x_test, y_test = arrays
    for x, y, part in ((x_train, y_train, "training"), (x_test, y_test, "test")):
        if x.ndim not in (3, 4) or x.dtype != np.uint8 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{folder}: the {part} images are {x.dtype} {x.shape} and their labels {y.shape}; expected "
                "uint8 (N, height, width), with or without colours, and (N,); download the files again"
            )
    return Split(_pixels(x_train), _labels(y_train), _pixels(x_test), _labels(y_test))


def _pixels(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.divide(x, 255, dtype=np.float32, order="C"))


def _labels(y: np.ndarray) -> Tensor:
    return torch.from_numpy(y.astype(np.int64))


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: found no {' or '.join(names)}; name the folder that holds the data's files")


def _bytes(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
        return gzip.decompress(blob) if path.suffix == ".gz" else blob
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error
