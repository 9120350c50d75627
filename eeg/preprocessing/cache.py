"""Prepared recordings on disk, named by the content of their files and the settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from trainers.errors import DataError
from trainers.files import replacing


def read_cached(folder: Path, name: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return what `write_cached` wrote, the array mapped from its file; None if it is missing or damaged."""
    try:
        facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False), facts
    except (OSError, ValueError, EOFError):
        return None


def write_cached(folder: Path, name: str, array: np.ndarray, facts: dict[str, Any]) -> None:
    """Write an array and facts about it; the facts last, so that no reader finds a part.

    Parameters
    ----------
    folder
        The cache; created if it does not exist.
    name
        Of the entry, without suffix.
    array
        Any shape, no objects.
    facts
        What JSON can hold.

    Raises
    ------
    DataError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be created ({error.strerror}); choose another --cache") from error
    with replacing(folder / f"{name}.npy") as part:
        np.save(part, array, allow_pickle=False)
    with replacing(folder / f"{name}.json") as part:
        part.write_text(json.dumps(facts), encoding="utf-8")
