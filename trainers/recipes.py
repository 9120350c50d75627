"""Recommended settings of each rule: optimizer, rates, step hooks, and the network for it."""

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
from hebbian.registry import find_rule
from trainers.callbacks import max_normalise, unit_norm
from trainers.networks import gaussian, uniform

Scale = Literal["none", "mean", "standard"]


def linear(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Anneal the learning rate linearly to 0 over ``steps``."""
    return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Anneal the learning rate to 0 over ``steps`` along half a cosine."""
    return CosineAnnealingLR(optimizer, steps)


@dataclass(frozen=True)
class Phase:
    """Optimisation settings of one phase.

    Parameters
    ----------
    optimizer
        Creates the optimizer of the parameters of the rule.
    epochs
        Passes over the data.
    batch
        Samples a step.
    schedule
        Creates the scheduler, stepped after every batch, from the optimizer and the number of steps.
    hook
        Registers a step hook on the optimizer.
    least_steps
        Smallest number of steps; epochs are added for small data sets.
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
        """Return the number of epochs if an epoch has ``batches`` steps."""
        return max(self.epochs, math.ceil(self.least_steps / batches))


_READOUT = Phase(partial(Adam, lr=1e-3), epochs=10, least_steps=3000)


@dataclass(frozen=True)
class Recipe:
    """Settings for a training by some rule.

    Parameters
    ----------
    learn
        Phase in which the rule itself learns; the only one of a supervised rule.
    readout
        Phase in which the last layer is trained on the features of an unsupervised rule.
    finetune
        Optional last phase, in which the whole model is trained by backprop.
    greedy
        Train the blocks one after the other, each on the output of finished ones, instead of all at once;
        for unsupervised rules.
    classifier
        Creates a scikit-learn classifier, for example `partial(KNeighborsClassifier, 5)`, that replaces the
        last layer; for unsupervised rules.
    scale
        Scaling of the features for the readout: ``none``, ``mean`` (divided by their overall mean, for
        non-negative features) or ``standard`` (each with zero mean and unit variance).
    frozen_blocks
        Number of first blocks of the model that do not learn, in any phase.
    settings
        Further arguments of the rule's constructor.
    activation, centred
        Arguments for `trainers.networks.mlp`.
    initialise
        Draws the initial weights of the network.
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
            raise ValueError("a classifier cannot be fine-tuned; specify classifier or finetune, not both")


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
    # From large weights the joint reconstruction of the input overshoots and diverges.
    **dict.fromkeys(("subspace", "sanger", "hpca"), replace(_FEATURES, initialise=uniform)),
    # At higher rates, or from larger weights, the responses grow faster than their threshold.
    "bcm": replace(
        _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=3e-4)), initialise=uniform
    ),
    # Triangle removes in the model the common activity that inhibition removes during learning.
    "foldiak": replace(
        _FEATURES,
        learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=0.05)),
        activation=Triangle,
        centred=False,
        initialise=uniform,
    ),
    # A unit moves by its fraction of the batch, so a rate of 1 never overshoots; from weights as long as the
    # data, one unit wins all samples.
    **{
        name: replace(
            _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=1.0)), initialise=uniform
        )
        for name in ("instar", "soft-instar")
    },
    # The notebook of Krotov & Hopfield 2019, with 40 epochs of MNIST instead of 200.
    "krotov": Recipe(
        Phase(partial(SGD, lr=0.02), epochs=40, schedule=linear, hook=max_normalise, least_steps=3000),
        scale="mean",
        activation=partial(RePU, 4.5),
        initialise=gaussian,
    ),
    # Feedback and forward weights converge only if both decay.
    "kolen-pollack": replace(
        _LOSS, learn=replace(_LOSS.learn, optimizer=partial(AdamW, lr=1e-3, weight_decay=0.1))
    ),
    # In convolutions the updates of random feedback are at 91 to 97 degrees to the gradient of backprop
    # without centring, and at 77 to 90 degrees with it.
    **dict.fromkeys(("fa", "dfa", "rflo"), replace(_LOSS, centred=True)),
    # Filtered spikes are small: at 1e-3 the readout learns slowly.
    "eprop": replace(_LOSS, learn=replace(_LOSS.learn, optimizer=partial(Adam, lr=3e-3))),
    # Targets do not become smaller as errors do: bounded responses.
    "drtp": replace(_LOSS, centred=True, activation=nn.Tanh),
    # The difference of two passes is small beside the error of the readout, which Adam would not see.
    "pepita": replace(_LOSS, learn=replace(_LOSS.learn, optimizer=partial(SGD, lr=0.1, momentum=0.9))),
    # The noise of a step exceeds its signal: many steps, and for weights few parameters.
    **{
        name: replace(
            _LOSS,
            learn=replace(_LOSS.learn, optimizer=partial(Adam, lr=rate), least_steps=10_000),
            centred=name != "weight-perturbation",
        )
        for name, rate in (
            ("weight-perturbation", 1e-3),
            ("node-perturbation", 1e-3),
            ("forward-gradient", 1e-3),
            ("three-factor", 3e-4),
        )
    },
    # Spikes code non-negative rates, so all units respond to the mean of the data, which Triangle removes.
    # The steps of the window are small, and a unit fires rarely.
    "stdp": Recipe(
        Phase(partial(SGD, lr=100.0), epochs=5, schedule=linear, hook=unit_norm, least_steps=1000),
        activation=Triangle,
        initialise=gaussian,
    ),
    "rstdp": replace(_LOSS, learn=replace(_LOSS.learn, optimizer=partial(SGD, lr=0.5, momentum=0.9))),
    "clapp": Recipe(Phase(partial(Adam, lr=1e-3), epochs=5, least_steps=1000)),
    # Without centring, perceptrons fall below random features.
    "scff": Recipe(Phase(partial(Adam, lr=3e-3), epochs=5, least_steps=1000), centred=True),
    # Centred inputs are worth two points of accuracy on MNIST.
    "cwcomp": replace(_LOSS, learn=replace(_LOSS.learn, optimizer=partial(Adam, lr=3e-3)), centred=True),
    # At 0.3 the units approach norm 1; at 0.03 they stay near their initial weights.
    "softhebb": replace(
        _FEATURES, learn=replace(_FEATURES.learn, optimizer=partial(SGD, lr=0.3)), activation=Triangle
    ),
}


def recommended(name: str) -> Recipe:
    """Return the recommended settings for the rule called ``name``.

    A rule without an entry here has the settings of supervised or of unsupervised rules.

    Examples
    --------
    >>> from trainers import recommended
    >>> recommended("softhebb").learn.epochs
    5
    """
    return _RECIPES.get(name) or (_LOSS if find_rule(name).supervised else _FEATURES)
