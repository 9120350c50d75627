"""Changes of recipes by a TOML file, rule by rule.

::

    [softhebb]
    scale = "none"                               # also: greedy, centred
    learn = {lr = 0.1, epochs = 3, batch = 50}   # also: least_steps, and arguments of its optimizer
    readout = {weight_decay = 1e-4}
    finetune = {epochs = 5}
    settings = {temperature = 0.5}               # arguments of the rule
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from torch.optim import Adam

from trainers.errors import DataError
from trainers.recipes import Phase, Recipe, Scale

FINETUNE = Phase(partial(Adam, lr=1e-3), epochs=10)
"""Fine-tuning phase that a file changes if the recipe has none."""

_PHASES = ("learn", "readout", "finetune")
_PLAIN = ("scale", "greedy", "centred")
_STEPS = ("epochs", "batch", "least_steps")

Overrides = Mapping[str, Mapping[str, Any]]
"""Changes of recipes, by the name of the rule."""


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file of the format above.

    Raises
    ------
    DataError
        If the file cannot be read, is not TOML, or has values outside of tables.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as TOML ({error})") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise DataError(
                f"{path}: {name!r} is not in a table; expected a table named after a rule, such as [softhebb]"
            )
    return tables


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return ``recipe`` with changes.

    Raises
    ------
    DataError
        If a name is unknown, or a value has another type than what it replaces.
    """
    rest = dict(changes)
    settings = rest.pop("settings", {})
    known = {**{name: {} for name in _PHASES}, **{name: getattr(recipe, name) for name in _PLAIN}}
    new = _convert(rest, known)
    for name in new.keys() & _PHASES:
        new[name] = _phase(getattr(recipe, name) or FINETUNE, new[name])
    return replace(recipe, **new, settings=settings)


def _phase(phase: Phase, changes: Mapping[str, Any]) -> Phase:
    own = {name: getattr(phase, name) for name in _STEPS}
    optimizer = getattr(phase.optimizer, "func", phase.optimizer)
    parameters = inspect.signature(optimizer).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    rates = {name: float(value) if type(value) is int else value for name, value in defaults.items()}
    new = _convert(changes, {**own, **rates})
    return replace(
        phase,
        optimizer=partial(phase.optimizer, **{k: v for k, v in new.items() if k not in own}),
        **{k: v for k, v in new.items() if k in own},
    )


def _convert(changes: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``changes`` converted to the types of what they replace."""
    for name in changes:
        if name not in known:
            raise DataError(f"unknown setting {name!r}; expected one of {', '.join(known)}")
    return {name: _convert_value(known[name], value, name) for name, value in changes.items()}


def _convert_value(known: Any, value: Any, name: str) -> Any:
    if known is None:  # any type
        return value
    if isinstance(known, tuple) and isinstance(value, list | tuple):  # TOML has no tuples
        if len(value) != len(known):
            raise DataError(f"{name} = {value!r}; expected {len(known)} values like {known}")
        return tuple(_convert_value(k, v, name) for k, v in zip(known, value, strict=True))
    expected = type(known)
    fits = isinstance(value, (int, float) if expected is float else expected)
    if not fits or isinstance(value, bool) != (expected is bool):  # a bool is an int to Python
        raise DataError(f"{name} = {value!r}; expected {expected.__name__}")
    if name == "scale" and value not in get_args(Scale):
        raise DataError(f"scale = {value!r}; expected {', '.join(get_args(Scale))}")
    return value
