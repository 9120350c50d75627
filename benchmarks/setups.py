"""The nets, data and rates of published figures: the set-ups and cells of benchmarks/published.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR

from hebbian.nn import RePU
from hebbian.synapse import synaptic, weight_layers
from trainers.data.batches import Augment
from trainers.networks import mlp
from trainers.recipes import Phase, Recipe, recommended

sys.path.insert(0, str(Path(__file__).parent.parent))

from examples import softhebb_cifar10


@dataclass(frozen=True)
class Setup:
    """A net, its data and its training.

    ``prepare`` maps the images (N, channels, height, width) to the inputs of the net.
    """

    shape: str
    data: str
    net: Callable[[], nn.Sequential]
    recipe: Recipe
    prepare: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    augment: Augment | None = None
    feature_dtype: torch.dtype | None = None


@dataclass(frozen=True)
class Cell:
    """A rule, or a control, on a set-up; the reported accuracy in per cent, and who reports it."""

    rule: str
    setup: str
    published: float | None = None
    source: str = ""
    learn: Phase | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The training of the set-up with the rates and settings of the rule."""
        recipe = SETUPS[self.setup].recipe
        return replace(recipe, learn=self.learn or recipe.learn, settings=self.settings)


# BioTorch's Benchmarks.md: LeNet at 32 x 32, 100 epochs, SGD.  It states no rate for these images: 0.01 of
# 0.001 to 0.1 was chosen with --tune.


def lenet32() -> nn.Sequential:
    """Return BioTorch's LeNet, with batch normalisation, (N, 1, 32, 32) -> (N, 10)."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(16, 120, 5), nn.BatchNorm2d(120), nn.ReLU(), nn.Flatten()),
        nn.Sequential(nn.Linear(120, 84), nn.BatchNorm1d(84), nn.ReLU()),
        nn.Linear(84, 10),
    )


@torch.no_grad()
def xavier(model: nn.Module, generator: torch.Generator) -> None:
    """Draw Xavier's uniform weights, with biases of 0."""
    for path in weight_layers(model):
        layer = synaptic(model, path)
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()


def enlarged(mean: float, std: float) -> Callable[[Tensor], Tensor]:
    """Enlarge images to 32 x 32 and standardise them."""
    return lambda x: (F.interpolate(x, (32, 32), mode="bilinear", antialias=True) - mean) / std


def standardised(mean: float, std: float) -> Callable[[Tensor], Tensor]:
    """Standardise images."""
    return lambda x: (x - mean) / std


def decayed(optimizer: Optimizer, steps: int, factor: float, parts: tuple[float, ...]) -> LRScheduler:
    """Multiply the rate by ``factor`` after some parts of the steps."""
    return MultiStepLR(optimizer, [int(part * steps) for part in parts], factor)


_LENET = Recipe(
    Phase(
        partial(SGD, lr=0.01, momentum=0.9, weight_decay=1e-3),
        epochs=100,
        batch=64,
        schedule=partial(decayed, factor=0.1, parts=(0.5, 0.75)),
    ),
    initialise=xavier,
)


# Nøkland & Eidnes 2019: a perceptron with batch normalisation, 100 epochs.


def normalised_mlp() -> nn.Sequential:
    """Return the perceptron of Nøkland & Eidnes, (N, 1, 28, 28) -> (N, 10)."""
    return mlp(784, [1024] * 3, 10, _normalised)


def _normalised() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(1024), nn.LeakyReLU(), nn.Dropout(0.1))


def jitter(x: Tensor, generator: torch.Generator, reach: int = 2) -> Tensor:
    """Shift each image (N, 1, H, W) by up to ``reach`` pixels in each direction; pixels of 0 enter."""
    height, width = x.shape[-2:]
    crops = F.pad(x, [reach] * 4, value=float(x.min())).unfold(2, height, 1).unfold(3, width, 1)
    dy, dx = torch.randint(0, 2 * reach + 1, (2, len(x)), generator=generator)
    return crops[torch.arange(len(x)), :, dy, dx]


