"""The folder of a comparison: its record and its results.

``run.json`` is the record (`trainers.provenance`); ``results.json`` and ``results.csv`` have one entry a run,
and are rewritten after each run.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from trainers import provenance
from trainers.comparison.experiment import Result
from trainers.errors import DataError, SettingsError
from trainers.files import alone, refuse_content, replacing, sweep

_T = TypeVar("_T")

_RUN, _JSON, _CSV = "run.json", "results.json", "results.csv"


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Create a folder if there is none, and lock it against other runs.

    Raises
    ------
    DataError
        If the folder cannot be created, or another run is writing to it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out} cannot be created: {error.strerror}; specify another folder") from error
    with alone(out):
        yield


def new_folder(out: Path) -> None:
    """Accept an empty folder, without the temporary files of a run that was killed while it wrote the record.

    Raises
    ------
    SettingsError
        If it is not empty.
    """
    if (out / _RUN).exists():
        raise SettingsError(
            f"{out}: not empty; expected a new or empty folder, or --resume to continue its training"
        )
    sweep(out)
    refuse_content(out)


def open_folder(out: Path, run: dict[str, Any]) -> None:
    """Begin a run in a locked folder, or check that it belongs to the same training or comparison.

    Rules and seeds may differ: the record in the folder includes all of them.

    Raises
    ------
    DataError
        If the record differs in other settings.
    SettingsError
        If the folder has other content.
    """
    path = out / _RUN
    if path.exists():
        sweep(out)
        try:
            run = _merge_records(provenance.read_record(path), run, path)
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged, or of another version; specify a new folder") from error
    else:
        new_folder(out)
    provenance.write_record(path, run)


def read_run_results(out: Path) -> list[Result]:
    """Return the results in a folder; an empty list without a file of results.

    Raises
    ------
    DataError
        If the file has other content.
    """
    return read_rows(Result, out / _JSON) if (out / _JSON).exists() else []


def read_rows(kind: type[_T], path: Path) -> list[_T]:
    """Read a list of the dataclass ``kind``.

    Raises
    ------
    DataError
        If the file has other content.
    """
    try:
        rows = provenance.read_record(path)
        return [provenance.from_plain(kind, row) for row in (rows if isinstance(rows, list) else [rows])]
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: not results of this version ({error}); specify a new folder") from error


def write_results(out: Path, results: Sequence[Result]) -> None:
    """Write all results, atomically."""
    provenance.write_record(out / _JSON, results)
    with replacing(out / _CSV) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [f.name for f in fields(Result)])
        table.writeheader()
        table.writerows(asdict(result) for result in results)


def describe_result(result: Result) -> str:
    """Return the result in one line."""
    if result.accuracy is None:
        return f"{result.rule}, seed {result.seed}: failed: {result.reason}"
    return f"{result.rule}, seed {result.seed}: {result.accuracy:.2%} in {result.seconds:.1f} s"


def find_differences(before: Sequence[Result], now: Sequence[Result]) -> list[str]:
    """Return one line for each result that differs in accuracy, final weights or reason of failure."""
    results = {(r.rule, r.seed): r for r in now}
    lines = []
    for old in before:
        new = results.get((old.rule, old.seed))
        if new is None:
            lines.append(f"{describe_result(old)}; not run now")
        elif (old.accuracy, old.weights, old.reason) != (new.accuracy, new.weights, new.reason):
            lines.append(f"{describe_result(old)}; now {describe_result(new)}")
    return lines


def _merge_records(old: Any, new: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return ``new`` with the rules and seeds of ``old`` added."""
    if not isinstance(old, dict) or old.get("command") != new["command"]:
        raise DataError(f"{path} is not of `hebbian {new['command']}`; specify a new folder")
    wider = {
        name: list(dict.fromkeys((*old["settings"][name], *new["settings"][name])))
        for name in ("rules", "seeds")
    }
    before, now = (
        {
            **this,
            "git": None,
            "processor": None,
            "settings": {**this["settings"], **wider},
            "recipes": {**that["recipes"], **this["recipes"]},
        }
        for this, that in ((old, new), (new, old))
    )
    if changes := provenance.differences(before, now):
        raise DataError(f"{path} is of another run ({'; '.join(changes)}); specify a new folder")
    return {**now, "git": new["git"], "processor": new["processor"]}
