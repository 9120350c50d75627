"""Atomic replacement of files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import DataError, SettingsError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move the file written there to ``path`` at the end of the context.

    A reader of ``path`` sees the old file or the complete new one, never a part.

    Raises
    ------
    DataError
        If the folder of ``path`` does not exist or is not writable.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=_prefix(path), dir=path.parent) as folder:
            partial = Path(folder) / path.name
            yield partial
            os.replace(partial, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); "
            "specify an existing, writable folder with free space"
        ) from error


def refuse_content(out: Path) -> None:
    """Raise `SettingsError` if a path exists and is not an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SettingsError(f"{out}: not empty; expected a new or empty folder")


def sweep(path: Path) -> None:
    """Remove the temporary files of programs that were killed while they wrote ``path``."""
    for folder in path.parent.glob(f"{_prefix(path)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(path: Path) -> str:
    return f".partial-{path.name}-"
