"""A whole training: the phase of the rule itself, the readout of its features, fine-tuning."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from hebbian.backprop import Backprop
from hebbian.chain import Block, NoReadout, blocks, is_chain
from hebbian.registry import build, find_rule
from hebbian.rule import Criterion, Rule
from hebbian.synapse import synaptic, weight_layers
from trainers.cached_features import Cache, Feed
from trainers.callbacks import Schedule
from trainers.checkpoint import Checkpoint
from trainers.data.batches import Batches, TrainingData, tensor_digest
from trainers.distributed import broadcast, rank, world, wrap_rule
from trainers.provenance import suppliers
from trainers.readout import (
    ClassifierReadout,
    Convert,
    Features,
    Scaling,
    fit_classifier,
    fit_scaling,
    fold_scaling,
    last_linear,
    unfold_scaling,
    with_dropout,
)
from trainers.recipes import Phase, Recipe
from trainers.trainer import Loader, Trainer


@dataclass(frozen=True)
class RunOptions:
    """How a training is run, apart from the data and the recipe.

    Parameters
    ----------
    seed
        Seed of all random numbers; on a CPU the same seed yields the same weights bit for bit.
    callbacks
        See `trainers.Trainer`; they observe all phases.
    checkpoint
        File from which an interrupted training resumes.
    autocast
        Lower precision for `torch.autocast`, such as ``torch.bfloat16``; none by default.
    cache
        Where the outputs of parts that no longer learn are stored.
    feature_dtype
        Data type in which the features of a readout are stored; by default that of the model.  In
        ``torch.bfloat16`` they take half the memory and are rounded to 8 bits.
    """

    seed: int = 0
    callbacks: Sequence[object] = ()
    checkpoint: Checkpoint | None = None
    autocast: torch.dtype | None = None
    cache: Cache = field(default_factory=Cache)
    feature_dtype: torch.dtype | None = None


def train_rule(
    name: str, model: nn.Sequential, data: TrainingData, recipe: Recipe, options: RunOptions = RunOptions()
) -> Rule:
    """Train ``model`` in place by the rule called ``name``, on the device of the model.

    A supervised rule has one phase, ``train``.  An unsupervised rule has two: ``features``, in which it
    trains all weight layers but the last, and ``readout``, in which the last layer is trained by backprop
    (or a classifier is fitted, which takes no steps for callbacks to observe).  A greedy recipe trains the
    blocks one after the other, in phases ``features.0``, ``features.1`` and so on, after their names in the
    model.  In the phase ``finetune``, if the recipe has it, the whole model is trained by backprop.

    Parts that no longer learn run in eval mode, and their output is computed once, unless the inputs are
    augmented.

    Parameters
    ----------
    name
        Name of the rule in `hebbian.registry`.
    model
        Chain of blocks; any module if no block is frozen and the recipe is not greedy.
    data
        Inputs, targets and the loss.
    recipe
        Optimizers, rates, epochs and settings of the rule; see `trainers.recommended`.
    options
        Seed, callbacks, checkpoint and precision.

    Returns
    -------
    Rule
        In eval mode; its ``predict(x)`` returns the scores.

    Raises
    ------
    TypeError
        If blocks are to be frozen or trained greedily in a model that is not a chain of blocks.
    ValueError
        If no block is left to learn, or a greedy recipe is used with a supervised rule.
    DataError
        If the checkpoint belongs to another training, or cannot be read or written.

    Examples
    --------
    >>> from trainers import TrainingData, load_data, mlp, recommended, train_rule
    >>> split = load_data("digits")
    >>> rule = train_rule("softhebb", mlp(64, [20], 10), split.training_data(), recommended("softhebb"))
    >>> rule.predict(split.x_test).shape
    torch.Size([360, 10])
    """
    if options.checkpoint is not None:
        options.checkpoint.open(model, _identity(name, model, data, recipe, options))
    data = data.to(next(model.parameters()).device)
    below, top = _split(model, recipe.frozen_blocks)
    with _seeded(options.seed, data.x.device):
        training = _Training(name, recipe, options, torch.Generator().manual_seed(options.seed))
        rule = training.run_phases(top, Feed(data, cache=options.cache).through(below))
        return (Above(model, below, rule) if recipe.frozen_blocks else rule).eval()


def train_tasks(
    name: str,
    model: nn.Sequential,
    tasks: Iterable[TrainingData],
    recipe: Recipe,
    options: RunOptions = RunOptions(),
) -> Iterator[Rule]:
    """Train ``model`` on one task after the other, each as in `train_rule`, and yield the rule after each.

    The rule keeps its state; optimizers are new.  An unsupervised rule learns features from a task, then the
    readout learns from it.  The readout continues with its weights for scaled features, and the scaling is
    that of the features of all tasks so far, each as they were when it was learned.

    Raises
    ------
    ValueError
        For a greedy recipe, frozen blocks, a classifier, fine-tuning or a checkpoint.
    """
    once = (recipe.greedy, recipe.frozen_blocks, recipe.classifier, recipe.finetune, options.checkpoint)
    if any(once):
        raise ValueError(
            "greedy training, frozen blocks, a classifier, fine-tuning and checkpoints are for one task; "
            "train several without"
        )
    training = _Training(name, recipe, options, torch.Generator().manual_seed(options.seed))
    device = next(model.parameters()).device
    for i, data in enumerate(tasks):
        with _seeded(options.seed + i, device):
            rule = training.run_phases(model, Feed(data.to(device), cache=options.cache))
        yield rule.eval()


def descend(
    rule: Rule, phase: Phase, batches: Loader, callbacks: Sequence[object] = (), name: str = "train"
) -> None:
    """Train ``rule`` on ``batches`` as ``phase`` specifies, in one process and without a checkpoint.

    Parameters
    ----------
    rule
        Trained in place.
    phase
        Optimizer, schedule and epochs; its batch size is not used.
    batches
        Batches that `train_rule` cannot make, such as bags.
    callbacks
        See `trainers.Trainer`.
    name
        Name of the phase in logs.
    """
    _trainer(rule, phase, batches, callbacks, name).fit(batches, phase.epochs_for(len(batches)))


def _trainer(
    rule: nn.Module,
    phase: Phase,
    batches: Loader,
    callbacks: Sequence[object],
    name: str,
    autocast: torch.dtype | None = None,
) -> Trainer:
    """Return the trainer of one phase, with the phase's optimizer, step hook and schedule."""
    optimizer = phase.optimizer(rule.parameters())
    if phase.hook is not None:
        phase.hook(optimizer)
    schedule = Schedule(phase.schedule(optimizer, phase.epochs_for(len(batches)) * len(batches)))
    return Trainer(rule, optimizer, [schedule, *callbacks], name, autocast=autocast)


