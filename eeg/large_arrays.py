"""Arrays that a day of EEG fits into: in memory while they are small, in a file without name beyond."""

import mmap
import tempfile
from collections.abc import Iterator
from math import prod

import numpy as np
import numpy.typing as npt

LARGE = 2**26
"""Bytes from which an array lies on disk: several of them together stay far below a gigabyte."""


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Return a new array of zeros, of which only what is written takes memory or disk.

    One of `LARGE` bytes or more is mapped from a file in the folder of temporary files (``TMPDIR``), which
    has no name, so that nothing is left of it however the program ends.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        pages = mmap.mmap(file.fileno(), size)
    return np.frombuffer(pages, dtype).reshape(shape)


def rest(array: np.ndarray) -> None:
    """Take the pages of a mapped array out of this program's memory until they are asked for again.

    A `numpy.memmap` is left alone: one that is copied on write would lose what was written.
    """
    base: object = array
    while isinstance(base, np.ndarray | memoryview) and not isinstance(base, np.memmap):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows trims by itself
        base.madvise(mmap.MADV_DONTNEED)


def blocks(array: np.ndarray, rows: int = 64) -> Iterator[np.ndarray]:
    """Give ``rows`` rows of an array at a time; of a mapped one no more than these are in memory."""
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        rest(array)


def some(array: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many rows of an array, evenly spread: all where it has no more."""
    step = -(-len(array) // most)
    return array if step == 1 else take(array, np.arange(0, len(array), step))


def take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return a new array of the rows ``index`` (K,) of ``array`` (N, ...)."""
    out = zeros((len(index), *array.shape[1:]), array.dtype)
    for rows, sources in zip(blocks(out), blocks(index), strict=True):
        rows[...] = array[sources]
        rest(array)
    return out
