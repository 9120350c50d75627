"""Networks for EEG windows (N, channels, times) -> scores (N, n_outputs), one weight layer a block."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping

from torch import nn

from eeg.convnets import deep4, eegnet, shallow

SHORTEST = 64
"""Samples that three poolings by four need."""


def _conv(inputs: int, outputs: int, pool: bool) -> nn.Sequential:
    layers = [nn.Conv1d(inputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool1d(4)) if pool else nn.Sequential(*layers)


class TVGG(nn.Sequential):
    """t-VGG and t-VGG GAP (Uyttenhove et al. 2020; the net is that of Jonas et al. 2019).

    Six convolutions over time (width 3; 16, 16, 32, 32, 32, 32 channels), each with batch
    normalisation and ReLU, with a pooling by four after every second; then a dense layer of 16 with
    dropout 0.5 and the readout, or with ``gap`` the mean over time and the readout.  With 19 channels
    of 2560 samples it has 33,425 parameters, or 12,945 with ``gap``.

    Raises
    ------
    ValueError
        If ``n_times`` is shorter than 64 samples or a count is not positive.
    """

    def __init__(
        self, n_channels: int = 19, n_times: int = 2560, gap: bool = False, n_outputs: int = 1
    ) -> None:
        if n_times < SHORTEST:
            raise ValueError(f"t-VGG needs windows of at least {SHORTEST} samples, got {n_times}")
        if n_channels < 1 or n_outputs < 1:
            raise ValueError(f"t-VGG needs channels and outputs, got {n_channels} and {n_outputs}")
        widths = [n_channels, 16, 16, 32, 32, 32, 32]
        blocks: list[nn.Module] = [_conv(widths[i], widths[i + 1], pool=i % 2 == 1) for i in range(6)]
        if gap:
            blocks.append(nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, n_outputs)))
        else:
            flat = 32 * (n_times // 4 // 4 // 4)
            blocks.append(nn.Sequential(nn.Flatten(), nn.Linear(flat, 16), nn.ReLU(), nn.Dropout(0.5)))
            blocks.append(nn.Linear(16, n_outputs))
        super().__init__(*blocks)
        self.gap = gap

    @property
    def last_convolution(self) -> nn.Module:
        """The block activation before the last pooling: where Grad-CAM looks, 16 samples a cell."""
        block = self[5]
        assert isinstance(block, nn.Sequential)
        return block[2]


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


def build(name: str, n_channels: int, n_times: int, n_outputs: int = 1) -> nn.Sequential:
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
    network = find(name)(n_channels, n_times, n_outputs)
    return network if isinstance(network, nn.Sequential) else nn.Sequential(network)


def own(name: str) -> bool:
    """Tell whether ``name`` stands for code of the user's, ``package.module:function``."""
    return ":" in name


def find(name: str) -> Builder:
    """Return what builds the network called ``name``; parameters and errors are those of `build`."""
    if own(name):
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
