"""Readers of the image sets of the benchmarks, in their published file formats."""

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
from trainers.errors import DataError, describe_unreadable

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
    """Return images, float32 in [0, 1], and their classes, int64.

    Parameters
    ----------
    name
        ``digits``: 1437 + 360 images (8, 8), from scikit-learn.  ``mnist``, ``fashion-mnist``: (28, 28).
        ``cifar10``: (3, 32, 32).
    folder
        Folder with the files: for the MNIST sets four IDX files, gzipped or not; for CIFAR-10 the six files
        ``*_batch*.bin`` of its binary version; or for any of them one ``mnist.npz``, ``fashion_mnist.npz`` or
        ``cifar10.npz`` with uint8 arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, channels last.

    Raises
    ------
    DataError
        If files are missing or damaged.
    ValueError
        If there is no such data set.
    """
    if name == "digits":
        return _digits()
    if name not in _READERS:
        raise ValueError(f"no images named {name!r}; known: {', '.join(IMAGES)}")
    if folder is None:
        raise DataError(
            f"{name}: no folder given; specify the folder of its files (--folder), "
            f"or set HEBBIAN_DATA to the folder that contains {name}"
        )
    archive = folder / f"{name.replace('-', '_')}.npz"
    arrays = _read_npz(archive) if archive.is_file() else _READERS[name](folder)
    return _split(arrays, folder)


def read_idx(path: Path) -> np.ndarray:
    """Read a file of unsigned bytes in LeCun's IDX format; gzipped if its name ends in ``.gz``.

    Returns
    -------
    numpy.ndarray
        uint8, in the shape stated in the header.

    Raises
    ------
    DataError
        If the file is damaged, of another format, or of another length than its header states.
    """
    blob = _bytes(path)
    if len(blob) < 4 or blob[:2] != b"\0\0" or blob[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path}: starts with {blob[:4].hex() or 'nothing'}; expected an IDX file of bytes")
    start = 4 + 4 * blob[3]
    if len(blob) < start:
        raise DataError(f"{path}: ends inside its header; download it again")
    shape = struct.unpack(f">{blob[3]}I", blob[4:start])
    if len(blob) - start != math.prod(shape):
        raise DataError(
            f"{path}: {len(blob) - start} values, expected {math.prod(shape)} as in its header; "
            "download it again"
        )
    return np.frombuffer(blob, np.uint8, offset=start).reshape(shape)


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of the binary version of CIFAR-10: records of one label and 3 x 32 x 32 pixels.

    Returns
    -------
    images, labels
        uint8, (N, 3, 32, 32) and (N,).

    Raises
    ------
    DataError
        If the file is empty, has an incomplete record, or labels above 9.
    """
    blob = _bytes(path)
    record = 1 + math.prod(_CIFAR_IMAGE)
    if not blob or len(blob) % record:
        raise DataError(
            f"{path}: {len(blob)} bytes; expected a multiple of {record}, the record length of the binary "
            "version of CIFAR-10; download it again"
        )
    records = np.frombuffer(blob, np.uint8).reshape(-1, record)
    labels = records[:, 0]
    if labels.max() > 9:
        raise DataError(f"{path}: a label is {labels.max()}; expected 0 to 9; download it again")
    return records[:, 1:].reshape(-1, *_CIFAR_IMAGE), labels


def _digits() -> Split:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, digits.target, test_size=0.2, stratify=digits.target, random_state=0
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
"""The names of the image sets of `load_images`."""


def _read_npz(path: Path) -> list[np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x_train, y_train, x_test, y_test = (archive[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot be read ({describe_unreadable(error)}); expected the arrays {', '.join(_ARRAYS)}"
        ) from error
    return [_channels_first(x_train), _flatten(y_train), _channels_first(x_test), _flatten(y_test)]


def _channels_first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def _flatten(y: np.ndarray) -> np.ndarray:
    """Return labels as (N,): Keras stores those of CIFAR-10 as (N, 1)."""
    return y[:, 0] if y.shape[1:] == (1,) else y


def _split(arrays: list[np.ndarray], folder: Path) -> Split:
    x_train, y_train, x_test, y_test = arrays
    for x, y, part in ((x_train, y_train, "training"), (x_test, y_test, "test")):
        if x.ndim not in (3, 4) or x.dtype != np.uint8 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{folder}: the {part} images are {x.dtype} {x.shape} and their labels {y.shape}; expected "
                "uint8 (N, height, width), with or without channels, and (N,); download the files again"
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
    raise DataError(f"{folder}: no {' or '.join(names)}; specify the folder with the files of the data")


def _bytes(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
        return gzip.decompress(blob) if path.suffix == ".gz" else blob
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({describe_unreadable(error)}); download it again"
        ) from error
