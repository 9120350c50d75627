"""Arrays that are mapped from files: how their pages leave the memory, and how many there can be."""

import mmap
import sys
from contextlib import suppress

import numpy as np


def release(array: np.ndarray) -> None:
    """Release the pages of a mapped array from memory until their next access.

    An array in memory stays as it is.  What was written to a private copy of a file
    (``np.load(..., mmap_mode="c")``) is lost: the array is again as the file.
    """
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows trims by itself
        base.madvise(mmap.MADV_DONTNEED)


def allow_open_files() -> None:
    """Raise the limit of open files as far as the system allows, for each mapped file stays open."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows fewer than it states
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
