"""Networks by name: windows (N, channels, times) -> scores (N, n_outputs), one weight layer per block.

A model registers itself where it is defined, in a module of `eeg.models`:

    @register_model("eegnet")
    def eegnet(n_channels: int, n_times: int, n_outputs: int = 1) -> nn.Sequential: ...
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from torch import nn

import eeg.models

_T = TypeVar("_T")
_E = TypeVar("_E")

Builder = Callable[[int, int, int], nn.Module]
"""Channels, samples per window and outputs -> a network (N, channels, samples) -> (N, outputs)."""


class Registry(Mapping[str, _T]):
    """A mapping from names to what the modules of `eeg.models` register; they are imported at first use."""

    def __init__(self) -> None:
        self._entries: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[_E], _E]:
        """Return a decorator that adds an entry.

        Raises
        ------
        ValueError
            If the name is taken.
        """

        def add(entry: _E) -> _E:
            if self._entries.setdefault(name, entry) is not entry:
                raise ValueError(f"two models are named {name!r}; rename one")
            return entry

        return add

    def __getitem__(self, name: str) -> _T:
        _import_models()
        entry: _T = self._entries[name]
        return entry

    def __iter__(self) -> Iterator[str]:
        _import_models()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        _import_models()
        return len(self._entries)


@cache
def _import_models() -> None:
    for module in pkgutil.iter_modules(eeg.models.__path__, "eeg.models."):
        importlib.import_module(module.name)


MODELS: Registry[Builder] = Registry()
"""Names on the command line."""

register_model = MODELS.register


def build_model(name: str, n_channels: int, n_times: int, n_outputs: int = 1) -> nn.Sequential:
    """Return a new network.

    Parameters
    ----------
    name
        One of `MODELS`, or ``package.module:function``: a `Builder` that is imported and called.  If it does
        not return an `nn.Sequential`, its network is one block.
    n_channels, n_times
        Shape of a window.
    n_outputs
        Scores per window.

    Raises
    ------
    ValueError
        If there is no such network; the known ones are listed.  Or the network does not fit the windows.

    Examples
    --------
    >>> network = build_model("tvgg-gap", n_channels=19, n_times=256)
    >>> sum(p.numel() for p in network.parameters())
    12945
    """
    network = find_model(name)(n_channels, n_times, n_outputs)
    return network if isinstance(network, nn.Sequential) else nn.Sequential(network)


def is_user_code(name: str) -> bool:
    """Return whether ``name`` refers to code outside the registry, ``package.module:function``."""
    return ":" in name


def find_model(name: str) -> Builder:
    """Return the builder of the network ``name``; parameters and errors are those of `build_model`."""
    if is_user_code(name):
        module, _, function = name.partition(":")
        try:
            return getattr(importlib.import_module(module), function)
        except ImportError as error:
            raise ValueError(
                f"cannot import the model {name!r} ({error}); expected package.module:function: "
                "install the module or set PYTHONPATH"
            ) from error
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"cannot import the model {name!r} ({error}); expected package.module:function"
            ) from error
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no model named {name!r}; {hint}known: {', '.join(MODELS)}")
    return MODELS[name]
