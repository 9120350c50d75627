"""Training from first to last: the rule's own phase, a readout of what it has learned, fine-tuning."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hebbian.backprop import Backprop
from hebbian.registry import build, find
from hebbian.rule import Criterion, Rule, blocks
from hebbian.synapse import synaptic, weight_layers
from trainers.cached_features import Cache, Feed
from trainers.callbacks import Schedule
from trainers.checkpoint import Checkpoint
from trainers.data.batches import Augment, Batches, tensor_digest
from trainers.distributed import agree, joined, rank, world
from trainers.provenance import suppliers
from trainers.readout import (
    ClassifierReadout,
    Features,
    fit_classifier,
    fit_scaling,
    fold_scaling,
    last_linear,
    with_dropout,
)
from trainers.recipes import Phase, Recipe
from trainers.trainer import Held, Loader, Trainer


def train(
    name: str,
    model: nn.Sequential,
    x: Tensor,
    y: Tensor,
    *,
    criterion: Criterion,
    classes: int,
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[object] = (),
    settings: Mapping[str, Any] | None = None,
    held: Held | None = None,
    augment: Augment | None = None,
    frozen: int = 0,
    cache: Cache | None = None,
    checkpoint: Checkpoint | None = None,
    autocast: torch.dtype | None = None,
    weights: Tensor | None = None,
) -> Rule:
    """Train ``model`` in place by the rule called ``name``, on the device where it lies.

    A supervised rule has one phase, ``train``.  One without labels has two: ``features``, in which it
    teaches all weight layers but the last, and ``readout``, in which the last layer learns by backprop
    (or a classifier does, in no steps that callbacks could see).  A greedy recipe teaches the blocks one
    after the other, in ``features.0``, ``features.1`` and so on by their names in the model.  In
    ``finetune``, where the recipe has that phase, everything goes on to learn by backprop.

    What no longer learns runs in eval mode, and its output is computed once; only where inputs are
    augmented it sees every batch anew.

    Parameters
    ----------
    x
        Inputs (N, ...).
    y
        Targets: classes (N,) for K >= 2, or (N, 1) float for K = 1.
    criterion
        Mean over the batch.
    classes
        Number of scores K.
    recipe
        Optimizers, rates, epochs; `trainers.recommended` has those of each rule.
    seed
        Of everything that is drawn; on the CPU the same seed gives the same weights bit for bit.
    callbacks
        See `trainers.Trainer`; they see all phases.
    settings
        Whatever else the rule's constructor takes.
    held
        Inputs and targets, as ``x`` and ``y``, on which callbacks may evaluate.
    augment
        Alters the inputs batch by batch while the rule itself learns, and in fine-tuning; features for a
        readout are computed once, from the inputs as they are.
    frozen
        How many of the first blocks stay as they are, in all phases.
    cache
        Where the output of what no longer learns is kept.
    checkpoint
        Where the state of the training is kept; where there is one of the same training, it goes on.
    autocast
        The dtype in which the rule runs where torch deems that safe, in all phases.
    weights
        How often each sample is drawn, (N,), in proportion, in all phases in steps; without them each is
        drawn once an epoch.

    Returns
    -------
    Rule
        In eval mode; its ``predict(x)`` gives the scores.

    Raises
    ------
    TypeError
        If a model is to be frozen in part or taught greedily that is no chain of blocks.
    ValueError
        If no block is left to learn, or a rule with labels is to be greedy.
    DataError
        If the checkpoint is that of another training, or cannot be read or written.
    """
    if checkpoint is not None:
        identity = _identity(
            model,
            x,
            y,
            rule=name,
            packages=suppliers([name]),
            settings=settings or {},
            recipe=recipe,
            criterion=criterion,
            classes=classes,
            seed=seed,
            augment=augment,
            frozen=frozen,
            autocast=str(autocast),
            weights=None if weights is None else tensor_digest([weights]),
        )
        checkpoint.open(model, identity)
    device = next(model.parameters()).device
    x, y = x.to(device), y.to(device)
    if held is not None:
        held = held[0].to(device), None if held[1] is None else held[1].to(device)
    below, top = _split(model, frozen)
    with _seeded(seed, x.device):
        training = _Training(
            name=name,
            criterion=criterion,
            classes=classes,
            recipe=recipe,
            settings=settings or {},
            callbacks=callbacks,
            generator=torch.Generator().manual_seed(seed),
            checkpoint=checkpoint,
            autocast=autocast,
        )
        feed = Feed(x, y, held, augment, keep=cache or Cache(), weights=weights).through(below)
        rule = training.phases(top, feed)
    return (Above(model, below, rule) if frozen else rule).eval()


def descend(
    rule: Rule, phase: Phase, batches: Loader, callbacks: Sequence[object] = (), name: str = "train"
) -> None:
    """Let ``rule`` learn from ``batches`` as ``phase`` says, in one process and without a checkpoint.

    For batches that `train` does not make; of the phase, only the number of samples a step is not used.
    """
    optimizer = phase.optimizer(rule.parameters())
    if phase.hook is not None:
        phase.hook(optimizer)
    epochs = phase.epochs_for(len(batches))
    schedule = Schedule(phase.schedule(optimizer, epochs * len(batches)))
    Trainer(rule, optimizer, [schedule, *callbacks], name).fit(batches, epochs)


def _identity(model: nn.Module, x: Tensor, y: Tensor, **told: Any) -> dict[str, Any]:
    """Return all that the outcome depends on: what `train` was told, the net, its first weights, the data."""
    return {
        **told,
        "processes": world(),
        "model": hashlib.sha256(repr(model).encode()).hexdigest(),
        "first weights": tensor_digest(model.state_dict().values()),
        "data": tensor_digest([x, y]),
    }


def _split(model: nn.Sequential, frozen: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the first ``frozen`` blocks of ``model`` and what follows them; all keep their names."""
    if not frozen:
        return nn.Sequential(), model
    n = len(blocks(model))
    if not 0 < frozen < n:
        raise ValueError(f"frozen must leave one of the {n} blocks to learn, got {frozen}")
    named = list(model.named_children())
    return nn.Sequential(OrderedDict(named[:frozen])), nn.Sequential(OrderedDict(named[frozen:]))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what cannot be given a generator (dropout, noise inside rules); leave the caller's state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * world() + rank())  # each process has noise of its own
        yield


