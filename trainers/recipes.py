"""Settings that are honest for each rule: its optimizer, rates, step hooks, and the net it wants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler

from hebbian.nn import RePU, Triangle
from hebbian.registry import find
from trainers.callbacks import max_normalise, unit_norm
from trainers.networks import gaussian, uniform

Scale = Literal["none", "mean", "standard"]


def linear(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Anneal the rate linearly to 0 over ``steps``."""
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Anneal the rate to 0 over ``steps`` along half a cosine."""
    return CosineAnnealingLR(optimizer, steps)


@dataclass(frozen=True)
class Phase:
    """How one phase is optimised.

    Parameters
    ----------
    optimizer
        Makes the optimizer of the rule's parameters.
    epochs
        Passes over the data.
    batch
        Samples a step.
    schedule
        Makes the scheduler, stepped every batch, from the optimizer and the number of steps.
    hook
        Lays a step hook on the optimizer.
    least_steps
        Make more epochs where a small data set would give fewer steps than this.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    epochs: int
    batch: int = 100
    schedule: Callable[[Optimizer, int], LRScheduler] = cosine
    hook: Callable[[Optimizer], None] | None = None
    least_steps: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")

    def epochs_for(self, batches: int) -> int:
        """Return how many epochs of ``batches`` steps to make."""
        return max(self.epochs, math.ceil(self.least_steps / batches))


_READOUT = Phase(partial(Adam, lr=1e-3), epochs=10, least_steps=3000)


@dataclass(frozen=True)
class Recipe:
    """What a rule is to be run with.

    Parameters
    ----------
    learn
        The phase in which the rule itself learns: the only one of a supervised rule.
    readout
        The phase after it, of a rule without labels.
    finetune
        The last phase, if there is one: the whole model by backprop, from what it has learned so far.
    greedy
        Teach the blocks of a rule without labels one after the other, each on top of finished ones, in
        place of all at once.
    classifier
        Makes a scikit-learn classifier, say `partial(KNeighborsClassifier, 5)`, that reads the features of
        a rule without labels in place of the last layer.
    scale
        How the features are scaled for the readout: ``none``, ``mean`` (divided by their overall mean,
        for features that are never negative) or ``standard`` (each with zero mean and unit variance).
    frozen_blocks
        Number of first blocks of the model that stay as they are, in all phases.
    settings
        Further arguments of the rule's constructor.
    activation, centred
        What `trainers.networks.mlp` is to be built with.
    initialise
        Draws the weights of that net.
    """

    learn: Phase
    readout: Phase = _READOUT
    finetune: Phase | None = None
    greedy: bool = False
    classifier: Callable[[], Any] | None = None
    scale: Scale = "standard"
    frozen_blocks: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    activation: Callable[[], nn.Module] = nn.ReLU
    centred: bool = False
    initialise: Callable[[nn.Module, torch.Generator], None] = uniform

    def __post_init__(self) -> None:
        if self.classifier is not None and self.finetune is not None:
            raise ValueError("a classifier cannot be fine-tuned; give the recipe one of the two")


_LOSS = Recipe(Phase(partial(Adam, lr=1e-3), epochs=40, least_steps=3000))
_FEATURES = Recipe(
    Phase(partial(SGD, lr=1e-3), epochs=5, schedule=linear, least_steps=1000),
    centred=True,
    initialise=gaussian,
)
_RECIPES = {
    "frozen": Recipe(Phase(partial(SGD, lr=0.0), epochs=1), initialise=gaussian),
    "hebb": replace(_FEATURES, learn=replace(_FEATURES.learn, hook=unit_norm)),
    "covariance": replace(_FEATURES, learn=replace(_FEATURES.learn, hook=unit_norm)),
    # Units that rebuild the input together diverge from weights that rebuild many times too much.
    **dict.fromkeys(("subspace", "sanger", "hpca"), replace(_FEATURES, initialise=uniform)),
    # At higher rates, or from larger weights, the responses outrun their threshold.
    "bcm": replace(
        _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=3e-4)), initialise=uniform
    ),
    # What all units share, which inhibition takes away in learning, Triangle takes away in the model.
    "foldiak": replace(
        _FEATURES,
        learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=0.05)),
        activation=Triangle,
        centred=False,
        initialise=uniform,
    ),
    # A unit moves by its share of the batch, so that 1 never overshoots; where weights begin as long as the
    # data, one unit wins them all.
    **{
        name: replace(
            _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=1.0)), initialise=uniform
        )
        for name in ("instar", "soft-instar")
    },
    # The notebook of Krotov & Hopfield 2019, with 40 epochs of MNIST in place of 200.
    "krotov": Recipe(
        Phase(partial(SGD, lr=0.02), epochs=40, schedule=linear, hook=max_normalise, least_steps=3000),
        scale="mean",
        activation=partial(RePU, 4.5),
        initialise=gaussian,
    ),
    # Feedback and forward weights meet only as both decay.
    "kolen-pollack": replace(
        _LOSS, learn=replace(_LOSS.learn, optimizer=partial(AdamW, lr=1e-3, weight_decay=0.1))
    ),
    # Without centring, what random feedback teaches convolutions stays at 91 to 97 degrees to backprop's
    # gradient; with it, at 77 to 90 degrees.
    **dict.fromkeys(("fa", "dfa", "rflo"), replace(_LOSS, centred=True)),
    # The noise of a step is larger than what it says: many steps, and for weights few parameters.
    **{
        name: replace(
            _LOSS,
            learn=replace(_LOSS.learn, optimizer=partial(Adam, lr=rate), least_steps=10_000),
            centred=name != "weight-perturbation",
        )
        for name, rate in (("weight-perturbation", 1e-3), ("node-perturbation", 1e-3), ("three-factor", 3e-4))
    },
    # Spikes stand for rates, which are not negative, so that all units share the mean of the data: Triangle
    # takes it away.  The window's steps are small, and a unit fires seldom.
    "stdp": Recipe(
        Phase(partial(SGD, lr=100.0), epochs=5, schedule=linear, hook=unit_norm, least_steps=1000),
        activation=Triangle,
        initialise=gaussian,
    ),
    "rstdp": replace(_LOSS, learn=replace(_LOSS.learn, optimizer=partial(SGD, lr=0.5, momentum=0.9))),
    "clapp": Recipe(Phase(partial(Adam, lr=1e-3), epochs=5, least_steps=1000)),
    # At 0.3 the units come close to norm 1; at 0.03 they stay near where they began.
    "softhebb": replace(
        _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=0.3)), activation=Triangle
    ),
}


def recommended(name: str) -> Recipe:
    """Return the settings for the rule called ``name``.

    A rule that is not listed here, say of another package, gets those of its kind: of the rules that
    descend a loss, or of those that learn features without labels.
    """
    return _RECIPES.get(name) or (_LOSS if find(name).supervised else _FEATURES)
