"""Atomic replacement of files, and folders in which one program writes at a time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.errors import DataError, SettingsError

_LONGEST = 40  # characters of a name that are repeated in that of its temporary folder
_DAY = 86400.0


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
        with partial_folder(path) as folder:
            partial = folder / path.name
            yield partial
            os.replace(partial, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); "
            "specify an existing, writable folder with free space"
        ) from error


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` for what becomes ``path``; `sweep` those of killed programs.

    Raises
    ------
    OSError
        If the folder of ``path`` does not exist or is not writable.
    """
    sweep(path.parent, path.name)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(path.name), dir=path.parent))
        lock = _lock(folder)
        if folder.exists():  # else another program swept it before it was locked
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Lock an existing folder against other trainings until the end of the context, or of the process.

    Windows and some network disks have no such locks; there this does nothing.

    Raises
    ------
    DataError
        If another training holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = os.open(out, os.O_RDONLY)
    try:
        with suppress(OSError):  # the disk has no locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{out}: another run is writing to this folder; name a new folder") from None
        yield
    finally:
        os.close(folder)


def refuse_content(out: Path) -> None:
    """Raise `SettingsError` if a path exists and is not an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SettingsError(f"{out}: not empty; expected a new or empty folder")


def sweep(folder: Path, name: str = "") -> None:
    """Remove the temporary folders of programs that were killed while they wrote to ``folder``.

    A running program locks its temporary folder, and its end releases the lock.  Where there are no locks
    (Windows, some network disks), those older than a day are removed.

    Parameters
    ----------
    folder
        Where they are.
    name
        Of the file that was written; by default any.
    """
    prefix = _prefix(name)
    names = os.listdir(folder) if folder.is_dir() else []  # fast where an archive has 100,000 results
    for partial in (folder / name for name in names if name.startswith(prefix)):
        if partial.is_dir():
            with suppress(OSError):  # locked, or removed by another program
                lock = _lock(partial, wait=False)
                if lock is not None or time.time() - partial.stat().st_mtime > _DAY:
                    shutil.rmtree(partial, ignore_errors=True)
                if lock is not None:
                    os.close(lock)


def _prefix(name: str) -> str:
    return f".partial-{name[:_LONGEST]}-" if name else ".partial-"


def _lock(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder; return the open lock, None where there are no locks or the folder is gone.

    Raises
    ------
    BlockingIOError
        If another program holds the lock, and this one does not wait.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return lock