class Above(Rule):
    """A rule of the last blocks of ``model``, which has learned on top of those ``below`` them."""

    def __init__(self, model: nn.Module, below: nn.Module, rule: Rule) -> None:
        super().__init__(model)
        self.below, self.rule = below, rule

    def predict(self, x: Tensor) -> Tensor:
        """Return the scores (N, K) of inputs to the whole model."""
        return self.rule.predict(self.below(x))


@dataclass(frozen=True)
class _Training:
    """The phases, and what they share.  A feed brings what reaches the model that stands beside it."""

    name: str
    criterion: Criterion
    classes: int
    recipe: Recipe
    settings: Mapping[str, Any]
    callbacks: Sequence[object]
    generator: torch.Generator
    checkpoint: Checkpoint | None
    autocast: torch.dtype | None

    def phases(self, model: nn.Sequential, feed: Feed) -> Rule:
        """Make all phases, one after the other."""
        rule = self._with_labels(model, feed) if find(self.name).supervised else self._without(model, feed)
        if self.recipe.finetune is None:
            return rule
        tuned = Backprop(model, self.criterion)
        self._run("finetune", tuned, self.recipe.finetune, feed)
        return tuned

    def _with_labels(self, model: nn.Sequential, feed: Feed) -> Rule:
        if self.recipe.greedy:
            raise ValueError(f"a greedy recipe is for rules without labels; {self.name!r} learns from them")
        rule = self._build(model, self.criterion, feed, **self.settings)
        self._run("train", rule, self.recipe.learn, feed)
        return rule

    def _without(self, model: nn.Sequential, feed: Feed) -> Rule:
        if self.recipe.greedy:
            return self._read_out(Rule(model), *self._greedily(model, feed))
        rule = self._build(model, None, feed, **self.settings)
        self._run("features", rule, self.recipe.learn, feed.unlabelled())
        return self._read_out(rule, model, feed)

    def _greedily(self, model: nn.Sequential, feed: Feed) -> tuple[nn.Sequential, Feed]:
        """Teach block after block; return the last of them with all that follows, and its feed."""
        chain = blocks(model)
        settings = dict(self.settings)
        layers = settings.pop("layers", weight_layers(model)[:-1])
        for path in layers:
            synaptic(model, path)  # refuses a path that belongs to no block
        start = 0
        for i, (key, block) in enumerate(model.named_children()):
            own = [path for path in layers if path.partition(".")[0] == key]
            if not own:
                continue
            feed, start = feed.through(nn.Sequential(*chain[start:i])), i
            # A rule of blocks takes the last one for the readout and leaves it out.
            alone = nn.Sequential(OrderedDict({key: block, "above": nn.Identity()}))
            at = {path: layers[path] for path in own} if isinstance(layers, Mapping) else own
            rule = self._build(alone, None, feed, layers=at, **settings)
            self._run(f"features.{key}", rule, self.recipe.learn, feed.unlabelled())
        return nn.Sequential(*chain[start:]), feed

    def _read_out(self, rule: Rule, model: nn.Sequential, feed: Feed) -> Rule:
        """Let the last layer of ``model``, or a classifier in its place, learn from its features."""
        if self._passed("readout"):
            return rule
        readout = last_linear(model)
        feed = feed.plain().through(nn.Sequential(Features(model, readout)))
        scaling = fit_scaling(feed.x, self.recipe.scale)
        feed = replace(
            feed, x=scaling.apply_(feed.x), held=feed.held and (scaling(feed.held[0]), feed.held[1])
        )
        if self.recipe.classifier is not None:
            return ClassifierReadout(
                rule.model, scaling, fit_classifier(self.recipe.classifier(), feed), self.classes
            )
        self._run(
            "readout", Backprop(with_dropout(model, readout), self.criterion), self.recipe.readout, feed
        )
        fold_scaling(scaling, readout)
        return rule

    def _build(self, model: nn.Module, criterion: Criterion | None, feed: Feed, **settings: Any) -> Rule:
        return build(self.name, model, criterion, example=feed.example(), classes=self.classes, **settings)

    def _passed(self, phase: str) -> bool:
        """Return whether the model has the outcome of ``phase`` from a checkpoint of a later one."""
        return self.checkpoint is not None and self.checkpoint.passed(phase)

    def _run(self, name: str, rule: Rule, phase: Phase, feed: Feed) -> None:
        if self._passed(name):
            return
        # A short last batch would weigh its samples more; one of a single sample has no batch statistics.
        batches = Batches(
            feed.x,
            feed.y,
            phase.batch,
            self.generator,
            drop_last=len(feed.x) >= phase.batch,
            augment=feed.altered(),
            share=(rank(), world()),
            weights=feed.weights,
        )
        epochs = phase.epochs_for(len(batches))
        optimizer = phase.optimizer(rule.parameters())
        if phase.hook is not None:
            phase.hook(optimizer)
        schedule = Schedule(phase.schedule(optimizer, epochs * len(batches)))
        callbacks: list[object] = [schedule]
        if rank() == 0:
            callbacks += [*self.callbacks, *filter(None, [self.checkpoint])]
        trainer = Trainer(joined(rule), optimizer, callbacks, name, autocast=self.autocast)
        if self.checkpoint is not None:
            self.checkpoint.resume(trainer)
        trainer.fit(batches, epochs - trainer.epoch, feed.held)
        agree(rule)
