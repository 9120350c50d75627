"""Networks for EEG windows (N, channels, times) -> scores (N, n_outputs), one weight layer a block."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping

from torch import nn

from eeg.models.convnets import deep4, eegnet, shallow
from eeg.models.tvgg import TVGG

Builder = Callable[[int, int, int], nn.Module]
"""Channels, samples of a window and outputs -> a network (N, channels, samples) -> (N, outputs)."""

MODELS: Mapping[str, Builder] = {
    "tvgg": lambda channels, times, outputs: TVGG(channels, times, False, outputs),
    "tvgg-gap": lambda channels, times, outputs: TVGG(channels, times, True, outputs),
    "eegnet": eegnet,
    "shallow": shallow,
    "deep4": deep4,
}
"""Names on the command line."""


def build_model(name: str, n_channels: int, n_times: int, n_outputs: int = 1) -> nn.Sequential:
    """Return a new network.

    Parameters
    ----------
    name
        One of `MODELS`, or ``package.module:function``: a `Builder` of one's own, which is imported and
        called.  What it gives is taken as one block if it is no `nn.Sequential`.

    Raises
    ------
    ValueError
        If there is no such network; the known ones are named.  Or the network does not fit the windows.
    """
    network = find_model(name)(n_channels, n_times, n_outputs)
    return network if isinstance(network, nn.Sequential) else nn.Sequential(network)


def is_user_code(name: str) -> bool:
    """Tell whether ``name`` stands for code of the user's, ``package.module:function``."""
    return ":" in name


def find_model(name: str) -> Builder:
    """Return what builds the network called ``name``; parameters and errors are those of `build_model`."""
    if is_user_code(name):
        module, _, function = name.partition(":")
        try:
            return getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"no model {name!r}: {error}; expected package.module:function") from error
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no model named {name!r}; {hint}known: {', '.join(MODELS)}")
    return MODELS[name]
