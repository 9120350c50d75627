"""The networks of the benchmarks, chains with one weight layer a block, and their initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from hebbian.synapse import synaptic, weight_layers


def mlp(
    inputs: int,
    hidden: Sequence[int],
    classes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    centred: bool = False,
) -> nn.Sequential:
    """Return a multilayer perceptron from inputs (N, ...) to scores (N, ``classes``).

    Parameters
    ----------
    inputs
        Values of a sample.
    hidden
        Units of each hidden layer, at least one.
    classes
        Number of scores.
    activation
        Creates the layer that follows each hidden layer.
    centred
        Standardise the input of each hidden layer by a BatchNorm without learned parameters.  Its running
        statistics average all batches, as pixels that are rarely lit may be 0 in the last few.
    """
    if not hidden:
        raise ValueError("hidden is empty; expected the units of at least one hidden layer")
    stages = [
        nn.Sequential(
            *([nn.BatchNorm1d(fan_in, affine=False, momentum=None)] if centred else []),
            nn.Linear(fan_in, fan_out),
            activation(),
        )
        for fan_in, fan_out in pairwise([inputs, *hidden])
    ]
    stages[0].insert(0, nn.Flatten())
    return nn.Sequential(*stages, nn.Linear(hidden[-1], classes))


def convnet(
    image: tuple[int, int, int],
    kernels: Sequence[int],
    classes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    centred: bool = False,
    width: int = 5,
) -> nn.Sequential:
    """Return a convolutional network from (N, channels, height, width) to scores (N, ``classes``).

    Each convolution is followed by the activation and by 2 x 2 max-pooling.

    Parameters
    ----------
    image
        Channels, height and width of the input.
    kernels
        Number of kernels of each convolution, at least one convolution.
    classes
        Number of scores.
    activation, centred
        As in `mlp`.
    width
        Width of the square kernels; there is no padding.

    Raises
    ------
    ValueError
        If the image is too small for this number of convolutions.
    """
    if not kernels:
        raise ValueError("kernels is empty; expected the number of kernels of at least one convolution")
    channels, *sides = image
    stages = []
    for fan_in, fan_out in pairwise([channels, *kernels]):
        stages.append(
            nn.Sequential(
                *([nn.BatchNorm2d(fan_in, affine=False, momentum=None)] if centred else []),
                nn.Conv2d(fan_in, fan_out, width),
                activation(),
                nn.MaxPool2d(2),
            )
        )
        sides = [(side - width + 1) // 2 for side in sides]
    if min(sides) < 1:
        raise ValueError(f"an image of {image} is too small for {len(kernels)} convolutions of {width}")
    return nn.Sequential(
        *stages, nn.Sequential(nn.Flatten(), nn.Linear(kernels[-1] * math.prod(sides), classes))
    )


def lenet(classes: int = 10, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return LeNet-5 (LeCun 1998) with max-pooling, (N, 1, 28, 28) -> scores (N, ``classes``)."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), activation(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), activation(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 120), activation()),
        nn.Sequential(nn.Linear(120, 84), activation()),
        nn.Linear(84, classes),
    )


@torch.no_grad()
def uniform(model: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases from U(-1, 1) / sqrt(fan-in): torch's default, with a given generator."""
    for path in weight_layers(model):
        layer = synaptic(model, path)
        bound = layer.weight[0].numel() ** -0.5
        for parameter in layer.parameters(recurse=False):
            parameter.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def gaussian(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the hidden weights from N(0, 1), with biases of 0; the readout as in `uniform`."""
    uniform(model, generator)
    for path in weight_layers(model)[:-1]:
        layer = synaptic(model, path)
        layer.weight.normal_(generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
