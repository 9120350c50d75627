"""What a run writes down so that it can be repeated: `run.json`."""

from __future__ import annotations

import dataclasses
import json
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path

from trainers.files import replacing

_PACKAGES = ("hebbian-eeg", "torch", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def write(path: Path, run: object) -> None:
    """Write ``run`` as JSON, whole or not at all; callables are noted by name and arguments."""
    text = json.dumps(run, indent=2, default=_plain)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, partial):
        return {"call": _plain(value.func), "args": value.args, **value.keywords}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', repr(value))}"
    raise TypeError(f"{value!r} has no place in a record")
