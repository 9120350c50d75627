"""Data sets by name: the built-in image sets, and those that installed packages register.

A package registers a data set by an entry point of the group ``hebbian.data`` with the name of the set, which
refers to a function from a folder (or None) to a `trainers.Split`.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from trainers.data.batches import Split
from trainers.data.images import IMAGES, load_images
from trainers.errors import DataError


def data_sets() -> tuple[str, ...]:
    """Return the names of all data sets, without importing the packages that register them.

    Raises
    ------
    ValueError
        If a package registers a name that exists already.
    """
    return (*IMAGES, *_registered())


def load_data(name: str, folder: Path | None = None) -> Split:
    """Return the data set called ``name``.

    Parameters
    ----------
    name
        See `data_sets`.
    folder
        Folder with its files, ``$HEBBIAN_DATA/<name>`` by default; `load_images` documents which it expects.
        Other packages document theirs, and what they return where there is no such folder.

    Raises
    ------
    DataError
        If files are missing or damaged, or the function that a package registers raises an error or does not
        return a `Split`.
    ValueError
        If there is no such data set.

    Examples
    --------
    >>> from trainers import load_data
    >>> load_data("digits").x_train.shape
    torch.Size([1437, 8, 8])
    """
    root = os.environ.get("HEBBIAN_DATA") or None
    if name in IMAGES:
        return load_images(name, Path(root, name) if folder is None and root is not None else folder)
    registered = _registered()
    if name not in registered:
        raise ValueError(f"no data set named {name!r}; known: {', '.join((*IMAGES, *registered))}")
    if root is not None and folder is None and Path(root, name).exists():
        folder = Path(root, name)
    place = f"entry point {registered[name].value!r} of hebbian.data"
    try:
        split = registered[name].load()(folder)
    except DataError:
        raise
    except Exception as error:  # whatever the code of another package raises
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"data set {name!r}, {place}: {text}") from error
    if not isinstance(split, Split):
        raise DataError(f"{place} must return a trainers.Split, got {type(split).__name__}")
    return split


def _registered() -> dict[str, EntryPoint]:
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group="hebbian.data"):
        if point.name in points or point.name in IMAGES:
            raise ValueError(f"entry point {point.value!r}: a data set named {point.name!r} exists already")
        points[point.name] = point
    return points
