"""Inputs of the part of a model that learns: outputs of the part below it, computed once if possible."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hebbian.rule import evaluating
from trainers.data.batches import Augment, TrainingData
from trainers.data.rows import Inputs
from trainers.errors import DataError


@dataclass(frozen=True)
class Cache:
    """Stores outputs in memory, or above ``limit`` bytes in a memory-mapped file.

    The file is deleted with the tensor, also if the program is killed.  Outputs on a GPU stay there.

    Parameters
    ----------
    limit
        Largest number of bytes of a set of outputs in memory.
    folder
        Folder of the file; the system's folder for temporary files by default.
    """

    limit: int = 4 << 30
    folder: Path | None = None

    @torch.no_grad()
    def __call__(self, part: nn.Module, x: Inputs, batch: int = 64) -> Tensor:
        """Return the outputs of ``part``, in eval mode, for ``x`` (N, ...), computed ``batch`` at a time.

        A progress bar appears on a terminal.  Large batches of maps take more time: their memory comes from
        the system and returns to it each time.

        Raises
        ------
        DataError
            If the file cannot be created in the folder.
        """
        outputs: Tensor | None = None
        with evaluating(part):
            starts = range(0, len(x), batch)
            for start in tqdm(starts, "fixed layers", unit="batch", delay=1, leave=False, disable=None):
                h = part(x[start : start + batch])
                if outputs is None:
                    outputs = self._allocate(len(x), h)
                outputs[start : start + batch] = h
        if outputs is None:
            raise ValueError("x is empty; expected at least one sample")
        return outputs

    def _allocate(self, n: int, like: Tensor) -> Tensor:
        """Return an uninitialised tensor for ``n`` samples like those of ``like``."""
        shape = (n, *like.shape[1:])
        size = math.prod(shape) * like.element_size()
        if size <= self.limit or like.is_cuda:
            return like.new_empty(shape)
        return self._map_file(shape, like.dtype, size)

    def _map_file(self, shape: tuple[int, ...], dtype: torch.dtype, size: int) -> Tensor:
        folder = self.folder or Path(tempfile.gettempdir())
        try:
            if shutil.disk_usage(folder).free < size:  # a full disk would kill the program at a later write
                raise DataError(f"{folder}: no space for {size} bytes of features; specify another folder")
            with tempfile.TemporaryDirectory(prefix="features-", dir=folder) as place:
                # A mapping remains valid after its file is unlinked.
                name = str(Path(place, "features"))
                return torch.from_file(name, shared=True, size=math.prod(shape), dtype=dtype).view(shape)
        except OSError as error:
            raise DataError(
                f"{folder}: cannot create a file for features ({error.strerror or error}); "
                "specify an existing, writable folder"
            ) from error


@dataclass(frozen=True, eq=False)
class Feed:
    """The data as they reach the part of a model that learns.

    Parameters
    ----------
    data
        Inputs as they reach that part; where they are augmented, as they reach the model.
    below
        The part that an augmented batch passes through before it reaches the part that learns.
    cache
        Where the outputs of the part below are stored if there is no augmentation.
    """

    data: TrainingData
    below: nn.Sequential = field(default_factory=nn.Sequential)
    cache: Cache = Cache()

    def through(self, part: nn.Sequential) -> Feed:
        """Return the feed of what follows ``part``, which no longer learns and runs in eval mode."""
        if not len(part):
            return self
        held_out = self.data.held_out and (self.cache(part, self.data.held_out[0]), self.data.held_out[1])
        data = replace(self.data, held_out=held_out)
        if data.augment is not None:
            return replace(self, data=data, below=nn.Sequential(*self.below, *part))
        return replace(self, data=replace(data, x=self.cache(part, data.x)))

    def plain(self) -> Feed:
        """Return the same feed without augmentation."""
        if self.data.augment is None:
            return self
        x = self.cache(self.below, self.data.x) if len(self.below) else self.data.x
        return Feed(replace(self.data, x=x, augment=None), cache=self.cache)

    def example(self) -> Tensor:
        """Return two samples as they reach the part that learns."""
        return self._pass(self.data.x[:2])

    def augment_batch(self) -> Augment | None:
        """Return the function that augments a batch of ``x`` and passes it through the part below."""
        if (augment := self.data.augment) is None:
            return None
        return lambda x, generator: self._pass(augment(x, generator))

    @torch.no_grad()
    def _pass(self, x: Tensor) -> Tensor:
        with evaluating(self.below):
            return self.below(x)
