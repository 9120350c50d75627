"""The nets of the benchmarks: chains with one weight layer a block; and how their weights begin."""

from __future__ import annotations

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
    """Return a perceptron, (N, ...) with ``inputs`` values a sample -> scores (N, ``classes``).

    Parameters
    ----------
    hidden
        Units of each hidden layer, at least one.
    activation
        Makes the layer that follows each hidden layer.
    centred
        Put a BatchNorm without learned parameters before each hidden layer: zero mean, unit variance.
    """
    if not hidden:
        raise ValueError("hidden is empty; name the units of at least one hidden layer")
    stages = [
        nn.Sequential(
            *([nn.BatchNorm1d(fan_in, affine=False)] if centred else []),
            nn.Linear(fan_in, fan_out),
            activation(),
        )
        for fan_in, fan_out in pairwise([inputs, *hidden])
    ]
    stages[0].insert(0, nn.Flatten())
    return nn.Sequential(*stages, nn.Linear(hidden[-1], classes))


@torch.no_grad()
def uniform(model: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases from U(-1, 1) / sqrt(fan-in): torch's default, from a known generator."""
    for path in weight_layers(model):
        layer = synaptic(model, path)
        bound = layer.weight[0].numel() ** -0.5
        for parameter in layer.parameters(recurse=False):
            parameter.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def gaussian(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the hidden weights from N(0, 1), with biases of 0; the readout as `uniform` has it."""
    uniform(model, generator)
    for path in weight_layers(model)[:-1]:
        layer = synaptic(model, path)
        layer.weight.normal_(generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
