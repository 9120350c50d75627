"""Published recipes at their published length, three seeds each: python benchmarks/published.py --jobs 2.

A set-up is a net, its data and its training; rules and controls (backprop, frozen random features) run on
the same set-up from the same initial weights and batches.  The test images are used for no choice: rates
that a paper does not state were chosen with ``--tune``, which tests on the last 10,000 training images and
stores nothing.

Each finished run is a line of benchmarks/results/published.jsonl; a second call computes those that are
missing or have another recipe, and resumes interrupted ones from their checkpoints beside that file.  Run it
in the background at low priority: seconds are those of the processor, and no other work changes a result.

The images are read from $HEBBIAN_DATA/mnist, and from FOLDER (``--images``) with fashion_mnist.npz and
cifar10.npz.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from journal import PUBLISHED, append_line, read_lines
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from hebbian.diagnostics import alignment
from hebbian.nn import RePU
from hebbian.registry import find_rule
from hebbian.rule import Rule
from hebbian.synapse import synaptic, weight_layers
from trainers.checkpoint import Checkpoint
from trainers.data.batches import Augment, Split, TrainingData
from trainers.data.images import load_images
from trainers.errors import DivergenceError
from trainers.networks import mlp
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.provenance import to_plain, versions
from trainers.recipes import Phase, Recipe, recommended
from trainers.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent.parent))

from examples import softhebb_cifar10

TUNING = 10_000
SAMPLE = 1_000
SEEDS = 3


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


def decayed(factor: float, *epochs: int, of: int) -> Callable[[Optimizer, int], LRScheduler]:
    """Multiply the rate by ``factor`` at some of the epochs."""
    return partial(_decayed, factor=factor, parts=tuple(epoch / of for epoch in epochs))


def _decayed(optimizer: Optimizer, steps: int, factor: float, parts: tuple[float, ...]) -> LRScheduler:
    return MultiStepLR(optimizer, [int(part * steps) for part in parts], factor)


def constant(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Keep the rate."""
    return LambdaLR(optimizer, lambda step: 1.0)


# BioTorch's Benchmarks.md: LeNet at 32 x 32, 100 epochs, SGD.  It states no rate for these images: 0.01 of
# 0.001 to 0.1 was chosen with --tune.


def lenet32() -> nn.Sequential:
    """Return BioTorch's LeNet with batch normalisation, (N, 1, 32, 32) -> (N, 10).

    Without it the convolutions do not align with random feedback: after 6 epochs `fa` is at 94.6 % of the
    held-out training images and `dfa` at 96.4 % with Adam, and with it at 98.3 and 98.4 % with SGD.
    """
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
    """Standardise images and enlarge them to 32 x 32."""
    return partial(_enlarged, mean=mean, std=std)


def _enlarged(x: Tensor, mean: float, std: float) -> Tensor:
    return (F.interpolate(x, (32, 32), mode="bilinear", antialias=True) - mean) / std


def standardised(mean: float, std: float) -> Callable[[Tensor], Tensor]:
    """Standardise images."""
    return partial(_standardised, mean=mean, std=std)


def _standardised(x: Tensor, mean: float, std: float) -> Tensor:
    return (x - mean) / std


