"""The record of a run, `run.json`, from which it can be repeated."""

from __future__ import annotations

import dataclasses
import difflib
import json
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import torch
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from hebbian.registry import installed_rules, load_registered
from trainers.data.batches import Split, tensor_digest
from trainers.errors import DataError, describe_unreadable
from trainers.files import replacing

T = TypeVar("T")

_OBJECT = "an object with named fields"
_PACKAGES = ("hebbian-eeg", "torch", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def suppliers(rules: Collection[str], data: str = "") -> dict[str, str]:
    """Return the versions of the packages that register some of ``rules``, or ``data``, by entry points.

    The packages that they require are included if installed.
    """
    points = [*entry_points(group="hebbian.data", name=data)]
    for point in installed_rules():
        with suppress(ValueError):  # an entry point that cannot be loaded registers none of them
            if any(info.name in rules for info in load_registered(point)):
                points.append(point)
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
            "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
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

    Nothing is converted but integers to floats.

    Raises
    ------
    ValueError
        If a field is missing, unknown, of another type or not accepted by the class; the field is named.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: float
    >>> from_plain(Point, to_plain(Point(1.5)))
    Point(x=1.5)
    >>> from_plain(Point, {"x": "1.5"})
    Traceback (most recent call last):
    ValueError: x: expected a number
    """
    try:
        return _CONVERTER.structure(facts, kind)
    except BaseValidationError as error:
        problem, _, field = transform_error(error, "", _describe_problem)[0].rpartition(" @ ")
        raise ValueError(f"{field.lstrip('.')}: {problem}" if field else problem) from error
    except (TypeError, ValueError) as error:
        raise ValueError(str(error)) from error


def _describe_problem(error: BaseException, kind: type | None) -> str:
    """Return what was expected; the value itself is not quoted."""
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(error.cl)]
        name = min(map(str, error.extra_fields))
        near = difflib.get_close_matches(name, known, n=1)
        return f"unknown field {name[:40]!r}; expected {near[0] if near else ', '.join(known)}"
    if isinstance(error, KeyError):
        return "missing"
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(map(repr, get_args(kind)))}"
    if isinstance(error, ValueError):  # of the class itself
        return str(error)
    return f"expected {_OBJECT}"


def _make_converter() -> Converter:
    """Return a converter that accepts no other type: cattrs by itself makes a string of anything."""
    converter = Converter(forbid_extra_keys=True)
    for kind, expected in ((int, "an integer"), (bool, "true or false"), (str, "a text")):
        converter.register_structure_hook(kind, partial(_check_type, expected=expected))
    converter.register_structure_hook(float, _check_number)

    def guard(build: Callable[..., Any], kinds: type | tuple[type, ...], expected: str) -> Callable[..., Any]:
        def structure(value: Any, kind: Any) -> Any:
            if not isinstance(value, kinds):
                raise ValueError(f"expected {expected}")
            return build(value, kind)

        return structure

    converter.register_structure_hook_factory(
        dataclasses.is_dataclass,
        lambda kind: guard(converter.gen_structure_attrs_fromdict(kind), dict, _OBJECT),
    )

    def is_mapping(kind: Any) -> bool:
        origin: Any = get_origin(kind)
        return origin in (dict, Mapping)

    converter.register_structure_hook_factory(
        is_mapping, lambda kind: guard(converter.gen_structure_mapping(kind), dict, _OBJECT)
    )

    def is_sequence(kind: Any) -> bool:
        origin: Any = get_origin(kind)
        return origin is tuple and get_args(kind)[1:] == (...,)

    def make_tuple(kind: Any) -> Callable[..., Any]:
        items: Any = list.__class_getitem__(get_args(kind)[0])
        build = converter.get_structure_hook(items)
        return guard(lambda value, _: tuple(build(value, items)), (list, tuple), "a list")

    converter.register_structure_hook_factory(is_sequence, make_tuple)
    return converter


def _check_type(value: object, kind: type, expected: str) -> object:
    if type(value) is not kind:
        raise ValueError(f"expected {expected}")
    return value


def _check_number(value: Any, _: type) -> float:
    if type(value) not in (int, float) or (type(value) is int and abs(value) > sys.float_info.max):
        raise ValueError("expected a number")
    return float(value)


_CONVERTER = _make_converter()


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, an object names a field twice, or it is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique_fields)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the field {twice[:40]!r} is there twice")
    return fields


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
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({describe_unreadable(error)}); expected a file that `hebbian` wrote in "
            "the folder of a run"
        ) from error


def _plain(value: object) -> object:
    if isinstance(value, partial):
        return {"call": _plain(value.func), "args": value.args, **value.keywords}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', repr(value))}"
    raise TypeError(f"{value!r} cannot be written to a record")
