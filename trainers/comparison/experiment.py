"""One training of one net by one rule, from its first weights to its figure on the test data."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from trainers.checkpoint import Checkpoint
from trainers.data.batches import Split, tensor_digest
from trainers.networks import convnet, lenet, mlp
from trainers.phases import RunOptions, train_rule
from trainers.recipes import Recipe
from trainers.trainer import accuracy, predict

Net = Literal["mlp", "convnet", "lenet"]
WIDTHS: Mapping[Net, tuple[int, ...]] = {"mlp": (100,), "convnet": (16, 32), "lenet": ()}
"""Units of the hidden layers, or kernels of the convolutions, where none are named."""


@dataclass(frozen=True)
class Experiment:
    """All that the outcome depends on but the data.

    Parameters
    ----------
    rule
        Its name in the registry.
    seed
        Of the first weights and of the training: rules that draw their first weights alike get the same.
    recipe
        What it is trained with.
    net, widths
        ``mlp`` with so many units in each hidden layer; ``convnet`` with so many kernels in each
        convolution, or ``lenet``, both for images.  No widths: those of `WIDTHS`.
    device
        As torch names it.
    """

    rule: str
    seed: int
    recipe: Recipe
    net: Net = "mlp"
    widths: tuple[int, ...] = ()
    device: str = "cpu"

    @property
    def key(self) -> tuple[str, int]:
        """Rule and seed, by which results are found."""
        return self.rule, self.seed

    def model(self, split: Split) -> nn.Sequential:
        """Return the net for ``split`` with its first weights.

        Raises
        ------
        ValueError
            If there is no such net, or it does not suit the data.
        """
        model = _net(self, tuple(split.x_train.shape[1:]), split.classes)
        self.recipe.initialise(model, torch.Generator().manual_seed(self.seed))
        return model


@dataclass(frozen=True)
class Result:
    """How a rule did on the test data; without figures where ``reason`` says why there are none."""

    rule: str
    seed: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    """95 % Wilson interval of the accuracy, for the draw of the test samples only."""
    seconds: float | None = None
    """Of training and testing, by the clock."""
    memory: float | None = None
    """Peak of the process, MiB; on a GPU that of the tensors there.  None where it had other work as well."""
    updated: int | None = None
    """Parameters of the net in tensors that the training changed."""
    weights: str | None = None
    """The first 16 hex digits of the SHA-256 of the net's final state."""
    reason: str = ""


def run_experiment(
    experiment: Experiment,
    split: Split,
    callbacks: Sequence[object] = (),
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train and test, or go on with it from ``checkpoint``.

    Raises
    ------
    FloatingPointError
        If the scores end up as NaN or infinity.
    ValueError, TypeError
        If the net does not suit the data, or the rule the net.
    """
    model = experiment.model(split).to(experiment.device)
    first = [p.detach().clone() for p in model.parameters()]
    split = (split if experiment.net == "mlp" else with_channels(split)).to(experiment.device)
    start = time.perf_counter()
    options = RunOptions(experiment.seed, callbacks, checkpoint)
    rule = train_rule(experiment.rule, model, split.training_data(), experiment.recipe, options)
    scores = predict(rule, split.x_test).cpu()  # waits for a GPU
    seconds = time.perf_counter() - start
    if not scores.isfinite().all():
        raise FloatingPointError("the scores are not finite, training has diverged; lower its rate")
    share = accuracy(scores, split.y_test.cpu())
    low, high = wilson(share, len(scores))
    return Result(
        experiment.rule,
        experiment.seed,
        accuracy=share,
        low=low,
        high=high,
        seconds=seconds,
        updated=sum(p.numel() for p, old in zip(model.parameters(), first, strict=True) if not p.equal(old)),
        weights=tensor_digest(model.state_dict().values())[:16],
    )


def with_channels(split: Split) -> Split:
    """Give grey images (N, height, width) the one channel that convolutions look for."""
    if split.x_train.ndim != 3:
        return split
    return replace(split, x_train=split.x_train[:, None], x_test=split.x_test[:, None])


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n`` trials (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _net(experiment: Experiment, sample: tuple[int, ...], classes: int) -> nn.Sequential:
    recipe, widths = experiment.recipe, experiment.widths or WIDTHS[experiment.net]
    if experiment.net == "mlp":
        return mlp(math.prod(sample), widths, classes, recipe.activation, recipe.centred)
    image = (1, *sample) if len(sample) == 2 else sample
    if len(image) != 3:
        raise ValueError(f"{experiment.net} looks at images, the samples are {sample}; take the net mlp")
    if experiment.net == "convnet":
        return convnet(image, widths, classes, recipe.activation, recipe.centred)
    if image != (1, 28, 28) or widths:
        raise ValueError(
            f"lenet is for grey images of 28 x 28 and has its own widths, got {sample}, {widths}"
        )
    return lenet(classes, recipe.activation)