_LENET = Recipe(
    Phase(
        partial(SGD, lr=0.01, momentum=0.9, weight_decay=1e-3),
        epochs=100,
        batch=64,
        schedule=decayed(0.1, 50, 75, of=100),
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


_LOCAL = Recipe(
    Phase(partial(Adam, lr=5e-4), epochs=100, batch=128, schedule=decayed(0.25, 50, 75, 89, 94, of=100))
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
    yield Cell("krotov", "krotov", 91.2, "DimaKrotov/Biological_Learning, as measured by us")
    yield Cell("backprop", "krotov", learn=Phase(_ADAM, epochs=40))
    for name in (
        "krotov",
        "lenet",
        "lenet-fashion",
        "eqprop",
        "pc",
        "forward-forward",
        "local",
        "local-fashion",
    ):
        yield frozen(name)
    for i, name in enumerate(("lenet", "lenet-fashion")):
        for rule, figures in _BIOTORCH.items():
            yield Cell(rule, name, figures[i], "BioTorch")
    yield Cell("eqprop", "eqprop", 97.75, "Scellier & Bengio 2017", settings={"steps": (30, 10)})
    yield Cell("backprop", "eqprop")
    yield Cell("pc", "pc", 98.03, "ngc-learn", settings={"precision": 0.1})
    yield Cell("backprop", "pc")
    yield Cell("forward-forward", "forward-forward", 98.6, "Hinton 2022")
    yield Cell("backprop", "forward-forward")
    for i, name in enumerate(("local", "local-fashion")):
        for rule, figures in reversed(_NOKLAND.items()):
            yield Cell(rule, name, figures[i], "Nøkland & Eidnes 2019")
    yield Cell("softhebb", "softhebb", 80.3, "Journé et al. 2023", settings=softhebb_cifar10.SOFTHEBB)
    yield Cell("frozen", "softhebb", learn=softhebb_cifar10.PUBLISHED.learn)


class Curve:
    """The accuracy after each epoch of a supervised rule, and the processor seconds without testing."""

    def __init__(self) -> None:
        self.accuracy: list[float] = []
        self.before, self._start = 0.0, time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds of all threads of this process, and of those before an interruption."""
        return self.before + time.process_time() - self._start

    def on_epoch(self, trainer: Trainer) -> None:
        """Test."""
        start = time.process_time()
        if found := trainer.evaluate():
            self.accuracy.append(found["accuracy"])
        self.before -= time.process_time() - start

    def state_dict(self) -> dict[str, Any]:
        """Return the curve so far."""
        return {"accuracy": self.accuracy, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue an interrupted curve."""
        self.accuracy, self.before, self._start = state["accuracy"], state["seconds"], time.process_time()


def learn(cell: Cell, seed: int, images: Split, checkpoint: Path | None = None) -> dict[str, Any]:
    """Train a fresh net; return its curve, its final accuracy, and what the run took."""
    setup = SETUPS[cell.setup]
    model = setup.net()
    cell.recipe.initialise(model, torch.Generator().manual_seed(seed))
    model = model.to(memory_format=torch.channels_last)  # faster convolutions
    curve, x_test = Curve(), setup.prepare(images.x_test)
    data = TrainingData(
        setup.prepare(images.x_train),
        images.y_train,
        images.classes,
        held_out=(x_test, images.y_test) if find_rule(cell.rule).supervised else None,
        augment=setup.augment,
    )
    options = RunOptions(
        seed, [curve], checkpoint and Checkpoint(checkpoint), feature_dtype=setup.feature_dtype
    )
    rule = train_rule(cell.rule, model, data, cell.recipe, options)
    result = {
        "accuracy": accuracy(predict(rule, x_test, batch=100), images.y_test),
        "curve": [round(value, 4) for value in curve.accuracy],
        "seconds": round(curve.seconds, 1),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if find_rule(cell.rule).family == "feedback":
        result["angles"] = angles(rule, data.x[:SAMPLE], data.y[:SAMPLE])
    return result


def angles(rule: Rule, x: Tensor, y: Tensor) -> list[float]:
    """Return the degrees between a rule's update and backprop's, one for each hidden layer."""
    *hidden, _ = alignment(rule, F.cross_entropy, x, y).values()
    return [round(math.degrees(math.acos(cosine)), 1) for cosine in hidden]


def load(data: str, folder: Path | None) -> Split:
    """Return images (N, channels, height, width)."""
    if data == "mnist" and "HEBBIAN_DATA" in os.environ:
        folder = Path(os.environ["HEBBIAN_DATA"], "mnist")
    images = load_images(data, folder)
    if images.x_train.ndim == 4:
        return images
    return replace(images, x_train=images.x_train[:, None], x_test=images.x_test[:, None])


def key(cell: Cell, seed: int) -> dict[str, Any]:
    """Return what identifies a run: a line with another recipe is not used."""
    setup = SETUPS[cell.setup]
    plain: dict[str, Any] = to_plain(
        {"rule": cell.rule, "setup": cell.setup, "seed": seed, "shape": setup.shape, "data": setup.data}
        | {"recipe": cell.recipe, "augment": setup.augment}
    )
    return plain


def stored(cell: Cell) -> dict[int, dict[str, Any]]:
    """Return the stored runs of a cell by seed, those of its present recipe only."""
    wanted = key(cell, 0)
    del wanted["seed"]
    lines = read_lines(PUBLISHED)
    return {line["seed"]: line for line in lines if {name: line.get(name) for name in wanted} == wanted}


def compute(index: int, seed: int, folder: Path | None) -> str:
    """Compute and store a run, in a process of its own, whose peak memory is that of the run."""
    torch.set_num_threads(1)
    cell = CELLS[index]
    checkpoint = PUBLISHED.with_name(f"{cell.rule}-{cell.setup}-{seed}.checkpoint")
    result = learn(cell, seed, load(SETUPS[cell.setup].data, folder), checkpoint)
    append_line(PUBLISHED, key(cell, seed) | result | {"versions": versions()})
    checkpoint.unlink(missing_ok=True)
    return f"{cell.rule} on {cell.setup}, seed {seed}: {result['accuracy']:.2%}, {result['seconds']:.0f} s"


def tune(cell: Cell, rates: list[float], epochs: int, folder: Path | None) -> None:
    """Print the accuracy on the last training images for each rate."""
    images = load(SETUPS[cell.setup].data, folder)
    x, y = images.x_train, images.y_train
    held = Split(x[:-TUNING], y[:-TUNING], x[-TUNING:], y[-TUNING:])
    for rate in rates:
        phase = cell.recipe.learn
        tried = replace(
            cell, learn=replace(phase, optimizer=partial(phase.optimizer, lr=rate), epochs=epochs)
        )
        try:
            result = learn(tried, 0, held)
        except DivergenceError as error:
            print(cell.rule, cell.setup, rate, error, flush=True)
            continue
        print(cell.rule, cell.setup, rate, result["curve"], result.get("angles"), flush=True)


CELLS = tuple(_cells())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS), metavar="NAME")
    parser.add_argument("--rules", nargs="+", metavar="NAME", help="all by default")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one thread")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of fashion_mnist.npz and cifar10.npz")
    parser.add_argument(
        "--tune", nargs="+", type=float, metavar="RATE", help="compare rates; nothing is stored"
    )
    parser.add_argument("--epochs", type=int, default=10, help="with --tune")
    options = parser.parse_args()
    chosen = [
        i
        for i, cell in enumerate(CELLS)
        if cell.setup in options.setups and cell.rule in (options.rules or [cell.rule])
    ]
    if options.tune:
        torch.set_num_threads(1)
        for i in chosen:
            tune(CELLS[i], options.tune, options.epochs, options.images)
        return
    done = {i: stored(CELLS[i]) for i in chosen}
    missing = [(i, seed) for seed in range(options.seeds) for i in chosen if seed not in done[i]]
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = [pool.submit(compute, i, seed, options.images) for i, seed in missing]
        for n, run in enumerate(as_completed(runs), start=1):
            print(f"{n} of {len(runs)}: {run.result()}", flush=True)


if __name__ == "__main__":
    import published  # the stored recipes name its functions, not those of __main__

    published.main()
