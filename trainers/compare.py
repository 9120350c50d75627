"""A rule beside its controls: same images, same widths, same seed, each with the settings it wants."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from trainers.data import Split
from trainers.models import mlp
from trainers.phases import train
from trainers.recipes import Recipe, recommended
from trainers.trainer import accuracy, predict

CONTROLS = ("backprop", "frozen")


@dataclass(frozen=True)
class Result:
    """How a rule did on the test images."""

    rule: str
    accuracy: float
    interval: tuple[float, float]
    """95 % Wilson interval of the accuracy, for the draw of the test images only."""
    seconds: float
    recipe: Recipe


def run(
    name: str,
    images: Split,
    hidden: Sequence[int],
    *,
    seed: int,
    epochs: int | None = None,
    callbacks: Sequence[object] = (),
) -> Result:
    """Train a perceptron by the rule called ``name`` and test it.

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    seed
        Of the first weights and of the training.
    epochs
        Of the rule's own phase; its recipe's by default.

    Raises
    ------
    FloatingPointError
        If the scores end up as NaN or infinity.
    """
    recipe = recommended(name)
    if epochs is not None:
        recipe = replace(recipe, learn=replace(recipe.learn, epochs=epochs, least_steps=0))
    inputs = images.x_train[0].numel()
    model = mlp(inputs, hidden, images.classes, recipe.activation, recipe.centred)
    recipe.initialise(model, torch.Generator().manual_seed(seed))
    start = time.perf_counter()
    rule = train(
        name,
        model,
        images.x_train,
        images.y_train,
        criterion=F.cross_entropy,
        classes=images.classes,
        recipe=recipe,
        seed=seed,
        callbacks=callbacks,
        held=(images.x_test, images.y_test),
    )
    seconds = time.perf_counter() - start
    scores = predict(rule, images.x_test)
    if not scores.isfinite().all():
        raise FloatingPointError(f"{name}: the scores are not finite, training has diverged; lower its rate")
    share = accuracy(scores, images.y_test)
    return Result(name, share, wilson(share, len(scores)), seconds, recipe)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n`` trials (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
