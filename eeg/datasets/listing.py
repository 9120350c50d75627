"""Anybody's recordings, named in a table."""

from datetime import datetime
from pathlib import Path

from eeg.datasets.corpus import Corpus, Entry
from eeg.io.tables import GROUPS, NOT_UTF_8, age_of, read_table, sex_of
from trainers.errors import DataError

_UNKNOWN = ("", "n/a", "unknown")
_LABELS: dict[str, int | None] = {**GROUPS, "1": 1, "0": 0, **dict.fromkeys(_UNKNOWN)}


def open_listing(path: Path) -> Corpus:
    """List the recordings that a table names.

    Parameters
    ----------
    path
        A CSV (commas, semicolons or tabs) with the columns ``path`` (relative to the table), ``subject``,
        ``label`` (epilepsy or 1, control or 0, or empty) and, where they are known, ``session``, ``site``,
        ``date`` (2026-11-23, with ``T14:33`` where the time is known), ``sex`` (F or M), ``age`` (years).

    Raises
    ------
    DataError
        The table cannot be understood, is empty, names a file twice or one that does not exist.
    """
    rows = read_table(path, {"path", "subject", "label"}, delimiter=_delimiter(path))
    entries = tuple(_entry(path, number, row) for number, row in enumerate(rows, start=2))
    if not entries:
        raise DataError(f"{path}: names no recording; expected one a row")
    if len({entry.path for entry in entries}) < len(entries):
        raise DataError(f"{path}: names a recording twice; expected one row a recording")
    return Corpus(path.stem, entries)


def _delimiter(path: Path) -> str:
    """Choose what the header line has most of; spreadsheets of many countries write semicolons."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return max(",;\t", key=file.readline().count)
    except UnicodeDecodeError:
        raise DataError(f"{path}: {NOT_UTF_8}") from None
    except OSError as error:
        raise DataError(f"{path}: not a readable table ({error})") from error


def _entry(table: Path, number: int, row: dict[str, str]) -> Entry:
    recording, label, day = table.parent / row["path"], row["label"].strip().lower(), row.get("date", "")
    if not row["path"] or not recording.exists():
        raise DataError(f"{table}: row {number}: no such file; expected a path relative to the table")
    if not row["subject"]:
        raise DataError(f"{table}: row {number}: no subject; expected a name or number for everybody")
    if label not in _LABELS:
        raise DataError(f"{table}: row {number}: label {label!r}; expected epilepsy, control or nothing")
    try:
        recorded = datetime.fromisoformat(day) if day else None
    except ValueError:
        raise DataError(f"{table}: row {number}: the date; expected YYYY-MM-DD or empty") from None
    sex, age = sex_of(row), age_of(row)
    for name, expected, value in (("sex", "F, M", sex), ("age", "years", age)):
        if value is None and row.get(name, "").strip().lower() not in _UNKNOWN:
            raise DataError(f"{table}: row {number}: the {name}; expected {expected} or nothing")
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
