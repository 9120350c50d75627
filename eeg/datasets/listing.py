"""Recordings listed in a table."""

import os
import re
from datetime import datetime
from pathlib import Path

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.participants import GROUPS, age_of, sex_of
from eeg.io.tables import NOT_UTF_8, read_numbered
from eeg.io.text import EMOTIV_CHANNELS, is_bonn_segment
from trainers.errors import DataError

COLUMNS = {"path", "subject", "label"}
"""Columns that a table of recordings must have."""

_SUFFIXES = (".csv", ".tsv", ".txt")
_LONGEST = 10_000  # characters of a header line that are examined
_NAME = "a table of recordings"  # never that of the file, which may name a person or a place
_UNKNOWN = ("", "n/a", "unknown")
_LABELS: dict[str, int | None] = {**GROUPS, "1": 1, "0": 0, **dict.fromkeys(_UNKNOWN)}


def is_listing(path: Path) -> bool:
    """Whether a file is a table of recordings by its columns, or any other table by its suffix."""
    if not path.is_file() or is_bonn_segment(path):
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline(_LONGEST)
    except (UnicodeDecodeError, OSError):
        header = ""
    names = {name.strip().strip('"') for name in re.split("[,;\t]", header)}
    if set(EMOTIV_CHANNELS) <= names:
        return False
    return names >= COLUMNS or path.suffix.lower() in _SUFFIXES


def open_listing(path: Path) -> Corpus:
    """List the recordings of a table, also those whose file is missing.

    Parameters
    ----------
    path
        A CSV (commas, semicolons or tabs) with the columns ``path`` (relative to the table), ``subject``,
        ``label`` (epilepsy or 1, control or 0, or empty) and optionally ``session``, ``site``, ``date``
        (2026-11-23 or 2026-11-23T14:33), ``sex`` (F or M), ``age`` (years).

    Raises
    ------
    DataError
        A cell is not as above, the table is empty, or a file is listed twice.
    """
    rows = read_numbered(path, COLUMNS, delimiter=_delimiter(path))
    entries = tuple(_entry(path, number, row) for number, row in rows)
    if not entries:
        raise DataError(f"{path}: lists no recording; expected one per row")
    if len({os.path.normpath(entry.path) for entry in entries}) < len(entries):
        raise DataError(f"{path}: lists a recording twice; expected one row per recording")
    return Corpus(_NAME, entries)


def _delimiter(path: Path) -> str:
    """Return the most frequent separator of the header line; many spreadsheets write semicolons."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return max(",;\t", key=file.readline().count)
    except UnicodeDecodeError:
        raise DataError(f"{path}: {NOT_UTF_8}") from None
    except OSError as error:
        raise DataError(f"{path}: not a readable table ({error})") from error


def _entry(table: Path, number: int, row: dict[str, str]) -> Entry:
    recording, label, day = table.parent / row["path"], row["label"].lower(), row.get("date", "")
    where = f"{table}, row {number}"
    if not row["path"]:
        raise DataError(f"{where}: no path; expected one relative to the table")
    if not row["subject"]:
        raise DataError(f"{where}: no subject; expected a name or number")
    if label not in _LABELS:
        raise DataError(f"{where}: unknown label; expected epilepsy or 1, control or 0, or nothing")
    try:
        recorded = datetime.fromisoformat(day) if day else None
    except ValueError:
        raise DataError(f"{where}: the date is not one; expected YYYY-MM-DD or nothing") from None
    sex, age = sex_of(row), age_of(row)
    for name, expected, value in (("sex", "F, M", sex), ("age", "years", age)):
        if value is None and row.get(name, "").lower() not in _UNKNOWN:
            raise DataError(f"{where}: unknown {name}; expected {expected} or nothing")
    return Entry(
        recording,
        row["subject"],
        _LABELS[label],
        recorded=recorded,
        session=row.get("session") or None,
        site=row.get("site") or None,
        sex=sex,
        age=age,
    )
