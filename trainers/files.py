"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to, and move what was written there onto ``path`` when all went well.

    Whoever reads ``path`` sees the old file or the whole new one, never a part.

    Raises
    ------
    DataError
        When the folder of ``path`` does not exist or cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=_prefix(path), dir=path.parent) as folder:
            partial = Path(folder) / path.name
            yield partial
            os.replace(partial, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); "
            "choose a folder that exists, can be written and has space"
        ) from error


def sweep(path: Path) -> None:
    """Remove what programs that were killed while they wrote ``path`` have left beside it."""
    for left in path.parent.glob(f"{_prefix(path)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _prefix(path: Path) -> str:
    return f".partial-{path.name}-"
