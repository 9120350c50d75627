"""Reading and writing of the small tables beside recordings."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trainers.errors import DataError
from trainers.files import replacing

NOT_UTF_8 = "not UTF-8; save it as UTF-8"


def read_table(
    path: Path, columns: set[str], *, delimiter: str, comment: str | None = None
) -> list[dict[str, str]]:
    """Read the rows of a text table with a header line.

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
        The file cannot be read, lacks a column, or has a row of another length than its header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = (line for line in file if comment is None or not line.startswith(comment))
            reader = csv.DictReader(lines, delimiter=delimiter, restkey="", strict=True)
            rows = list(reader)
            header = reader.fieldnames or []
    except UnicodeDecodeError:
        raise DataError(f"{path}: {NOT_UTF_8}") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    missing = columns.difference(header)
    if missing:
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}; found {', '.join(header)}")
    for number, row in enumerate(rows, start=2):
        if "" in row.keys() - set(header) or None in row.values():
            cells = sum(value is not None for value in row.values()) + max(len(row.get("", ())) - 1, 0)
            raise DataError(f"{path}, row {number}: {cells} cells, expected {len(header)} as in the header")
    return rows


def read_seconds(path: Path, row: dict[str, str], column: str) -> float:
    """Read a time of an event; raises `DataError` if it is not a number or is negative."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path}: {column} {row[column]!r} of an event; expected non-negative seconds")
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
