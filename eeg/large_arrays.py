"""Arrays for a day of EEG: in memory if small, else mapped from an unnamed temporary file."""

import mmap
import tempfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.mapped import release as release

LARGE = 2**26
"""Bytes from which an array is on disk: several smaller ones together stay far below a gigabyte."""

WINDOWS_IN_MEMORY = 2**30
"""Bytes of the windows of a corpus in memory; those beyond are mapped from files."""


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Return a new array of zeros; only what is written takes memory or disk.

    An array of `LARGE` bytes or more is mapped from a file without a name in the folder of temporary files
    (``TMPDIR``), so that nothing remains however the program ends.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        pages = mmap.mmap(file.fileno(), size)
    return np.frombuffer(pages, dtype).reshape(shape)


def to_file(array: np.ndarray, path: Path) -> np.memmap:
    """Write an array to a new file ``*.npy`` and return it mapped from there, as a private copy."""
    np.save(path, array, allow_pickle=False)
    mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    assert isinstance(mapped, np.memmap)
    return mapped


def row_blocks(array: np.ndarray, rows: int = 64) -> Iterator[np.ndarray]:
    """Yield ``rows`` rows of an array at a time; of a mapped one only these are in memory."""
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        release(array)


def subsample(array: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` rows of an array, evenly spaced."""
    step = -(-len(array) // most)
    return array if step == 1 else take(array, np.arange(0, len(array), step))


def take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return a new array of the rows ``index`` (K,) of ``array`` (N, ...)."""
    out = zeros((len(index), *array.shape[1:]), array.dtype)
    for rows, sources in zip(row_blocks(out), row_blocks(index), strict=True):
        rows[...] = array[sources]
        release(array)
    return out
