"""The genomic bottleneck: a small network computes the weights of a layer from the addresses of neurons.

A genome too small to list the weights encodes the rule by which they develop.  Three uses::

    express(model, ["0", "2"])     # train the genomes, by any rule, through the weights that they compute
    bake(model)                    # innate weights: from now on they learn as ordinary parameters
    innate = Innate(model, ["0"])  # a regulariser: loss + strength * innate(model)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hebbian.rule_info import ANY_LAYERS, register_module
from hebbian.synapse import synaptic


def addresses(shape: Sequence[int]) -> Tensor:
    """Return the binary address of each entry of a tensor, bits of -1 or 1: (entries, bits).

    The address of a weight concatenates those of its two neurons and of its place in the kernel:
    ceil(log2 n) bits for an axis of length n, lowest bit first.
    """
    index = torch.cartesian_prod(*map(torch.arange, shape)).view(-1, len(shape))
    bits = [index[:, axis] >> bit & 1 for axis, n in enumerate(shape) for bit in range((n - 1).bit_length())]
    return 2.0 * torch.stack(bits, 1) - 1


@register_module(
    name="genomic-bottleneck",
    family="genomic bottleneck",
    source="Shuvaev, Lachi, Koulakov & Zador 2024; Zador 2020",
    needs=f"{ANY_LAYERS}: `hebbian.genomic.express`, `bake`, `Innate`",
)
class Genome(nn.Module):
    """A small tanh network from binary addresses to the entries of a weight, as a torch parametrization.

    Equation::

        W_ij = g(address of i, address of j); g a small network, learned by any rule through W

    Parameters
    ----------
    weight
        The weight to replace; its shape, dtype, device and initial standard deviation are copied.
    hidden
        Units of the hidden layers.
    generator
        For the genome's initial weights, which are N(0, 1 / fan-in).
    """

    address: Tensor

    def __init__(
        self, weight: Tensor, hidden: Sequence[int] = (16, 16), generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if weight.numel() < 2:
            raise ValueError(
                f"a genome needs a weight of at least two entries, got shape {tuple(weight.shape)}"
            )
        self.shape = weight.shape
        self.register_buffer("address", addresses(weight.shape), persistent=False)
        self.gain = nn.Parameter(torch.ones(()))
        self.network = nn.Sequential()
        for fan_in, fan_out in pairwise([self.address.shape[1], *hidden, 1]):
            layer = nn.Linear(fan_in, fan_out)
            nn.init.normal_(layer.weight, std=fan_in**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)
            self.network.extend([layer, nn.Tanh()])
        del self.network[-1]
        self.to(weight)
        self.right_inverse(weight)

    def forward(self) -> Tensor:
        """Return the weight that the genome encodes."""
        weight: Tensor = self.gain * self.network(self.address).view(self.shape)
        return weight

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[()]:
        """Match the standard deviation of an assigned ``weight``."""
        self.gain.copy_(weight.std() / self.network(self.address).std())
        return ()


def express(
    model: nn.Module,
    layers: Iterable[str],
    hidden: Sequence[int] = (16, 16),
    generator: torch.Generator | None = None,
) -> None:
    """Replace weights of ``model`` by genomes, in place.

    ``layer.weight`` is then computed, and the parameters are those of the genome.  Biases do not change.
    Create the optimizer after this call.  Step hooks that write to weights have no effect on a computed
    weight.

    Parameters
    ----------
    model
        Any module.
    layers
        Paths of Linear or ConvNd layers.
    hidden, generator
        See `Genome`.
    """
    for path in layers:
        layer = synaptic(model, path)
        parametrize.register_parametrization(layer, "weight", Genome(layer.weight, hidden, generator))


def bake(model: nn.Module) -> None:
    """Convert weights that genomes compute into ordinary parameters, in place: an initialiser."""
    for layer, _ in list(_expressed(model)):
        shared = type(layer)  # with deep copies, and torch edits it
        layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
        parametrize.remove_parametrizations(layer, "weight")


def compression(model: nn.Module) -> float:
    """Return the number of weights that the genomes in ``model`` compute, per parameter of the genomes.

    Raises
    ------
    ValueError
        If no layer has a genome.
    """
    genomes = [genome for _, genome in _expressed(model)]
    if not genomes:
        raise ValueError("no layer of the model has a genome; call `express` first")
    weights = sum(genome.shape.numel() for genome in genomes)
    return weights / sum(p.numel() for genome in genomes for p in genome.parameters())


def _expressed(model: nn.Module) -> Iterator[tuple[nn.Module, Genome]]:
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrizations: Any = layer.parametrizations
            genome = parametrizations["weight"][0]
            if isinstance(genome, Genome):
                yield layer, genome


class Innate(nn.Module):
    """A regulariser: the squared distance of a model's weights from those that genomes encode.

    The genomes are its parameters and learn as well: genomes and weights approach each other.

    Parameters
    ----------
    model
        For the shapes and standard deviations of its weights.
    layers
        Paths of the layers that are regularised.
    hidden, generator
        See `Genome`.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[str],
        hidden: Sequence[int] = (16, 16),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layers = list(layers)
        self.genomes = nn.ModuleList(
            Genome(synaptic(model, path).weight, hidden, generator) for path in self.layers
        )

    def forward(self, model: nn.Module) -> Tensor:
        """Return the sum over layers of ``|W - weight of the genome|²``, a scalar."""
        gaps = zip(self.layers, self.genomes, strict=True)
        return torch.stack(
            [(synaptic(model, path).weight - genome()).square().sum() for path, genome in gaps]
        ).sum()
