"""The folder of a training: its settings, its finished parts and, at the end, its results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eeg.datasets import Corpus
from eeg.datasets.fingerprint import corpus_digest
from trainers.errors import DataError, SettingsError
from trainers.files import alone, refuse_content, sweep
from trainers.provenance import differences, read_record, to_plain, write_record

RECORD = "run.json"
PARTS = "unfinished"
"""The folder in it for the finished parts of an unfinished training."""


def make_folder(out: Path) -> Path:
    """Make a folder and check that it can be written.

    Raises
    ------
    SettingsError
        If it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror}") from error
    return out


@contextmanager
def open_run_folder(out: Path, resume: bool, record: Mapping[str, Any], corpus: Corpus) -> Iterator[None]:
    """Lock the folder of a run, which must be new or, to ``resume``, that of the same training.

    Parameters
    ----------
    out
        The folder; created if it does not exist, and removed if nothing has been written to it.
    resume
        Accept a folder with the same training.
    record
        The settings of the training.
    corpus
        The recordings it uses.

    Raises
    ------
    SettingsError
        If the folder is not empty or cannot be written.
    DataError
        If it belongs to another training, or another run is writing to it.
    """
    new = not out.exists()
    try:
        with alone(make_folder(out)):
            sweep(out)
            if resume and started(out):
                refuse_other(out, record)
                refuse_changed(out, corpus_digest(corpus))
            elif started(out):
                raise SettingsError(
                    f"{out}: not empty; expected a new or empty folder, or --resume to continue its training"
                )
            else:
                refuse_content(out)
            yield
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                out.rmdir()


def started(out: Path) -> bool:
    """Return whether a folder holds a training, finished or not."""
    return (out / RECORD).is_file()


def finished(out: Path) -> bool:
    """Return whether a folder holds a finished training."""
    return started(out) and "training" in _recorded(out)


def begin(out: Path, record: Mapping[str, Any]) -> Path:
    """Write the record of a new training or check that of a resumed one; return the folder of the parts.

    Raises
    ------
    DataError
        As `refuse_other`; or if the folder cannot be written.
    """
    if started(out):
        refuse_other(out, record)
    else:
        write_record(out / RECORD, record)
    (out / PARTS).mkdir(exist_ok=True)
    return out / PARTS


def refuse_other(out: Path, record: Mapping[str, Any], run: str = "training") -> None:
    """Raise `DataError`, naming the first difference, if a folder has the record of another ``run``."""
    before, now = _recorded(out), to_plain(record)
    if lines := differences({name: before.get(name) for name in now}, now):
        raise DataError(f"{out / RECORD} belongs to another {run}: {lines[0]}; name a new folder")


def refuse_changed(out: Path, digest: str) -> None:
    """Raise `DataError` if the training in a folder used a corpus with another `digest`."""
    if _recorded(out).get("corpus_sha256") != digest:
        raise DataError(
            f"{out / RECORD}: the recordings, annotations or diagnoses have changed since; name a new folder"
        )


def finish(out: Path, record: Mapping[str, Any], training: object) -> None:
    """Complete the record of a training and remove the parts."""
    write_record(out / RECORD, {**record, "training": training})
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _recorded(out: Path) -> dict[str, Any]:
    record = read_record(out / RECORD)
    if not isinstance(record, dict):
        raise DataError(f"{out / RECORD}: no record of a run; name a new folder")
    return record
