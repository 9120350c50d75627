"""One training of one network by one rule, from its initial weights to its test accuracy."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from hebbian.rule import Rule
from trainers.checkpoint import Checkpoint
from trainers.comparison.continual import Protocol, forgetting, make_tasks
from trainers.data.batches import Split, tensor_digest
from trainers.errors import DivergenceError
from trainers.networks import convnet, lenet, mlp
from trainers.phases import RunOptions, train_rule, train_tasks
from trainers.prediction import accuracy, predict
from trainers.recipes import Recipe

Net = Literal["mlp", "convnet", "lenet"]
WIDTHS: Mapping[Net, tuple[int, ...]] = {"mlp": (100,), "convnet": (16, 32), "lenet": ()}
"""Default units of the hidden layers, or kernels of the convolutions."""


@dataclass(frozen=True)
class Experiment:
    """Everything that the outcome depends on apart from the data.

    Parameters
    ----------
    rule
        Name of the rule in the registry.
    seed
        Seed of the initial weights and of the training; rules with the same initialisation have the same
        initial weights.
    recipe
        Settings of the training.
    net, widths
        ``mlp`` with the units of each hidden layer; ``convnet`` with the kernels of each convolution, or
        ``lenet``, both for images.  Default widths are in `WIDTHS`.
    device
        Device as PyTorch names it.
    protocol, tasks
        Continual learning; see `trainers.comparison.continual.make_tasks`.
    """

    rule: str
    seed: int
    recipe: Recipe
    net: Net = "mlp"
    widths: tuple[int, ...] = ()
    device: str = "cpu"
    protocol: Protocol = "joint"
    tasks: int = 5

    @property
    def key(self) -> tuple[str, int]:
        """Rule and seed, which identify a result."""
        return self.rule, self.seed

    def model(self, split: Split) -> nn.Sequential:
        """Return the network for ``split`` with its initial weights.

        Raises
        ------
        ValueError
            If the network does not fit the data.
        """
        model = _net(self, tuple(split.x_train.shape[1:]), split.classes)
        self.recipe.initialise(model, torch.Generator().manual_seed(self.seed))
        return model


@dataclass(frozen=True)
class Result:
    """Outcome of an experiment on the test data; ``reason`` states why it failed, if it did."""

    rule: str
    seed: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    """Bounds of the 95 % Wilson interval of the accuracy, of one task, for the sampling of the test data."""
    seconds: float | None = None
    """Wall-clock time of training and testing."""
    memory: float | None = None
    """Peak MiB of the process, or of the tensors on a GPU; None for a run in a shared process."""
    updated: int | None = None
    """Number of parameters in the tensors that the training changed."""
    weights: str | None = None
    """The first 16 hex digits of the SHA-256 of the final state of the network."""
    reason: str = ""
    accuracies: tuple[tuple[float, ...], ...] = ()
    """Of several tasks: row i has the accuracy on each after task i; ``accuracy`` is the last row's mean."""
    forgetting: float | None = None
    """See `trainers.comparison.continual.forgetting`."""


def run_experiment(
    experiment: Experiment,
    split: Split,
    callbacks: Sequence[object] = (),
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Train on one task after the other and test on all, or resume one task from ``checkpoint``.

    Each task has the whole training of the recipe, with new optimizers; the rule keeps its state.

    Parameters
    ----------
    experiment
        Rule, network, seed and recipe.
    split
        The data.
    callbacks
        See `trainers.Trainer`.
    checkpoint
        File of the interrupted training.

    Raises
    ------
    DivergenceError
        If the training diverges, or the final scores are not finite.
    ValueError, TypeError
        If the network does not fit the data, or the rule does not fit the network.
    """
    model = experiment.model(split).to(experiment.device)
    first = [p.detach().clone() for p in model.parameters()]
    split = (split if experiment.net == "mlp" else with_channels(split)).to(experiment.device)
    start = time.perf_counter()
    tasks = make_tasks(split, experiment.protocol, experiment.tasks)
    data = [replace(task.training_data(), classes=split.classes) for task in tasks]
    options = RunOptions(experiment.seed, callbacks, checkpoint)
    rules = (
        [train_rule(experiment.rule, model, data[0], experiment.recipe, options)]
        if experiment.protocol == "joint"
        else train_tasks(experiment.rule, model, data, experiment.recipe, options)
    )
    accuracies = [tuple(_test(rule, task) for task in tasks) for rule in rules]  # waits for a GPU
    seconds = time.perf_counter() - start
    test_accuracy = sum(accuracies[-1]) / len(tasks)
    low, high = wilson(test_accuracy, len(split.y_test)) if len(tasks) == 1 else (None, None)
    return Result(
        experiment.rule,
        experiment.seed,
        accuracy=test_accuracy,
        low=low,
        high=high,
        seconds=seconds,
        updated=sum(p.numel() for p, old in zip(model.parameters(), first, strict=True) if not p.equal(old)),
        weights=tensor_digest(model.state_dict().values())[:16],
        accuracies=tuple(accuracies) if len(tasks) > 1 else (),
        forgetting=forgetting(accuracies),
    )


def _test(rule: Rule, split: Split) -> float:
    scores = predict(rule, split.x_test).cpu()
    if not scores.isfinite().all():
        raise DivergenceError("the scores are not finite; use a lower learning rate")
    return accuracy(scores, split.y_test.cpu())


def with_channels(split: Split) -> Split:
    """Return grey images (N, height, width) as (N, 1, height, width)."""
    if split.x_train.ndim != 3:
        return split
    return replace(split, x_train=split.x_train[:, None], x_test=split.x_test[:, None])


def wilson(fraction: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction of ``n`` trials (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(fraction * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _net(experiment: Experiment, sample: tuple[int, ...], classes: int) -> nn.Sequential:
    recipe, widths = experiment.recipe, experiment.widths or WIDTHS[experiment.net]
    if experiment.net == "mlp":
        return mlp(math.prod(sample), widths, classes, recipe.activation, recipe.centred)
    image = (1, *sample) if len(sample) == 2 else sample
    if len(image) != 3:
        raise ValueError(
            f"{experiment.net} is for images, the samples have the shape {sample}; use the network mlp"
        )
    if experiment.net == "convnet":
        return convnet(image, widths, classes, recipe.activation, recipe.centred)
    if image != (1, 28, 28) or widths:
        raise ValueError(
            f"lenet is for grey images of 28 x 28 and has its own widths, got {sample}, {widths}"
        )
    return lenet(classes, recipe.activation)
