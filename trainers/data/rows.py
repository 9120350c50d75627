"""Rows of several arrays, as one: data that exceed the memory, mapped from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainers.mapped import release


class RowSource(Protocol):
    """An array (N, ...), or an object of which rows are gathered like those of an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""

    @property
    def dtype(self) -> np.dtype:
        """The data type of the rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray: ...


class Rows:
    """The rows (N, ...) of several arrays, as one tensor is indexed; nothing is copied before.

    The pages of arrays that are mapped from files are released after each access, so that memory does not
    grow.

    Parameters
    ----------
    arrays
        Arrays (N_i, ...) or other `RowSource`, all of one data type.

    Raises
    ------
    ValueError
        If there is no array, or their rows differ in shape or data type.

    Examples
    --------
    >>> rows = Rows([np.zeros((2, 3)), np.ones((4, 3))])
    >>> rows.shape, rows[torch.tensor([5, 0])][:, 0]
    (torch.Size([6, 3]), tensor([1., 0.], dtype=torch.float64))
    """

    device = torch.device("cpu")

    def __init__(self, arrays: Sequence[RowSource]) -> None:
        kinds = {(tuple(array.shape[1:]), array.dtype) for array in arrays}
        if len(kinds) != 1:
            raise ValueError(f"rows are of {len(kinds)} shapes or types; expected arrays with rows of one")
        self.arrays = tuple(arrays)
        self._stops = np.array([*accumulate(len(array) for array in arrays)])
        ((row, self._dtype),) = kinds
        self.shape = torch.Size((int(self._stops[-1]), *row))
        self.dtype = torch.from_numpy(np.empty(0, self._dtype)).dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        """Return a new tensor of a slice of the rows, or of those of an ``index`` (K,) from 0 to N - 1."""
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index.numpy()
        if rows.dtype.kind not in "iu" or (rows.size and not 0 <= rows.min() <= rows.max() < len(self)):
            raise IndexError(f"rows {index}: expected integers from 0 to {len(self) - 1}")
        out = np.empty((len(rows), *self.shape[1:]), self._dtype)
        of = np.searchsorted(self._stops, rows, side="right")
        for i in np.unique(of):
            array, place = self.arrays[i], np.flatnonzero(of == i)
            out[place] = array[rows[place] - (self._stops[i] - len(array))]
            if isinstance(array, np.ndarray):
                release(array)
        return torch.from_numpy(out)

    def is_floating_point(self) -> bool:
        """Whether the rows are of a floating-point type."""
        return self.dtype.is_floating_point

    def to(self, device: torch.device) -> Rows | Tensor:
        """Return the rows on ``device``: all in one tensor, unless it is the CPU."""
        return self if device == self.device else self[:].to(device)

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield ``size`` rows at a time."""
        return (self[start : start + size] for start in range(0, len(self), size))


Inputs = Tensor | Rows
"""Samples (N, ...): in memory, or gathered from several arrays."""
