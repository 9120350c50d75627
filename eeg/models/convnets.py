"""EEGNet, ShallowConvNet and Deep4 from their papers: windows (N, channels, times) -> scores (N, n_outputs).

Each is a chain of blocks with one weight layer per block, so that every learning rule can train it.  Default
kernels and poolings are those of Lawhern et al. 2018 for 128 Hz; at another rate they span another time.
A network takes windows of the length that it was built for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eeg.models.registry import register_model


@register_model("eegnet")
def eegnet(
    n_channels: int,
    n_times: int,
    n_outputs: int = 1,
    *,
    filters: int = 8,
    depth: int = 2,
    kernel: int = 64,
    dropout: float = 0.25,
) -> nn.Sequential:
    """Return EEGNet-``filters``,``depth`` (Lawhern et al. 2018, J. Neural Eng. 15:056013, table 2).

    A temporal convolution, spatial filters and a separable convolution.  The norms of the spatial filters and
    of the readout stay below 1 and 0.25.

    Parameters
    ----------
    n_channels, n_times
        Shape of a window.
    n_outputs
        Scores per window.
    filters, kernel
        Temporal filters, and their length in samples (half a second).
    depth
        Spatial filters per temporal filter.
    dropout
        Probability.

    Raises
    ------
    ValueError
        If ``n_times`` is shorter than the two poolings by 4 and 8, or a count is not positive.
    """
    length = n_times // 4 // 8
    _check("EEGNet", n_channels, n_times, n_outputs, length)
    maps = filters * depth
    spatial = nn.Conv2d(filters, maps, (n_channels, 1), groups=filters, bias=False)
    readout = nn.Linear(maps * length, n_outputs)
    return nn.Sequential(
        nn.Sequential(
            _image(n_channels),
            _same(kernel),
            nn.Conv2d(1, filters, (1, kernel), bias=False),
            nn.BatchNorm2d(filters),
        ),
        nn.Sequential(_bounded(spatial, 1.0), *_squeezed(maps, 4), nn.Dropout(dropout)),
        nn.Sequential(_same(16), nn.Conv2d(maps, maps, (1, 16), groups=maps, bias=False)),
        nn.Sequential(nn.Conv2d(maps, maps, 1, bias=False), *_squeezed(maps, 8), nn.Dropout(dropout)),
        nn.Sequential(nn.Flatten(), _bounded(readout, 0.25)),
    )


@register_model("shallow")
def shallow(
    n_channels: int,
    n_times: int,
    n_outputs: int = 1,
    *,
    kernel: int = 13,
    pool: int = 35,
    stride: int = 7,
) -> nn.Sequential:
    """Return ShallowConvNet (Schirrmeister et al. 2017, Hum. Brain Mapp. 38:5391): log band power, learned.

    40 temporal filters, 40 spatial filters, the square, its mean and the logarithm.

    Parameters
    ----------
    n_channels, n_times
        Shape of a window.
    n_outputs
        Scores per window.
    kernel, pool, stride
        Samples of the temporal filters and of the mean; 25, 75 and 15 in the paper, at 250 Hz.

    Raises
    ------
    ValueError
        If ``n_times`` is shorter than kernel and pool, or a count is not positive.
    """
    length = (n_times - kernel + 1 - pool) // stride + 1
    _check("ShallowConvNet", n_channels, n_times, n_outputs, length)
    power = (Square(), nn.AvgPool2d((1, pool), (1, stride)), SafeLog(), nn.Dropout(0.5))
    return nn.Sequential(
        nn.Sequential(_image(n_channels), nn.Conv2d(1, 40, (1, kernel))),
        nn.Sequential(nn.Conv2d(40, 40, (n_channels, 1), bias=False), nn.BatchNorm2d(40), *power),
        nn.Sequential(nn.Flatten(), nn.Linear(40 * length, n_outputs)),
    )


@register_model("deep4")
def deep4(
    n_channels: int, n_times: int, n_outputs: int = 1, *, kernel: int = 5, pool: int = 2
) -> nn.Sequential:
    """Return Deep4, the deep ConvNet (Schirrmeister et al. 2017): four convolutions and poolings over time.

    The first is split into a temporal and a spatial one; 25, 50, 100, 200 maps.

    Parameters
    ----------
    n_channels, n_times
        Shape of a window.
    n_outputs
        Scores per window.
    kernel, pool
        Samples of each convolution and pooling; 10 and 3 in the paper, at 250 Hz.

    Raises
    ------
    ValueError
        If ``n_times`` is too short for the four poolings, or a count is not positive.
    """
    length = n_times
    for _ in range(4):
        length = (length - kernel + 1) // pool
    _check("Deep4", n_channels, n_times, n_outputs, length)

    def stage(maps: int, convolution: nn.Conv2d) -> list[nn.Module]:
        return [convolution, nn.BatchNorm2d(maps), nn.ELU(), nn.MaxPool2d((1, pool)), nn.Dropout(0.5)]

    return nn.Sequential(
        nn.Sequential(_image(n_channels), nn.Conv2d(1, 25, (1, kernel))),
        nn.Sequential(*stage(25, nn.Conv2d(25, 25, (n_channels, 1), bias=False))),
        *(
            nn.Sequential(*stage(2 * maps, nn.Conv2d(maps, 2 * maps, (1, kernel), bias=False)))
            for maps in (25, 50, 100)
        ),
        nn.Sequential(nn.Flatten(), nn.Linear(200 * length, n_outputs)),
    )


class Square(nn.Module):
    """The square of each value."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the squares, of the same shape."""
        return x.square()


class SafeLog(nn.Module):
    """The logarithm, of 1e-6 where a value is smaller."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithms, of the same shape."""
        return x.clamp_min(1e-6).log()


def _check(name: str, n_channels: int, n_times: int, n_outputs: int, length: int) -> None:
    if n_channels < 1 or n_outputs < 1:
        raise ValueError(f"{name} needs channels and outputs, got {n_channels} and {n_outputs}")
    if length < 1:
        raise ValueError(
            f"{name}: windows of {n_times} samples are too short for its poolings; use longer windows"
        )


def _image(n_channels: int) -> nn.Module:
    """(N, channels, times) -> (N, 1, channels, times)."""
    return nn.Unflatten(1, (1, n_channels))


def _same(kernel: int) -> nn.Module:
    """Return a padding with which a convolution of ``kernel`` samples preserves the length."""
    return nn.ZeroPad2d(((kernel - 1) // 2, kernel // 2, 0, 0))


def _squeezed(maps: int, pool: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(maps), nn.ELU(), nn.AvgPool2d((1, pool))


def _bounded(layer: nn.Module, most: float) -> nn.Module:
    """Clip the norm of each unit's weights to ``most`` whenever ``layer`` runs in training."""

    def bound(module: Any, args: object) -> None:
        if module.training:  # through .data: a second pass before the step changes nothing, and may be made
            torch.renorm(module.weight.data, 2, 0, most, out=module.weight.data)

    layer.register_forward_pre_hook(bound)
    return layer
