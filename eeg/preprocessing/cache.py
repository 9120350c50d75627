"""Prepared recordings on disk, named by the content of their files and settings, verified when read."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from eeg import large_arrays
from eeg.datasets.fingerprint import hash_facts
from trainers.errors import DataError
from trainers.files import replacing


def read_cached(folder: Path, name: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return what `write_cached` wrote, the array mapped from its file; None if it is missing or damaged."""
    try:
        stored = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        array = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        intact = stored["digest"] == _digest(name, array, stored["facts"])
        large_arrays.release(array)
        return (array, stored["facts"]) if intact else None
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def write_cached(folder: Path, name: str, array: np.ndarray, facts: dict[str, Any]) -> None:
    """Write an array, facts about it and the digest of both; the facts last, so that no reader sees a part.

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
        The folder cannot be written; nothing of the entry is left.
    """
    data, text = folder / f"{name}.npy", folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be created ({error.strerror}); choose another --cache") from error
    try:
        with replacing(data) as part:
            np.save(part, array, allow_pickle=False)
        with replacing(text) as part:
            stored = {"digest": _digest(name, array, facts), "facts": facts}
            part.write_text(json.dumps(stored), encoding="utf-8")
    except DataError:
        with suppress(OSError):
            data.unlink(missing_ok=True)
        raise


def _digest(name: str, array: np.ndarray, facts: dict[str, Any]) -> str:
    return hash_facts([name, facts, array.dtype.str, list(array.shape)], np.ascontiguousarray(array).data)
