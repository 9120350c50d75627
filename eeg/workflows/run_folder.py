"""The folder of a training: what was asked for, what is done of it and, at the end, what came of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trainers.errors import DataError
from trainers.files import sweep
from trainers.provenance import differences, read_record, to_plain, write_record

RECORD = "run.json"
PARTS = "unfinished"
"""A folder in it, where the parts of a training are that is not finished."""


_FILES = (RECORD, "model.safetensors", "predictions.csv", "card.md", "quality.json")


def sweep_up(out: Path) -> None:
    """Remove what a training that was killed while it wrote one of its files has left beside it."""
    for name in _FILES:
        sweep(out / name)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other trainings out of an existing folder; the system forgets that with the process.

    Windows, and disks that know no such locks, keep nobody out.

    Raises
    ------
    DataError
        If another training is at work there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with ExitStack() as stack:
        folder = os.open(out, os.O_RDONLY)
        stack.callback(os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{out}: another training is at work there; name a new folder") from None
        except OSError:  # the disk has no locks
            pass
        yield


def started(out: Path) -> bool:
    """Whether a training was begun in a folder, finished or not."""
    return (out / RECORD).is_file()


def finished(out: Path) -> bool:
    """Whether the training in a folder was brought to its end."""
    return started(out) and "training" in _recorded(out)


def begin(out: Path, asked: Mapping[str, Any]) -> Path:
    """Note what is asked for, or make sure that it is the same again, and return the folder of the parts.

    Raises
    ------
    DataError
        As `refuse_other`; or the folder cannot be written.
    """
    if started(out):
        refuse_other(out, asked)
    else:
        write_record(out / RECORD, asked)
    (out / PARTS).mkdir(exist_ok=True)
    return out / PARTS


def refuse_other(out: Path, asked: Mapping[str, Any]) -> None:
    """Raise `DataError`, which names the first difference, if the training in a folder is another one."""
    before, now = _recorded(out), to_plain(asked)
    if found := differences({name: before.get(name) for name in now}, now):
        raise DataError(f"{out / RECORD} is of another training: {found[0]}; name a new folder")


def refuse_changed(out: Path, digest: str) -> None:
    """Raise `DataError` if the training in a folder is of another corpus than the one of this `digest`."""
    if _recorded(out).get("corpus_sha256") != digest:
        raise DataError(
            f"{out / RECORD}: the recordings of DATA, their annotations or diagnoses are not what they were; "
            "name a new folder"
        )


def finish(out: Path, asked: Mapping[str, Any], training: object) -> None:
    """Write what was asked for and what came of it, and remove the parts."""
    write_record(out / RECORD, {**asked, "training": training})
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _recorded(out: Path) -> dict[str, Any]:
    found = read_record(out / RECORD)
    if not isinstance(found, dict):
        raise DataError(f"{out / RECORD}: no record of a training; name a new folder")
    return found
