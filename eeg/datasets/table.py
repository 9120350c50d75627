"""The small tables that lie beside recordings."""

import csv
from pathlib import Path

from trainers.errors import DataError

GROUPS = {"epilepsy": 1, "epileptic": 1, "control": 0, "healthy": 0}  # label by a group in small letters


def read_table(path: Path, columns: set[str], *, delimiter: str) -> list[dict[str, str]]:
    """Read the rows of a text table with a header line.

    Parameters
    ----------
    path
        The file, UTF-8.
    columns
        Columns that it must have.
    delimiter
        What stands between two cells.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, or has a row of another length than its header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey="", strict=True)
            rows = list(reader)
            header = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table ({error})") from error
    missing = columns.difference(header)
    if missing:
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}; found {', '.join(header)}")
    for number, row in enumerate(rows, start=2):
        if "" in row.keys() - set(header) or None in row.values():
            raise DataError(f"{path}: row {number} has not {len(header)} cells as the header has")
    return rows
