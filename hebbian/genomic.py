"""The genomic bottleneck: the weights of a layer made by a small network from the addresses of neurons.

Zador, NeurIPS 2020; Shuvaev, Lachi, Koulakov & Zador, PNAS 2024: a genome too small to list the weights
holds the rule by which they grow.  Three uses::

    express(model, ["0", "2"])     # train the genomes, by any rule, through the weights that they make
    bake(model)                    # innate weights: from here on they learn as ordinary parameters
    innate = Innate(model, ["0"])  # a regulariser: loss + strength * innate(model)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hebbian.synapse import synaptic


def addresses(shape: Sequence[int]) -> Tensor:
    """Return the binary address of each entry of a tensor, -1 or 1 a bit: (entries, bits).

    The address of a weight is those of its two neurons, and of its place in the kernel, end to end:
    ceil(log2 n) bits for an axis of length n, lowest bit first.
    """
    index = torch.cartesian_prod(*map(torch.arange, shape)).view(-1, len(shape))
    bits = [index[:, axis] >> bit & 1 for axis, n in enumerate(shape) for bit in range((n - 1).bit_length())]
    return 2.0 * torch.stack(bits, 1) - 1


class Genome(nn.Module):
    """A small tanh network from binary addresses to the entries of a weight, as a torch parametrization.

    Parameters
    ----------
    weight
        What it stands for: it takes over shape, dtype, device and, at first, the spread.
    hidden
        Its hidden units: what it can say, and what it costs.
    generator
        Source of its own first weights, which are N(0, 1 / fan-in).
    """

    address: Tensor

    def __init__(
        self, weight: Tensor, hidden: Sequence[int] = (16, 16), generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if weight.numel() < 2:
            raise ValueError(
                f"a genome needs a weight of two entries or more, got shape {tuple(weight.shape)}"
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
        """Return the weight that the genome describes."""
        made: Tensor = self.gain * self.network(self.address).view(self.shape)
        return made

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[()]:
        """Take over the spread of ``weight``, all that can be kept of it when it is assigned."""
        self.gain.copy_(weight.std() / self.network(self.address).std())
        return ()


def express(
    model: nn.Module,
    layers: Iterable[str],
    hidden: Sequence[int] = (16, 16),
    generator: torch.Generator | None = None,
) -> None:
    """Let a genome make the weight of each layer of ``model`` at the paths ``layers``, in place.

    ``layer.weight`` is computed from then on, and the genome's are the parameters.  Biases stay as they
    are.  Give the optimizer the model's parameters after this.  Whatever writes to weights, as step hooks
    that bound them do, has no effect on a weight that is computed.
    """
    for path in layers:
        layer = synaptic(model, path)
        parametrize.register_parametrization(layer, "weight", Genome(layer.weight, hidden, generator))


def bake(model: nn.Module) -> None:
    """Turn the weights that genomes make into ordinary parameters, in place: an initialiser."""
    for layer, _ in list(_expressed(model)):
        shared = type(layer)  # by deep copies as well, and torch is about to edit it
        layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
        parametrize.remove_parametrizations(layer, "weight")


def compression(model: nn.Module) -> float:
    """Return how many weights the genomes in ``model`` make for each of their own parameters.

    Raises
    ------
    ValueError
        If no layer has a genome.
    """
    genomes = [genome for _, genome in _expressed(model)]
    if not genomes:
        raise ValueError("no layer of the model has a genome; see `express`")
    made = sum(genome.shape.numel() for genome in genomes)
    return made / sum(p.numel() for genome in genomes for p in genome.parameters())


def _expressed(model: nn.Module) -> Iterator[tuple[nn.Module, Genome]]:
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrizations: Any = layer.parametrizations
            genome = parametrizations["weight"][0]
            if isinstance(genome, Genome):
                yield layer, genome


class Innate(nn.Module):
    """A regulariser: how far a model's weights are from what genomes can say.

    The genomes are its parameters and learn as well: their gradient draws them to the weights, and the
    weights' draws those to the genomes.

    Parameters
    ----------
    model
        For the shapes and the spread of its weights.
    layers
        Paths of the layers that are held.
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
        """Return the sum over layers of |W - what the genome makes|², a scalar."""
        gaps = zip(self.layers, self.genomes, strict=True)
        return torch.stack(
            [(synaptic(model, path).weight - genome()).square().sum() for path, genome in gaps]
        ).sum()
