"""Facts about a rule, stated by a decorator where the rule is defined.

`hebbian.registry` collects these facts from the modules of this package and from other packages.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from torch import Tensor, nn

from hebbian.rule import Criterion, Rule
from hebbian.tapped import layers_in_order

Trait = Literal[
    "local",
    "noisy",
    "batch statistics",
    "rewrites weights",
    "own readout",
    "graph breaks",
    "no groups",
    "recurrent",
]
"""Properties that a rule declares, each verified by the tests that run over all rules:

- ``local``: no later layer's weights enter an earlier layer's update
- ``noisy``: two calls on the same batch differ
- ``batch statistics``: the update of a batch is not the mean of the updates of its halves
- ``rewrites weights``: calling the rule changes parameters or buffers that the update depends on
- ``own readout``: ``predict(x)`` is not ``model(x)``
- ``graph breaks``: `torch.compile` cannot compile the rule in one graph
- ``no groups``: convolutions with groups are refused
- ``recurrent``: a model without a recurrent cell of `hebbian.recurrent` is refused
"""

ANY_LAYERS = "Linear or ConvNd layers anywhere in any model that calls them"
CHAIN = "a chain of blocks: nn.Sequential, or any model that torch.fx can divide (hebbian.divide)"

Object = TypeVar("Object", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class ModuleInfo:
    """Facts about something that learns locally; `RuleInfo` where it trains a model."""

    name: str
    family: str
    source: str
    equation: str
    needs: str


@dataclass(frozen=True)
class BuildContext:
    """What `hebbian.build` has to build a rule from.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch; None for a rule without labels.
    example
        A batch (N, ...) of inputs, for shapes.
    classes
        Number of scores K.
    given_layers
        Paths of the layers at which a plasticity acts, each with its own settings; by default all weight
        layers but the last, in the order in which the model calls them.
    settings
        Further arguments of the rule's constructor.
    """

    model: nn.Module
    criterion: Criterion | None
    example: Tensor
    classes: int
    given_layers: Mapping[str, Mapping[str, Any]] | None
    settings: Mapping[str, Any]

    @cached_property
    def layers(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the paths of the layers at which a plasticity acts, each with its own settings."""
        if self.given_layers is not None:
            return self.given_layers
        return {path: {} for path in layers_in_order(self.model, self.example)[:-1]}

    @property
    def loss(self) -> Criterion:
        """Return the criterion; `ValueError` where none is given."""
        if self.criterion is None:
            raise ValueError("this rule learns from labels and needs a criterion, got None")
        return self.criterion


@dataclass(frozen=True, kw_only=True)
class RuleInfo(ModuleInfo):
    """Facts about a rule, and how to build it.

    Parameters
    ----------
    build
        Makes the rule from a `BuildContext`.
    traits
        See `Trait`.
    supervised
        False where the rule learns features without labels and a readout follows.
    one_logit
        False where the rule needs one score for each class.
    at_layers
        Whether the rule acts at the layers that it is given.
    layer_settings
        Whether single layers may have their own settings.
    settings
        See `settings_of`.
    """

    build: Callable[[BuildContext], Rule]
    traits: frozenset[Trait] = frozenset()
    supervised: bool = True
    one_logit: bool = True
    at_layers: bool = False
    layer_settings: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := set(self.traits) - set(get_args(Trait)):
            raise ValueError(
                f"rule {self.name!r}: unknown traits {sorted(unknown)}; expected some of {get_args(Trait)}"
            )


def register_rule(
    *,
    name: str,
    family: str,
    source: str,
    needs: str,
    build: Callable[[Any, BuildContext], Rule],
    traits: Collection[Trait] = (),
    supervised: bool = True,
    one_logit: bool = True,
    at_layers: bool = False,
    layer_settings: bool = False,
) -> Callable[[Object], Object]:
    """Register the decorated class or function as a rule; it may be registered under several names.

    Parameters
    ----------
    name
        Name on the command line and for `hebbian.build`.
    family
        Rules of a family are listed together.
    source
        Authors and years of the publications.
    needs
        Models, inputs and criteria for which the rule works.
    build
        Makes the rule from the decorated object and a `BuildContext`.
    traits, supervised, one_logit, at_layers, layer_settings
        See `RuleInfo`.

    Returns
    -------
    callable
        A decorator.  The equation is read from the docstring, from the literal block after ``Equation::``.
    """

    def decorate(decorated: Object) -> Object:
        info = RuleInfo(
            name=name,
            family=family,
            source=source,
            equation=_equation(decorated),
            needs=needs,
            build=partial(build, decorated),
            traits=frozenset(traits),
            supervised=supervised,
            one_logit=one_logit,
            at_layers=at_layers,
            layer_settings=layer_settings,
            settings=settings_of(decorated),
        )
        return _attach(decorated, info)

    return decorate


def register_module(*, name: str, family: str, source: str, needs: str) -> Callable[[Object], Object]:
    """Register the decorated class as something that learns locally and is used directly.

    Parameters
    ----------
    name, family, source, needs
        See `register_rule`.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(decorated: Object) -> Object:
        equation = _equation(decorated)
        return _attach(
            decorated, ModuleInfo(name=name, family=family, source=source, equation=equation, needs=needs)
        )

    return decorate


def settings_of(decorated: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of a rule or plasticity that a file of settings may contain, and their defaults.

    These are the numbers, texts and pairs; for one that is None by default, a value of its other type.
    """
    if not isinstance(decorated, type) and "u" in inspect.signature(decorated).parameters:
        return {}  # a plasticity that is a function
    typed: Any = decorated
    hints = get_type_hints(typed.__init__ if isinstance(decorated, type) else typed)
    settings: dict[str, Any] = {}
    for p in inspect.signature(decorated).parameters.values():
        if p.default is None:
            if kinds := [kind for kind in get_args(hints.get(p.name)) if kind in (int, float, str)]:
                settings[p.name] = kinds[0]()
        elif isinstance(p.default, int | float | str | tuple):
            settings[p.name] = p.default
    return settings


def registered(decorated: object) -> tuple[ModuleInfo, ...]:
    """Return the facts stated by the decorators of an object itself, not of its base classes."""
    infos: tuple[ModuleInfo, ...] = getattr(decorated, "__dict__", {}).get("_infos", ())
    return infos


def _attach(decorated: Object, info: ModuleInfo) -> Object:
    decorated._infos = (info, *registered(decorated))  # type: ignore[attr-defined]
    return decorated


def _equation(decorated: object) -> str:
    block = re.search(r"^Equation::\n\n((?: {4}.+\n?)+)", inspect.cleandoc(decorated.__doc__ or ""), re.M)
    return " ".join(block[1].split()) if block else ""
