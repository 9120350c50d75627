"""The record of a run, `run.json`, from which it can be repeated."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, TypeVar

from cattrs import Converter

from hebbian.rule_info import registered
from trainers.data.batches import Split, tensor_digest
from trainers.errors import DataError
from trainers.files import replacing

T = TypeVar("T")

_CONVERTER = Converter(forbid_extra_keys=True, detailed_validation=False)
_PACKAGES = ("hebbian-eeg", "torch", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def suppliers(rules: Collection[str], data: str = "") -> dict[str, str]:
    """Return the versions of the packages that register some of ``rules``, or ``data``, by entry points.

    The packages that they require are included if installed.
    """
    points = [
        *(
            point
            for point in entry_points(group="hebbian.rules")
            if any(info.name in rules for info in registered(point.load()))
        ),
        *entry_points(group="hebbian.data", name=data),
    ]
    installed = {}
    for name in (name for point in points if point.dist is not None for name in _with_required(point.dist)):
        with suppress(PackageNotFoundError):  # required on other platforms only
            installed[name] = version(name)
    return installed


def _with_required(package: Distribution) -> list[str]:
    required = [line for line in package.requires or () if "extra ==" not in line]
    return [package.name, *(re.split(r"[^\w.-]", line)[0] for line in required)]


def git_state(path: Path = Path(__file__)) -> dict[str, str | bool] | None:
    """Return the commit of the checkout that contains ``path``, and whether it has uncommitted changes.

    None if git does not track the file or is not installed.
    """

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=path.parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", path.name)
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


def make_record(
    command: str, settings: Mapping[str, Any], recipes: Mapping[str, Any], split: Split
) -> dict[str, Any]:
    """Return the record of a run.

    Parameters
    ----------
    command
        Command of `hebbian` that the run belongs to.
    settings
        Options of the command apart from the output folder; including seeds and the name of the ``data``.
    recipes
        Recipe of each rule.
    split
        The data, of which only the SHA-256 is recorded.
    """
    return to_plain(
        {
            "command": command,
            "settings": settings,
            "recipes": recipes,
            "data": tensor_digest(split.tensors),
            "versions": {**versions(), **suppliers(recipes.keys(), settings["data"])},
            "git": git_state(),
        }
    )


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Return the differences between two records, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in dict.fromkeys((*old, *new))
            for line in differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name} was {old}, is {new}"]


def to_plain(value: object) -> Any:
    """Return ``value`` as JSON types; callables become their names and arguments."""
    return json.loads(json.dumps(value, default=_plain))


def from_plain(kind: type[T], facts: object) -> T:
    """Return the dataclass ``kind`` that `to_plain` turned into ``facts``.

    Raises
    ------
    ValueError
        If a field is missing, unknown or of another type.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: float
    >>> from_plain(Point, to_plain(Point(1.5)))
    Point(x=1.5)
    """
    try:
        return _CONVERTER.structure(facts, kind)
    except Exception as error:  # cattrs raises many, one of them a bare Exception
        raise ValueError(f"not a {kind.__name__}: {error}") from error


def write_record(path: Path, run: object) -> None:
    """Write ``run`` as JSON, atomically."""
    text = json.dumps(run, indent=2, default=_plain)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> Any:
    """Read a record that `write_record` has written.

    Raises
    ------
    DataError
        If the file does not exist or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a file that `hebbian` wrote") from error


def _plain(value: object) -> object:
    if isinstance(value, partial):
        return {"call": _plain(value.func), "args": value.args, **value.keywords}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', repr(value))}"
    raise TypeError(f"{value!r} cannot be written to a record")
