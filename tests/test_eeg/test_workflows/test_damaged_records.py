"""Records of runs that are damaged: each is refused by one line that names the file."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eeg.detector.provenance import Provenance
from eeg.workflows.run_folder import finished, refuse_changed, refuse_other
from eeg.workflows.train import read_results
from trainers.comparison.compare import Comparison
from trainers.comparison.results import read_run_results
from trainers.errors import DataError
from trainers.provenance import read_record, to_plain

NOT_JSON = (
    *(b"", b"\0", b"{", b"[1, 2", b"\xff\xfe\xff", b'{"a": 1, "a": 2}', b"NULL", b'"\\ud8"'),
    *(100_000 * b"[", b'{"a": ' + 5000 * b"9" + b"}", b"\x1b[31m"),
)
VALUES = (None, True, 7, -1, 0.5, math.nan, "x", [], {}, [[]], {"x": 1}, 10**400)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in nested objects and lists."""
    yield place
    for key, item in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(item, (*place, key))


def damaged(record: object) -> Iterator[bytes]:
    """The text of a record with each of its values replaced, or removed."""
    yield from NOT_JSON
    whole = json.dumps(record).encode()
    yield whole[: len(whole) // 2]
    for i, place in enumerate(places(record)):
        for value in [VALUES[(i + j) % len(VALUES)] for j in range(4)]:
            yield json.dumps(with_value(record, place, value)).encode()


def with_value(record: object, place: tuple[Any, ...], value: object) -> object:
    """Return the record with one value replaced."""
    if not place:
        return value
    changed: Any = copy.deepcopy(record)
    box = changed
    for key in place[:-1]:
        box = box[key]
    box[place[-1]] = value
    return changed


def read_run_folder(path: Path) -> None:
    with suppress(DataError):
        finished(path.parent)
    with suppress(DataError):
        refuse_other(path.parent, {"plan": 1})
    with suppress(DataError):
        refuse_changed(path.parent, "ab")
    read_results(path.parent)


def repeat(path: Path) -> None:
    """Read a record as `trainers.comparison.repeat.repeat_run` does."""
    Comparison.from_record(read_record(path))


RUN = {"plan": {"seed": 0}, "corpus_sha256": "ab", "training": to_plain(Provenance("a", subjects=2, seed=1))}
COMPARISON = {"command": "train", "settings": to_plain(vars(Comparison(("oja",), widths=(3,))))}
RESULT = [{"rule": "oja", "seed": 0, "accuracy": 0.5, "reason": ""}]


@pytest.mark.parametrize(
    ("name", "record", "read"),
    [
        ("run.json", RUN, read_run_folder),
        ("run.json", COMPARISON, repeat),
        ("results.json", RESULT, lambda path: read_run_results(path.parent)),
    ],
    ids=["eeg train", "hebbian run", "hebbian results"],
)
def test_a_damaged_record_is_read_or_refused_in_one_line(
    tmp_path: Path, name: str, record: object, read: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    messages = []
    for content in damaged(record):
        path.write_bytes(content)
        try:
            read(path)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) >= len(NOT_JSON)
    assert read is repeat or all(str(path) in text for text in messages)
    assert all(text.isprintable() and len(text) < 500 for text in messages)
