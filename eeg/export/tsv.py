"""Tables as BIDS wants them: tabs, and ``n/a`` for what is missing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trainers.files import replacing


def number(value: float) -> str:
    """Write a number with six decimals at most, ``n/a`` for one that is not finite."""
    return np.format_float_positional(value, precision=6, trim="-") if np.isfinite(value) else "n/a"


def write_table(head: Iterable[str], rows: Iterable[Sequence[str]], path: Path) -> None:
    """Write a table with the columns ``head``.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
    """
    lines = ["\t".join(row) for row in (tuple(head), *rows)]
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
