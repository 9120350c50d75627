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

import difflib
import inspect
import reprlib
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from torch.optim import Adam

from hebbian.registry import find_rule
from hebbian.rule_info import RuleInfo
from trainers.errors import SettingsError, describe_unreadable
from trainers.recipes import Phase, Recipe, Scale, recommended

FINETUNE = Phase(partial(Adam, lr=1e-3), epochs=10)
"""Fine-tuning phase that a file changes if the recipe has none."""

_PHASES = ("learn", "readout", "finetune")
_PLAIN = ("scale", "greedy", "centred")
_STEPS = ("epochs", "batch", "least_steps")
_TYPES = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "a table",
    tuple: "a list",
}

Overrides = Mapping[str, Mapping[str, Any]]
"""Changes of recipes, by the name of the rule."""


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file of the format above.

    Raises
    ------
    SettingsError
        If the file cannot be read, is not TOML, has values outside of tables, names an unknown rule, or has
        settings that `override` refuses.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{path}: cannot be read ({describe_unreadable(error)}); expected a TOML file with lines such as "
            "softhebb.learn.lr = 0.1"
        ) from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SettingsError(
                f"{path}: {name!r} is not in a table; expected a table named after a rule, such as [softhebb]"
            )
        try:
            override(recommended(name), table, find_rule(name))
        except ValueError as error:
            raise SettingsError(f"{path}: [{name}]: {error}") from error
    return tables


def override(recipe: Recipe, changes: Mapping[str, Any], rule: RuleInfo | None = None) -> Recipe:
    """Return ``recipe`` with changes; settings of a known ``rule`` are those of its constructor.

    Raises
    ------
    SettingsError
        If a name is unknown, or a value has another type than what it replaces.
    """
    known = {
        **{name: {} for name in _PHASES},
        **{name: getattr(recipe, name) for name in _PLAIN},
        "settings": {},
    }
    new = _convert(changes, known)
    for name in new.keys() & _PHASES:
        new[name] = _phase(getattr(recipe, name) or FINETUNE, new[name], f"{name}.")
    if rule is not None and "settings" in new:
        new["settings"] = _rule_settings(rule, new["settings"])
    return replace(recipe, **{"settings": {}, **new})


def _rule_settings(rule: RuleInfo, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a rule in the types of its defaults; ``layers`` are paths, or tables by path."""
    known = {**rule.settings, **({"reduction": "mean"} if rule.layer_settings else {})}
    if "layers" not in changes or not rule.at_layers:
        return _convert(changes, known, "settings.")
    own = {name: value for name, value in changes.items() if name != "layers"}
    layers = changes["layers"]
    if not isinstance(layers, dict | list):
        raise _mismatch("settings.layers", layers, "a list of paths, or a table for each path")
    if isinstance(layers, dict):
        layers = {
            path: _convert(_convert_value({}, table, place), rule.settings, f"{place}.")
            for path, table in layers.items()
            for place in [f"settings.layers.{path}"]
        }
    return {**_convert(own, known, "settings."), "layers": layers}


def _phase(phase: Phase, changes: Mapping[str, Any], place: str) -> Phase:
    own = {name: getattr(phase, name) for name in _STEPS}
    optimizer = getattr(phase.optimizer, "func", phase.optimizer)
    parameters = inspect.signature(optimizer).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    rates = {name: float(value) if type(value) is int else value for name, value in defaults.items()}
    new = _convert(changes, {**own, **rates}, place)
    changed = partial(phase.optimizer, **{k: v for k, v in new.items() if k not in own})
    try:
        changed([nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{place[:-1]}: {str(error)[:1].lower()}{str(error)[1:]}") from error
    return replace(phase, optimizer=changed, **{k: v for k, v in new.items() if k in own})


def _convert(changes: Mapping[str, Any], known: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Return ``changes`` converted to the types of what they replace; ``place`` is their table."""
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingsError(
                f"unknown setting {place + name[:40]!r}; {hint}expected one of {', '.join(known)}"
            )
    return {name: _convert_value(known[name], value, place + name) for name, value in changes.items()}


def _convert_value(known: Any, value: Any, name: str) -> Any:
    if known is None:  # any type
        return value
    if isinstance(known, tuple) and isinstance(value, list | tuple):  # TOML has no tuples
        if len(value) != len(known):
            raise _mismatch(name, value, f"{len(known)} values like {known}")
        return tuple(_convert_value(k, v, name) for k, v in zip(known, value, strict=True))
    expected = type(known)
    fits = isinstance(value, (int, float) if expected is float else expected)
    if not fits or isinstance(value, bool) != (expected is bool):  # a bool is an int to Python
        raise _mismatch(name, value, _TYPES.get(expected, expected.__name__))
    if expected is float and not abs(value) < sys.float_info.max:
        raise _mismatch(name, value, "a finite number")
    if name == "scale" and value not in get_args(Scale):
        raise _mismatch(name, value, ", ".join(get_args(Scale)))
    least = {"epochs": 1, "batch": 1, "least_steps": 0}.get(name.rpartition(".")[2])
    if least is not None and not least <= value <= sys.maxsize:
        raise _mismatch(name, value, f"an integer of at least {least}")
    return value


def _mismatch(name: str, value: object, expected: str) -> SettingsError:
    quoted = reprlib.repr(value)
    return SettingsError(f"{name} = {quoted}; expected {expected}")
