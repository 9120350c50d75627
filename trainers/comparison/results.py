"""The folder of a comparison: what is compared, and how every run went.

``run.json`` is a `trainers.provenance`; ``results.json`` and ``results.csv`` hold one entry a run, and are
written anew after each.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from trainers import provenance
from trainers.comparison.experiment import Result
from trainers.errors import DataError
from trainers.files import replacing, sweep

_RUN, _JSON, _CSV = "run.json", "results.json", "results.csv"


def new_folder(out: Path) -> None:
    """Make a folder before hours are spent on what could not be written.

    What a run leaves that is killed during its first writing does not count as something.

    Raises
    ------
    DataError
        If it cannot be made, or holds something.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        sweep(out / _RUN)
        if any(out.iterdir()):
            raise DataError(f"{out} is not empty; name a new folder")
    except OSError as error:
        raise DataError(f"{out} cannot be made: {error.strerror}; name another folder") from error


def open_folder(out: Path, run: dict[str, Any]) -> None:
    """Make the folder, or make sure that it is one of the same training or comparison; note which.

    Rules and seeds may be others: the note in the folder is of all that it holds.

    Raises
    ------
    DataError
        If the folder holds anything else, or the run differs in other ways.
    """
    path = out / _RUN
    if path.exists():
        for name in (_RUN, _JSON, _CSV):
            sweep(out / name)
        run = _joined(provenance.read_record(path), run, path)
    else:
        new_folder(out)
    provenance.write_record(path, run)


def read_results(out: Path) -> list[Result]:
    """Return the runs that a folder holds; none where there is no file of them.

    Raises
    ------
    DataError
        If the file holds anything else.
    """
    path = out / _JSON
    if not path.exists():
        return []
    try:
        return [Result(**run) for run in provenance.read_record(path)]
    except TypeError as error:
        raise DataError(f"{path}: holds no results of this version; name a new folder") from error


def write_results(out: Path, results: Sequence[Result]) -> None:
    """Write all runs, each file whole or not at all."""
    provenance.write_record(out / _JSON, results)
    with replacing(out / _CSV) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [f.name for f in fields(Result)])
        table.writeheader()
        table.writerows(asdict(result) for result in results)


def describe_result(result: Result) -> str:
    """Tell in one line how a run went."""
    if result.accuracy is None:
        return f"{result.rule}, seed {result.seed}: failed: {result.reason}"
    return f"{result.rule}, seed {result.seed}: {result.accuracy:.2%} in {result.seconds:.1f} s"


def find_differences(before: Sequence[Result], now: Sequence[Result]) -> list[str]:
    """Tell in one line each which runs came out otherwise: in figures, final weights or failure."""
    found = {(r.rule, r.seed): r for r in now}
    lines = []
    for old in before:
        new = found.get((old.rule, old.seed))
        if new is None:
            lines.append(f"{describe_result(old)}; not run now")
        elif (old.accuracy, old.weights, old.reason) != (new.accuracy, new.weights, new.reason):
            lines.append(f"{describe_result(old)}; now {describe_result(new)}")
    return lines


def _joined(old: Any, new: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return ``new`` with the rules and seeds that ``old`` has beyond it."""
    if not isinstance(old, dict) or old.get("command") != new["command"]:
        raise DataError(f"{path} is not of `hebbian {new['command']}`; name a new folder")
    wider = {
        name: list(dict.fromkeys((*old["settings"][name], *new["settings"][name])))
        for name in ("rules", "seeds")
    }
    before, now = (
        {
            **this,
            "git": None,
            "settings": {**this["settings"], **wider},
            "recipes": {**that["recipes"], **this["recipes"]},
        }
        for this, that in ((old, new), (new, old))
    )
    if found := provenance.differences(before, now):
        raise DataError(f"{path} is of another run ({'; '.join(found)}); name a new folder")
    return {**now, "git": new["git"]}
