"""Annotations of the Temple corpora: a CSV since version 2, ``.tse`` and ``.lbl`` before.

Source: Ochal et al. 2020, "The Temple University Hospital EEG Corpus: Annotation Guidelines".
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from eeg.io.tables import DANGLING, NOT_UTF_8, read_seconds, read_table
from trainers.errors import DataError

ENDINGS = (".csv_bi", ".csv", ".tse_bi", ".tse", ".lbl_bi", ".lbl")
"""Suffixes of annotation files; first those about all channels together or about seizures only."""

_Row = dict[str, str]
_Span = tuple[float, float, str]

_SYMBOLS = re.compile(r"symbols\[(?P<level>\d+)\]\s*=\s*(?P<names>\{.*\})")
_LABEL = re.compile(
    r"label\s*=\s*\{\s*(?P<level>\d+)\s*,\s*\d+\s*,(?P<start_time>[^,]*),(?P<stop_time>[^,]*),"
    r"\s*\d+\s*,\s*\[(?P<odds>.*)\]\s*\}"
)


def read_temple(path: Path) -> list[_Span]:
    """Return start and stop, s, and label of every annotation, on any channel.

    Raises
    ------
    DataError
        The file is malformed, or an annotation stops before it starts.
    """
    return [_span(path, row) for row in _READERS.get(path.suffix.lower()[:4], _of_csv)(path)]


def _span(path: Path, row: _Row) -> _Span:
    start, stop = (read_seconds(path, row, name) for name in ("start_time", "stop_time"))
    if stop < start:
        raise DataError(f"{path}: an annotation stops before it starts, at {start:g} s; fix the file")
    return start, stop, row["label"]


def _of_csv(path: Path) -> list[_Row]:
    return read_table(path, {"start_time", "stop_time", "label"}, delimiter=",", comment="#")


def _of_tse(path: Path) -> Iterator[_Row]:
    """Read lines such as ``36.8868 183.3055 cpsz 1.0000``."""
    for line in _lines(path):
        words = line.split()
        if len(words) != 4:
            raise DataError(
                f"{path}: a line of {len(words)} words; expected start, stop, label and probability"
            )
        yield {"start_time": words[0], "stop_time": words[1], "label": words[2]}


def _of_lbl(path: Path) -> Iterator[_Row]:
    """Read ``label = {level, sublevel, start, stop, channel, [a probability for each of its symbols]}``."""
    symbols: dict[str, dict[int, str]] = {}
    for line in _lines(path):
        try:
            if found := _SYMBOLS.fullmatch(line):
                symbols[found["level"]] = ast.literal_eval(found["names"])
            elif found := _LABEL.fullmatch(line):
                odds = [float(value) for value in found["odds"].split(",")]
                yield {**found.groupdict(), "label": symbols[found["level"]][odds.index(max(odds))]}
            elif line.startswith("label"):
                raise ValueError
        except (KeyError, SyntaxError, TypeError, ValueError):
            raise DataError(
                f"{path}: unreadable; expected symbols, then label = {{level, sublevel, start, stop, "
                "channel, [probabilities]}"
            ) from None


def _lines(path: Path) -> Iterator[str]:
    """Return the lines without comments, empty ones and the version."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: {NOT_UTF_8}") from None
    except OSError as error:
        reason = DANGLING if path.is_symlink() else f"not a readable annotation file ({error.strerror})"
        raise DataError(f"{path}: {reason}") from error
    return (line.strip() for line in lines if line.strip() and not line.startswith(("#", "version")))


_READERS: dict[str, Callable[[Path], Iterator[_Row] | list[_Row]]] = {".tse": _of_tse, ".lbl": _of_lbl}
