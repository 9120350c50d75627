"""A small file that changes recipes, rule by rule.

::

    [softhebb]
    scale = "none"                               # also: greedy, centred
    learn = {lr = 0.1, epochs = 3, batch = 50}   # also: least_steps, and what else its optimizer takes
    readout = {weight_decay = 1e-4}
    finetune = {epochs = 5}
    settings = {temperature = 0.5}               # what the rule's constructor takes
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
"""Of which a file changes what it names, where the recipe has no such phase."""

_PHASES = ("learn", "readout", "finetune")
_PLAIN = ("scale", "greedy", "centred")
_STEPS = ("epochs", "batch", "least_steps")

Overrides = Mapping[str, Mapping[str, Any]]
"""By the name of a rule, what is to be other than in its recipe."""


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a file as the top of this module has it.

    Raises
    ------
    DataError
        If the file cannot be read, is no TOML, or has something outside its tables.
    """
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as TOML ({error})") from error
    for name, table in found.items():
        if not isinstance(table, dict):
            raise DataError(
                f"{path}: {name!r} stands in no table; begin one with the name of a rule: [softhebb]"
            )
    return found


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the changed recipe.

    Raises
    ------
    DataError
        If a name is unknown, or a value of another kind than what it replaces.
    """
    rest = dict(changes)
    settings = rest.pop("settings", {})
    known = {**{name: {} for name in _PHASES}, **{name: getattr(recipe, name) for name in _PLAIN}}
    found = _fitted(rest, known)
    for name in found.keys() & _PHASES:
        found[name] = _phase(getattr(recipe, name) or FINETUNE, found[name])
    return replace(recipe, **found, settings=settings)


def _phase(phase: Phase, changes: Mapping[str, Any]) -> Phase:
    own = {name: getattr(phase, name) for name in _STEPS}
    optimizer = getattr(phase.optimizer, "func", phase.optimizer)
    parameters = inspect.signature(optimizer).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    rates = {name: float(value) if type(value) is int else value for name, value in defaults.items()}
    found = _fitted(changes, {**own, **rates})
    return replace(
        phase,
        optimizer=partial(phase.optimizer, **{k: v for k, v in found.items() if k not in own}),
        **{k: v for k, v in found.items() if k in own},
    )


def _fitted(changes: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``changes`` in the types of what they replace."""
    for name in changes:
        if name not in known:
            raise DataError(f"no setting {name!r}; known: {', '.join(known)}")
    return {name: _like(known[name], value, name) for name, value in changes.items()}


def _like(known: Any, value: Any, name: str) -> Any:
    if known is None:  # which does not tell what else there may be
        return value
    if isinstance(known, tuple) and isinstance(value, list | tuple):  # TOML has no tuples
        if len(value) != len(known):
            raise DataError(f"{name} = {value!r}; expected {len(known)} values like {known}")
        return tuple(_like(k, v, name) for k, v in zip(known, value, strict=True))
    expected = type(known)
    fits = isinstance(value, (int, float) if expected is float else expected)
    if not fits or isinstance(value, bool) != (expected is bool):  # a bool is an int to Python
        raise DataError(f"{name} = {value!r}; expected {expected.__name__}")
    if name == "scale" and value not in get_args(Scale):
        raise DataError(f"scale = {value!r}; expected {', '.join(get_args(Scale))}")
    return value
