"""Data sets by name: the images that come with us, and what installed packages register.

Another package adds a set by an entry point of the group ``hebbian.data``: its name is that of the set, and
it points to a function that takes a folder (or None) and returns a `trainers.Split`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from trainers.data.batches import Split
from trainers.data.images import IMAGES, load_images


def data_sets() -> tuple[str, ...]:
    """Return the names that `load_data` knows; no package is imported for it.

    Raises
    ------
    ValueError
        If a package registers a name that is taken.
    """
    return (*IMAGES, *_registered())


def load_data(name: str, folder: Path | None = None) -> Split:
    """Return the data set called ``name``.

    Parameters
    ----------
    folder
        Where its files lie; `load_images` tells what it expects there, other sets document it themselves.

    Raises
    ------
    DataError
        If its files are missing or damaged.
    ValueError
        If there is no such set.
    TypeError
        If what a package registers gives no `Split`.
    """
    if name in IMAGES:
        return load_images(name, folder)
    registered = _registered()
    if name not in registered:
        raise ValueError(f"no data set named {name!r}; known: {', '.join((*IMAGES, *registered))}")
    split = registered[name].load()(folder)
    if not isinstance(split, Split):
        raise TypeError(
            f"entry point {registered[name].value!r} of hebbian.data must return a trainers.Split, "
            f"got {type(split).__name__}"
        )
    return split


def _registered() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group="hebbian.data"):
        if point.name in found or point.name in IMAGES:
            raise ValueError(f"entry point {point.value!r}: a data set named {point.name!r} exists already")
        found[point.name] = point
    return found
