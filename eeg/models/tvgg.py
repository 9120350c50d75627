"""t-VGG and t-VGG GAP (Uyttenhove et al. 2020)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from eeg.models.registry import register_model

MIN_TIMES = 64
"""Samples that three poolings by four need."""


def _conv(inputs: int, outputs: int, pool: bool) -> list[nn.Module]:
    layers = [nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1)), nn.BatchNorm2d(outputs), nn.ReLU()]
    return [*layers, nn.MaxPool2d((1, 4))] if pool else layers


@register_model("tvgg")
class TVGG(nn.Sequential):
    """t-VGG and t-VGG GAP (Uyttenhove et al. 2020; the network of Jonas et al. 2019).

    Six convolutions over time (width 3; 16, 16, 32, 32, 32, 32 channels), each with batch
    normalisation and ReLU, with a pooling by four after every second; then a dense layer of 16 with
    dropout 0.5 and the readout, or with ``gap`` the mean over time and the readout.  With 19 channels
    of 2560 samples it has 33,425 parameters, or 12,945 with ``gap``.

    Windows become images of one row, (N, channels, 1, times), with the channels last in memory: PyTorch
    trains one-dimensional convolutions half as fast.

    Parameters
    ----------
    n_channels, n_times
        Shape of a window.
    n_outputs
        Scores per window.
    gap
        Read out from the mean over time (global average pooling).

    Raises
    ------
    ValueError
        If ``n_times`` is shorter than 64 samples or a count is not positive.
    """

    def __init__(
        self, n_channels: int = 19, n_times: int = 2560, n_outputs: int = 1, *, gap: bool = False
    ) -> None:
        if n_times < MIN_TIMES:
            raise ValueError(f"t-VGG needs windows of at least {MIN_TIMES} samples, got {n_times}")
        if n_channels < 1 or n_outputs < 1:
            raise ValueError(f"t-VGG needs channels and outputs, got {n_channels} and {n_outputs}")
        widths = [n_channels, 16, 16, 32, 32, 32, 32]
        blocks = [_conv(widths[i], widths[i + 1], pool=i % 2 == 1) for i in range(6)]
        blocks[0].insert(0, nn.Unflatten(1, (n_channels, 1)))
        if gap:
            blocks.append([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, n_outputs)])
        else:
            flat = 32 * (n_times // 4 // 4 // 4)
            blocks.append([nn.Flatten(), nn.Linear(flat, 16), nn.ReLU(), nn.Dropout(0.5)])
            blocks.append([nn.Linear(16, n_outputs)])
        super().__init__(*(nn.Sequential(*layers) for layers in blocks))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def last_convolution(self) -> nn.Module:
        """The activation before the last pooling, which Grad-CAM uses: 16 samples per cell."""
        block = self[5]
        assert isinstance(block, nn.Sequential)
        return block[2]


register_model("tvgg-gap")(partial(TVGG, gap=True))