def jitter_and_mirror(x: Tensor, generator: torch.Generator) -> Tensor:
    """`jitter`, and mirror half of the images."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    return jitter(torch.where(mirrored, x.flip(-1), x), generator)


# Innocenti et al. 2025: a residual perceptron of 64 layers under depth-mu-P, one epoch; N(0, 1) weights.


class Scaled(nn.Module):
    """Multiplies by a constant, and adds the result of a module to the input if ``skips``."""

    def __init__(self, module: nn.Module, factor: float, skips: bool = False) -> None:
        super().__init__()
        self.module, self.factor, self.skips = module, factor, skips

    def forward(self, h: Tensor) -> Tensor:
        """Return the output (N, units)."""
        change: Tensor = self.factor * self.module(h)
        return h + change if self.skips else change


def deep_net(units: int = 128, depth: int = 64) -> nn.Sequential:
    """Return a residual perceptron of ``depth`` weight layers, (N, 1, 28, 28) -> (N, 10)."""

    def layer(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.ReLU(), nn.Linear(inputs, outputs, bias=False))

    first = nn.Sequential(nn.Flatten(), nn.Linear(784, units, bias=False))
    hidden = [Scaled(layer(units, units), (units * depth) ** -0.5, skips=True) for _ in range(depth - 2)]
    return nn.Sequential(Scaled(first, 784**-0.5), *hidden, Scaled(layer(units, 10), 1 / units))


@torch.no_grad()
def standard_normal(model: nn.Module, generator: torch.Generator) -> None:
    """Draw N(0, 1) weights."""
    for p in model.parameters():
        p.normal_(generator=generator)


_LOCAL = Recipe(
    Phase(
        partial(Adam, lr=5e-4),
        epochs=100,
        batch=128,
        schedule=partial(decayed, factor=0.25, parts=(0.5, 0.75, 0.89, 0.94)),
    )
)
_ADAM = partial(Adam, lr=1e-3)
_MNIST, _FASHION = (0.1307, 0.3081), (0.286, 0.353)

SETUPS = {
    "lenet": Setup("LeNet, batch norm, 32 x 32", "mnist", lenet32, _LENET, enlarged(*_MNIST)),
    "lenet-fashion": Setup(
        "LeNet, batch norm, 32 x 32", "fashion-mnist", lenet32, _LENET, enlarged(*_FASHION)
    ),
    "local": Setup(
        "784-1024-1024-1024-10, batch norm, 2 px jitter",
        "mnist",
        normalised_mlp,
        _LOCAL,
        standardised(*_MNIST),
        jitter,
    ),
    "local-fashion": Setup(
        "784-1024-1024-1024-10, batch norm, 2 px jitter, mirrored",
        "fashion-mnist",
        normalised_mlp,
        _LOCAL,
        standardised(*_FASHION),
        jitter_and_mirror,
    ),
    "forward-forward": Setup(
        "784-1000-1000-1000-10",
        "mnist",
        partial(mlp, 784, [1000] * 3, 10),
        Recipe(Phase(_ADAM, epochs=100)),
    ),
    "eqprop": Setup(
        "784-512-10", "mnist", partial(mlp, 784, [512], 10), Recipe(Phase(_ADAM, epochs=50, batch=50))
    ),
    "pc": Setup("784-512-512-10", "mnist", partial(mlp, 784, [512] * 2, 10), Recipe(Phase(_ADAM, epochs=50))),
    "deep": Setup(
        "784-128, 62 residual layers, 10",
        "mnist",
        deep_net,
        Recipe(Phase(partial(Adam, lr=0.03), epochs=1), initialise=standard_normal),
        standardised(*_MNIST),
    ),
    "krotov": Setup(
        "784-100-10", "mnist", partial(mlp, 784, [100], 10, partial(RePU, 4.5)), recommended("krotov")
    ),
    "softhebb": Setup(
        "96-384-1536 convolutions",
        "cifar10",
        softhebb_cifar10.softhebb_net,
        softhebb_cifar10.PUBLISHED,
        feature_dtype=torch.bfloat16,
    ),
}

_BIOTORCH = {
    "backprop": (99.09, 90.80),
    "usf": (99.06, 90.31),
    "brsf": (99.09, 89.98),
    "frsf": (99.03, 90.39),
    "fa": (98.30, 86.94),
    "dfa": (98.39, 87.19),
}
_NOKLAND = {
    "backprop": (99.25, 91.63),
    "pred": (99.32, 91.40),
    "sim": (99.20, 90.30),
    "predsim": (99.38, 91.46),
}


def _cells() -> Iterator[Cell]:
    once = Phase(partial(SGD, lr=0.0), epochs=1)  # random features learn nothing
    frozen = partial(Cell, "frozen", learn=once)
    yield Cell("krotov", "krotov", 91.2, "pytorch-hebbian, with the rates of Krotov's notebook")
    yield Cell("backprop", "krotov", learn=Phase(_ADAM, epochs=40))
    for name in list(SETUPS)[:-1]:
        if name != "deep":  # whose readout is followed by a factor
            yield frozen(name)
    for i, name in enumerate(("lenet", "lenet-fashion")):
        for rule, figures in _BIOTORCH.items():
            yield Cell(rule, name, figures[i], "BioTorch")
    yield Cell("eqprop", "eqprop", 97.75, "error 2 to 2.5 %, unconfirmed", settings={"steps": (30, 10)})
    yield Cell("backprop", "eqprop")
    yield Cell("pc", "pc", 98.03, "ngc-learn", settings={"precision": 0.1})
    yield Cell("backprop", "pc")
    yield Cell("pc", "deep", source="Innocenti et al. 2025: as backprop", settings={"precision": 0.01})
    yield Cell("backprop", "deep")
    yield Cell("forward-forward", "forward-forward", 98.6, "Hinton 2022")
    yield Cell("backprop", "forward-forward")
    for i, name in enumerate(("local", "local-fashion")):
        for rule, figures in reversed(_NOKLAND.items()):
            yield Cell(rule, name, figures[i], "Nøkland & Eidnes 2019")
    yield Cell("softhebb", "softhebb", 80.3, "Journé et al. 2023", settings=softhebb_cifar10.SOFTHEBB)
    yield Cell("frozen", "softhebb", learn=softhebb_cifar10.PUBLISHED.learn)


CELLS = tuple(_cells())
