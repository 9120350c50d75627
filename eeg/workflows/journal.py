"""The journal of detections: one line for each recording, from which an interrupted run continues.

It lies in ``OUT/detections``, one file for each shard, and names no recording.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from eeg.datasets.fingerprint import hash_facts
from eeg.io.recording_files import files_with_sidecars, recording_files
from eeg.io.suffixes import recording_stem
from eeg.reporting.export import ESSENTIAL
from eeg.workflows.run_folder import RECORD, refuse_other, started
from trainers.errors import DataError
from trainers.files import replacing
from trainers.provenance import write_record

JOURNAL = "detections"
"""The folder in it for the journals of all shards and the record of their settings."""

DETECTION_COLUMNS = (
    *("folder", "score", "answer", "segments", "annotations", "problems", "refused", "missing", "notes"),
    *("error", "key"),
)
"""Of the table of all detections."""

Facts = Mapping[str, Any]


def begin_journal(out: Path, record: Mapping[str, Any]) -> None:
    """Make the folder of the journals of detections with the settings of ``record``.

    Parameters
    ----------
    out
        The folder of the detections.
    record
        The settings; they identify no recording.

    Raises
    ------
    DataError
        If the folder has journals of other settings or without any, or cannot be written.
    """
    folder = out / JOURNAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if started(folder) or any(folder.glob("*.jsonl")):
            refuse_other(folder, record, "run of eeg detect")
        else:
            write_record(folder / RECORD, record)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error


def identify(path: Path) -> dict[str, str]:
    """Return the hash of a recording's path, and that of the sizes and times of its files and sidecars."""
    try:
        files = files_with_sidecars(path)
    except DataError:  # several sidecars apply equally
        files = recording_files(path)
    return {"key": hash_facts(os.path.abspath(path)), "state": hash_facts([_state(file) for file in files])}


def _state(file: Path) -> list[int]:
    """Return the size of a file and the time of its last change, neither if it is missing."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # a name that a header gives may be none
        return []
    return [found.st_size, found.st_mtime_ns]


def append_line(journal: Path, facts: Facts) -> None:
    """Append the facts on one recording and the time to a journal by a single write.

    Each line begins with its line break, so that a part that a crash left spoils no later line.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    line = b"\n" + json.dumps({**facts, "time": time.time_ns()}).encode()
    try:
        with journal.open("ab", buffering=0) as file:
            if sys.platform != "win32":
                import fcntl

                with suppress(OSError):  # the disk has no locks; NFS needs one to append
                    fcntl.flock(file, fcntl.LOCK_EX)
            if file.write(line) < len(line):
                raise OSError(None, "the disk is full")
    except OSError as error:
        raise DataError(f"{journal}: cannot be written ({error.strerror}); free space, --resume") from error


def read_journals(out: Path) -> dict[str, Facts]:
    """Return the facts on each recording in the journals of a folder, by its key.

    The latest counts, whichever journal it is in, but an error does not replace a result of the same state of
    the files.  What is not a complete line is ignored.
    """
    lines: list[tuple[int, Facts]] = []
    for journal in sorted((out / JOURNAL).glob("*.jsonl")):
        with journal.open("rb") as file:
            for line in file:
                with suppress(ValueError, AttributeError):
                    facts = json.loads(line)
                    if facts.keys() >= {"key", "state"}:
                        lines.append((facts.get("time", 0), facts))
    found: dict[str, Facts] = {}
    for _, facts in sorted(lines, key=itemgetter(0)):
        before = found.get(facts["key"])
        if not (before and "error" in facts and before["state"] == facts["state"] and "error" not in before):
            found[facts["key"]] = facts
    return found


def is_done(facts: Facts | None, identity: Facts, out: Path) -> bool:
    """Return whether a recording needs no other attempt: its results exist, or it will fail again."""
    if facts is None or facts["state"] != identity["state"] or facts.get("again"):
        return False
    return "error" in facts or all((out / facts["folder"] / name).is_file() for name in ESSENTIAL)


def without_names(error: DataError, path: Path) -> str:
    """Return the message of an error without the path and the name of its recording, and of files beside it.

    >>> without_names(DataError("x/Mueller.edf: ends in a record"), Path("x/Mueller.edf"))
    'ends in a record'
    """
    text = str(error).removeprefix(f"{path}: ")
    folder, stem = re.escape(str(path.parent) + os.sep), re.escape(recording_stem(path))
    text = re.sub(rf"{folder}[^:;,]*", "(file)", text)
    return re.sub(rf"(?<!\w){stem}[\w.-]*\.\w+", "(file)", text)


def merge_journals(out: Path) -> tuple[Path, int, int]:
    """Write the table of all detections in a folder, ``detections.csv``.

    It has a row for each recording, sorted by the folder of its results, and those with an error at the end;
    it is the same whatever the order in which they were detected.

    Returns
    -------
    The table, and the number of results and of errors in it.

    Raises
    ------
    DataError
        If the folder has no journal, or cannot be written.
    """
    found = read_journals(out)
    if not found:
        raise DataError(f"{out}: no detections; expected a folder --out of `eeg detect`")
    rows = sorted(found.values(), key=lambda facts: ("error" in facts, facts.get("folder", ""), facts["key"]))
    table = out / f"{JOURNAL}.csv"
    with replacing(table) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(DETECTION_COLUMNS)
        writer.writerows([_cell(facts.get(name)) for name in DETECTION_COLUMNS] for facts in rows)
    errors = sum("error" in facts for facts in rows)
    return table, len(rows) - errors, errors


def _cell(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, list) else value
