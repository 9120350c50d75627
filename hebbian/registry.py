"""Rules by name: one signature builds every rule of this package and of other packages.

Another package adds a rule by an entry point of the group ``hebbian.rules`` that refers to the decorated
object, see `hebbian.rule_info.register_rule`.
"""

from __future__ import annotations

import difflib
import pkgutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from torch import Tensor, nn

import hebbian
from hebbian.rule import Criterion, Rule, check_criterion, check_model
from hebbian.rule_info import BuildContext, ModuleInfo, RuleInfo, registered

Info = TypeVar("Info", bound=ModuleInfo)


@cache
def _built_in() -> tuple[ModuleInfo, ...]:
    """Return what the modules of this package register, by family."""
    modules = [import_module(f"hebbian.{module.name}") for module in pkgutil.iter_modules(hebbian.__path__)]
    infos = [
        info
        for module in modules
        for value in vars(module).values()
        if getattr(value, "__module__", None) == module.__name__
        for info in registered(value)
    ]
    return tuple(sorted(infos, key=lambda info: info.family))


def installed_rules() -> tuple[EntryPoint, ...]:
    """Return the entry points of other packages' rules: all packages are searched, once a `sys.path`."""
    return _search(tuple(sys.path))


@cache
def _search(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group="hebbian.rules"))


def load_registered(point: EntryPoint) -> tuple[ModuleInfo, ...]:
    """Return what an entry point of `installed_rules` registers.

    Raises
    ------
    ValueError
        If it cannot be loaded, or refers to something that is not registered; the entry point is named.
    """
    place = f"entry point {point.name} = {point.value!r} of hebbian.rules"
    if point.dist is not None:
        place = f"{place} (package {point.dist.name} {point.dist.version})"
    try:
        infos = registered(point.load())
    except Exception as error:  # whatever the code of another package raises
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{place}: cannot be loaded ({text}); correct or uninstall the package") from error
    if not infos:
        raise ValueError(
            f"{place}: not registered as a rule; decorate it with hebbian.rule_info.register_rule"
        )
    return infos


def list_rules() -> dict[str, RuleInfo]:
    """Return every rule by name: the built-in ones and those that installed packages register.

    An entry point that cannot be loaded is left out with a warning.

    Raises
    ------
    ValueError
        If two rules have the same name.
    """
    rules: dict[str, RuleInfo] = {}
    for info in _built_in():
        if isinstance(info, RuleInfo):
            _add(rules, info, "hebbian")
    for point in installed_rules():
        try:
            infos = load_registered(point)
        except ValueError as error:
            warnings.warn(f"{error}; its rules are left out", RuntimeWarning, stacklevel=1)
            continue
        for info in infos:
            if isinstance(info, RuleInfo):
                _add(rules, info, f"entry point {point.value!r}")
    return rules


def _add(rules: dict[str, RuleInfo], info: RuleInfo, origin: str) -> None:
    if info.name in rules:
        raise ValueError(f"{origin}: a rule named {info.name!r} exists already; choose another name")
    rules[info.name] = info


def list_modules() -> dict[str, ModuleInfo]:
    """Return what learns locally and is used directly, by name: no model is trained by naming it."""
    return {info.name: info for info in _built_in() if not isinstance(info, RuleInfo)}


def find_rule(name: str) -> RuleInfo:
    """Return the rule called ``name``; `ValueError` names the nearest one where there is none."""
    if (module := list_modules().get(name)) is not None:
        raise ValueError(f"{name!r} trains no model by its name; use it directly: {module.needs}")
    return _find(name, list_rules())


def describe_rule(name: str) -> ModuleInfo:
    """Return the facts about the rule or module called ``name``, or raise as `find_rule` does."""
    return _find(name, {**list_modules(), **list_rules()})


def _find(name: str, known: Mapping[str, Info]) -> Info:
    if name not in known:
        for point in installed_rules():
            if point.name == name:
                load_registered(point)  # raises what `list_rules` warns of
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no rule named {name!r}; {hint}`hebbian rules` lists all {len(known)}")
    return known[name]


def build(
    name: str,
    model: nn.Module,
    criterion: Criterion | None,
    *,
    example: Tensor,
    classes: int,
    layers: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Rule:
    """Build the rule called ``name`` on ``model``.

    Parameters
    ----------
    name
        One of `list_rules`.
    model
        Any module that the rule can train, see its ``needs``.
    criterion
        Mean over the batch; None for a rule without labels.  Rules with an objective of their own (eqprop,
        forward-forward, clapp, scff) do not use it.
    example
        A batch (N, ...) of inputs, for shapes.
    classes
        Number of scores K.
    layers
        Where a plasticity acts; by default all weight layers but the last, in the order in which the model
        calls them for ``example``.  A mapping from paths to settings sets single layers; these take
        precedence over ``settings``.
    **settings
        Further arguments of the rule's constructor.

    Returns
    -------
    Rule
        The rule, with ``model`` inside.

    Raises
    ------
    ValueError
        If no rule has that name, or a rule that learns from labels gets no criterion.
    TypeError
        If the rule does not take the settings, or layers, or settings for single layers.

    Examples
    --------
    >>> import torch, hebbian
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    >>> rule = hebbian.build("fa", model, torch.nn.CrossEntropyLoss(), example=x, classes=3)
    >>> rule(x, y).backward()
    >>> rule.predict(x).shape
    torch.Size([5, 3])
    """
    info = find_rule(name)
    each = layers if layers is None or isinstance(layers, Mapping) else {path: {} for path in layers}
    if any((each or {}).values()) and not info.layer_settings:
        raise TypeError(f"{name!r} takes no settings for single layers; give the layers as a list of paths")
    if each is not None and not info.at_layers:
        raise TypeError(f"{name!r} acts at all layers of the model; give no layers")
    check_model(model)
    return info.build(BuildContext(model, check_criterion(criterion), example, classes, each, settings))
