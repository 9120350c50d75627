"""Reading and writing of the small tables beside recordings."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trainers.errors import DataError
from trainers.files import replacing

_COLUMNS = frozenset(
    {
        *(
            "participant_id",
            "subject",
            "subject.id",
            "path",
            "label",
            "group",
            "diagnosis",
            "age",
            "sex",
            "site",
        ),
        *("name", "type", "status", "units", "filename", "acq_time", "recorded", "session"),
        *("onset", "duration", "trial_type", "value", "channel", "start_time", "stop_time", "confidence"),
    }
)
"""Columns by one of which the first line of a file is known to be that of a table."""

DANGLING = "a link to a file that is not here; fetch it (git annex get, datalad get)"
NOT_UTF_8 = "not UTF-8; save it as UTF-8"


def read_table(
    path: Path, columns: set[str], *, delimiter: str, comment: str | None = None
) -> list[dict[str, str]]:
    """Read the rows of a text table with a header line.

    Blanks around a cell are removed, and rows and columns that are blank throughout are left out.

    Parameters
    ----------
    path
        The file, in UTF-8.
    columns
        Columns that it must have.
    delimiter
        The separator of two cells.
    comment
        How lines begin that are skipped.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, has one twice, or has a row of another length than its
        header.
    """
    return [row for _, row in read_numbered(path, columns, delimiter=delimiter, comment=comment)]


def read_numbered(
    path: Path, columns: set[str], *, delimiter: str, comment: str | None = None
) -> list[tuple[int, dict[str, str]]]:
    """Read a table as `read_table` does; return each row with its number, the header being row 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (line for line in file if comment is None or not line.startswith(comment))
            table = [
                [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, strict=True)
            ]
    except UnicodeDecodeError:
        raise DataError(f"{path}: {NOT_UTF_8}") from None
    except OSError as error:
        reason = DANGLING if path.is_symlink() else f"not a readable table ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    header = table[0] if table else []
    names = [name for name in header if name]
    if missing := columns.difference(names):
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}; {_describe_columns(names)}")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{path}: two columns {', '.join(repeated)}; expected one of each name, remove the others"
        )
    rows = []
    for number, row in enumerate(table[1:], start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} cells, expected {len(header)} as in the header"
            )
        if any("\0" in cell for cell in row):
            raise DataError(f"{path}, row {number}: a cell contains a NUL character; remove it")
        rows.append((number, {name: cell for name, cell in zip(header, row, strict=True) if name}))
    return rows


def _describe_columns(names: Sequence[str]) -> str:
    """Return the names of a table's columns; the first line of another file may be data and is not quoted."""
    if _COLUMNS.isdisjoint(map(str.lower, names)):
        return f"found {len(names)} column(s) of other names; is it a table with that separator and a header?"
    return f"found {', '.join(names)}"


def read_seconds(path: Path, row: dict[str, str], column: str) -> float:
    """Read a time of an event; raises `DataError` if it is not a number or is negative."""
    try:
        value = float(row[column])
    except ValueError:
        raise DataError(f"{path}: the {column} of an event is not a number; expected seconds") from None
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path}: {column} {value:g} of an event; expected non-negative seconds")
    return value


def format_number(value: float) -> str:
    """Format a number with at most six decimals; ``n/a`` if it is not finite."""
    return np.format_float_positional(value, precision=6, trim="-") if np.isfinite(value) else "n/a"


def write_table(head: Iterable[str], rows: Iterable[Sequence[str]], path: Path) -> None:
    """Write a tab-separated table with the columns ``head``.

    Raises
    ------
    DataError
        The folder of ``path`` cannot be written.
    """
    lines = ["\t".join(row) for row in (tuple(head), *rows)]
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