def _identity(
    name: str, model: nn.Module, data: TrainingData, recipe: Recipe, options: RunOptions
) -> dict[str, Any]:
    """Return everything that the outcome depends on, the architecture and the initial weights included."""
    return {
        "rule": name,
        "packages": suppliers([name]),
        "recipe": recipe,
        "criterion": data.criterion,
        "classes": data.classes,
        "seed": options.seed,
        "augment": data.augment,
        "autocast": str(options.autocast),
        "features": str(options.feature_dtype),
        "weights": None if data.weights is None else tensor_digest([data.weights]),
        "processes": world(),
        "model": hashlib.sha256(repr(model).encode()).hexdigest(),
        "first weights": tensor_digest(model.state_dict().values()),
        "data": tensor_digest([data.x, data.y]),
    }


def _split(model: nn.Sequential, frozen: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the first ``frozen`` blocks of ``model`` and what follows them; all keep their names."""
    if not frozen:
        return nn.Sequential(), model
    chain = _blocks(model)
    if not 0 < frozen < len(chain):
        raise ValueError(f"frozen must leave one of the {len(chain)} blocks to learn, got {frozen}")
    return _join(chain[:frozen]), _join(chain[frozen:])


def _blocks(model: nn.Module) -> list[Block]:
    """Return the blocks of a chain, whose children train one after the other."""
    if not is_chain(model):
        raise TypeError(
            f"frozen blocks and greedy training need an nn.Sequential, got {type(model).__name__}; "
            "hebbian.divide(model, [names of its stages]) makes one"
        )
    return blocks(model)


def _join(chain: list[Block]) -> nn.Sequential:
    """Return blocks as one chain of their children, which keep their names."""
    return nn.Sequential(OrderedDict(item for block in chain for item in block._modules.items()))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what cannot be given a generator (dropout, noise inside rules); leave the caller's state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * world() + rank())  # each process has its own noise
        yield


class Above(Rule):
    """A rule of the last blocks of ``model``, which has learned on top of those ``below`` them."""

    def __init__(self, model: nn.Module, below: nn.Module, rule: Rule) -> None:
        super().__init__(model)
        self.below, self.rule = below, rule

    def predict(self, x: Tensor) -> Tensor:
        """Return the scores (N, K) of inputs to the whole model."""
        return self.rule.predict(self.below(x))


@dataclass
class _Training:
    """The phases of one training; each `Feed` holds the data as they reach the model passed with it."""

    name: str
    recipe: Recipe
    options: RunOptions
    generator: torch.Generator
    rule: Rule | None = None
    """The rule, after a task."""
    scaling: Scaling | None = None
    """The scaling of the features of all tasks so far."""

    def run_phases(self, model: nn.Sequential, feed: Feed) -> Rule:
        """Run all phases and return the trained rule."""
        rule = (
            self._supervised(model, feed)
            if find_rule(self.name).supervised
            else self._unsupervised(model, feed)
        )
        if self.recipe.finetune is None:
            return rule
        tuned = Backprop(model, feed.data.criterion)
        self._run("finetune", tuned, self.recipe.finetune, feed)
        return tuned

    def _supervised(self, model: nn.Sequential, feed: Feed) -> Rule:
        if self.recipe.greedy:
            raise ValueError(f"greedy training is for unsupervised rules; {self.name!r} is supervised")
        if self.rule is None:
            self.rule = self._build(model, feed, feed.data.criterion, **self.recipe.settings)
        self._run("train", self.rule, self.recipe.learn, feed)
        return self.rule

    def _unsupervised(self, model: nn.Sequential, feed: Feed) -> Rule:
        if self.recipe.greedy:
            return self._read_out(Rule(model), *self._train_greedily(model, feed))
        if self.rule is None:
            self.rule = self._build(model, feed, **self.recipe.settings)
        self._run("features", self.rule, self.recipe.learn, feed, labelled=False)
        return self._read_out(self.rule, model, feed)

    def _train_greedily(self, model: nn.Sequential, feed: Feed) -> tuple[nn.Sequential, Feed]:
        """Train block after block; return the last of them with all that follows, and its feed."""
        chain = _blocks(model)
        settings = dict(self.recipe.settings)
        layers: Any = weight_layers(model)[:-1]
        at_layers = find_rule(self.name).at_layers
        if at_layers:
            layers = settings.pop("layers", layers)
        for path in layers:
            synaptic(model, path)  # raises for a path that belongs to no block
        start = 0
        for i, block in enumerate(chain):
            own = [path for path in layers if path.partition(".")[0] in block._modules]
            if not own:
                continue
            feed, start = feed.through(_join(chain[start:i])), i
            alone = nn.Sequential(OrderedDict(block._modules, readout=NoReadout()))
            if at_layers:
                settings["layers"] = (
                    {path: layers[path] for path in own} if isinstance(layers, Mapping) else own
                )
            rule = self._build(alone, feed, **settings)
            self._run(f"features.{block.name}", rule, self.recipe.learn, feed, labelled=False)
        return _join(chain[start:]), feed

    def _read_out(self, rule: Rule, model: nn.Sequential, feed: Feed) -> Rule:
        """Train the last layer of ``model``, or a classifier in its place, on its features."""
        if self._is_done("readout"):
            return rule
        readout = last_linear(model)
        feed = feed.plain().through(nn.Sequential(Features(model, readout, self.options.feature_dtype)))
        features = feed.data.x[:]
        scaling = fit_scaling(features, self.recipe.scale)
        if self.scaling is not None:
            unfold_scaling(self.scaling, readout)
            scaling = self.scaling.pool(scaling)
        self.scaling = scaling
        held_out = feed.data.held_out
        data = replace(
            feed.data,
            x=scaling.apply_(features),
            held_out=held_out and (scaling(held_out[0]), held_out[1]),
        )
        if self.recipe.classifier is not None:
            classifier = fit_classifier(self.recipe.classifier(), data)
            return ClassifierReadout(rule.model, scaling, classifier, data.classes)
        net = with_dropout(model, readout)
        if features.dtype != readout.weight.dtype:
            net = nn.Sequential(Convert(readout.weight.dtype), net)
        learner = Backprop(net, data.criterion)
        self._run("readout", learner, self.recipe.readout, replace(feed, data=data))
        fold_scaling(scaling, readout)
        return rule

    def _build(
        self, model: nn.Module, feed: Feed, criterion: Criterion | None = None, **settings: Any
    ) -> Rule:
        return build(
            self.name, model, criterion, example=feed.example(), classes=feed.data.classes, **settings
        )

    def _is_done(self, phase: str) -> bool:
        """Return whether the model was loaded from a checkpoint of a later phase."""
        checkpoint = self.options.checkpoint
        return checkpoint is not None and checkpoint.has_passed(phase)

    def _run(self, name: str, rule: Rule, phase: Phase, feed: Feed, labelled: bool = True) -> None:
        if self._is_done(name):
            return
        data, options = feed.data, self.options
        y, held_out = (
            (data.y, data.held_out) if labelled else (None, data.held_out and (data.held_out[0], None))
        )
        # A short last batch would weigh its samples more; one of a single sample has no batch statistics.
        batches = Batches(
            data.x,
            y,
            phase.batch,
            self.generator,
            drop_last=len(data.x) >= phase.batch,
            augment=feed.augment_batch(),
            rank=rank(),
            world=world(),
            weights=data.weights,
        )
        # Only the first process has callbacks.
        callbacks = [*options.callbacks, *filter(None, [options.checkpoint])] if rank() == 0 else []
        trainer = _trainer(wrap_rule(rule), phase, batches, callbacks, name, options.autocast)
        if options.checkpoint is not None:
            options.checkpoint.resume(trainer)
        trainer.fit(batches, phase.epochs_for(len(batches)) - trainer.epoch, held_out)
        broadcast(rule)
