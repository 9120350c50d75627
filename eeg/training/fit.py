"""Train the network or feature model of a plan on recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from eeg.datasets import Entry
from eeg.detector.detector import network_logits
from eeg.labels import Labels
from eeg.models import registry
from eeg.models.features import FEATURES, FeatureModel
from eeg.models.local_readout import OwnReadout, count_scores, has_own_readout
from eeg.models.pooling import POOLINGS
from eeg.preprocessing.windows import UNANNOTATED, Windows, training_examples
from eeg.training import pseudo_labels
from eeg.training.augment import augmentation
from eeg.training.bags import Bags, Pooled
from eeg.training.plan import Plan, bag_plan, last_phase, recipe
from hebbian.backprop import Backprop
from hebbian.registry import build
from trainers.data.batches import Augment, Batches, TrainingData
from trainers.data.rows import Inputs, Rows
from trainers.errors import DataError
from trainers.phases import RunOptions, descend, train_rule
from trainers.recipes import Phase

Loaded = Mapping[Entry, Windows]


def targets(windows: Windows, labels: Labels) -> np.ndarray:
    """Return the labels (N,) bool of windows: whether they contain a discharge, or the diagnosis for each.

    Raises
    ------
    DataError
        If the labels are events and the recording is not annotated.
    """
    if labels != "events":
        return np.full(len(windows.data), windows.label == 1)
    if windows.positive is None:
        raise DataError(UNANNOTATED)
    return windows.positive


Model = nn.Module | FeatureModel
"""A network scores windows one by one, a feature model all windows of a recording together."""


def fit_model(
    plan: Plan, loaded: Loaded, entries: Sequence[Entry], callbacks: Sequence[object] = ()
) -> Model:
    """Train the plan's model on the recordings in ``entries``.

    Parameters
    ----------
    plan
        What is trained and how.
    loaded
        The windows of all recordings; of those without a diagnosis for pre-training.
    entries
        The training recordings.
    callbacks
        Of the trainer.

    Raises
    ------
    DataError
        As `fit_network`; or the windows are too short for a feature model.
    """
    if plan.model in FEATURES:
        model = FEATURES[plan.model](plan.preprocessing.sfreq, plan.seed)
        try:
            return model.fit([loaded[e].data for e in entries], np.array([e.label for e in entries]))
        except ValueError as error:
            raise DataError(f"--model {plan.model}, --window {plan.window:g}: {error}") from None
    return train_network(plan, loaded, entries, callbacks)


def train_network(
    plan: Plan, loaded: Loaded, entries: Sequence[Entry], callbacks: Sequence[object] = ()
) -> nn.Module:
    """Train the plan's network on the recordings in ``entries``; see `fit_network`.

    Parameters
    ----------
    plan, loaded, entries, callbacks
        As in `fit_model`.
    """
    unlabelled = [loaded[e].data for e in without_diagnosis(loaded, entries)]
    weights = None if plan.labels == "bag" else subject_weights(entries)
    if plan.labels != "pseudo":
        return fit_network(plan, training_windows(plan, loaded, entries), callbacks, unlabelled, weights)
    plan.check()
    bags = bag_plan(plan)
    training = pseudo_labels.make_pseudo_labels(
        loaded,
        entries,
        lambda others: partial(network_logits, train_network(bags, loaded, others)),
        plan.seed,
    )
    network = _fit(plan, training, "events", callbacks, unlabelled, weights)
    last = replace(bags, aggregation=plan.aggregation)
    fit_bags(last, network, training_windows(bags, loaded, entries), last_phase(plan), callbacks, "finish")
    return network.eval()


def without_diagnosis(loaded: Loaded, entries: Sequence[Entry]) -> list[Entry]:
    """Return the recordings without a diagnosis that pre-training may use beside those in ``entries``.

    Test subjects may have such recordings too; these are excluded.
    """
    test = {e.subject for e in loaded if e.label is not None} - {e.subject for e in entries}
    return [e for e in loaded if e.label is None and e.subject not in test]


def subject_weights(entries: Sequence[Entry]) -> Tensor | None:
    """Return the weight (n,) of each recording that gives all subjects the same; None if all have one."""
    of = Counter(e.subject for e in entries)
    if max(of.values(), default=1) == 1:
        return None
    return torch.tensor([1 / of[e.subject] for e in entries])


def training_windows(plan: Plan, loaded: Loaded, entries: Sequence[Entry]) -> list[Windows]:
    """Return the windows of each recording; for bags those of all recordings of a subject together."""
    if plan.labels != "bag":
        return [loaded[e] for e in entries]
    subjects: dict[str, list[Windows]] = {}
    for e in entries:
        subjects.setdefault(e.subject, []).append(loaded[e])
    return [
        replace(first, data=np.concatenate([first.data, *(w.data for w in rest)])) if rest else first
        for first, *rest in subjects.values()
    ]


def fit_network(
    plan: Plan,
    training: Sequence[Windows],
    callbacks: Sequence[object] = (),
    unlabelled: Sequence[np.ndarray] = (),
    weights: Tensor | None = None,
) -> nn.Module:
    """Train a new network; on a CPU the same plan and data give the same weights.

    Both classes have the same weight in the loss.

    Parameters
    ----------
    plan
        What is trained and how.
    training
        The windows of each training recording.
    callbacks
        Of the trainer.
    unlabelled
        Further windows (N_i, C, T) for the pre-training of a plan that fine-tunes.
    weights
        How often windows of each recording are drawn, (n,), in proportion; not for bags.

    Raises
    ------
    DataError
        If all windows are of one class.
    ValueError
        If the plan contradicts itself, or its labels are pseudo-labels, which need `train_network`.
    """
    plan.check()
    if plan.labels == "pseudo":
        raise ValueError("pseudo-labels need the subject of each recording; call train_network")
    return _fit(plan, training, plan.labels, callbacks, unlabelled, weights)


def _fit(
    plan: Plan,
    training: Sequence[Windows],
    labels: Labels,
    callbacks: Sequence[object],
    unlabelled: Sequence[np.ndarray],
    recording_weights: Tensor | None,
) -> nn.Module:
    """Train a network on the `stack_examples` of recordings."""
    x, y, recording = stack_examples(training, labels)
    weights = None if recording_weights is None else recording_weights[recording]
    positive = float(y.mean() if weights is None else weights @ y[:, 0] / weights.sum())
    if not 0 < positive < 1:
        raise DataError(f"all {len(y)} training windows are of one class; both are needed")
    classes = count_scores(plan.rule)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = registry.build_model(plan.model, x.shape[1], x.shape[2], classes)
    augment = _augmentation(plan, training)
    if plan.finetune:
        pretrain(plan, network, Rows([*x.arrays, *unlabelled]), augment, callbacks)
        plan = replace(plan, rule="backprop", finetune=False)
    if plan.labels == "bag":
        fit_bags(plan, network, training, recipe(plan).learn, callbacks)
        return network.eval()
    criterion: nn.Module = nn.BCEWithLogitsLoss(pos_weight=torch.tensor((1 - positive) / positive))
    if classes == 2:  # their losses have no class weights: draw the rarer class more often
        y = y[:, 0].long()
        rarity = torch.tensor([1 / (1 - positive), 1 / positive])[y]
        weights = rarity if weights is None else weights * rarity
        criterion = nn.CrossEntropyLoss()
    data = TrainingData(x, y, classes, criterion, augment=augment, weights=weights)
    rule = train_rule(plan.rule, network, data, recipe(plan), RunOptions(plan.seed, callbacks))
    return OwnReadout(rule).eval() if has_own_readout(plan.rule) else network.eval()


def stack_examples(training: Sequence[Windows], labels: Labels) -> tuple[Rows, Tensor, Tensor]:
    """Return windows (N, C, T), labels 0 or 1 (N, 1) and the index of the recording of each window (N,)."""
    pairs = [training_examples(w) if labels == "events" else (w.data, targets(w, labels)) for w in training]
    y = torch.from_numpy(np.concatenate([y for _, y in pairs])).float()[:, None]
    return (
        Rows([x for x, _ in pairs]),
        y,
        torch.arange(len(pairs)).repeat_interleave(torch.tensor([len(y) for _, y in pairs])),
    )


def _augmentation(plan: Plan, training: Sequence[Windows]) -> Augment:
    """Return the plan's augmentations; the windows of controls are the backgrounds."""
    backgrounds = Rows([w.data for w in training if w.label == 0])
    rng = np.random.default_rng(plan.seed)
    return augmentation(plan.augment, plan.preprocessing.channels, backgrounds, rng)


def pretrain(
    plan: Plan, network: nn.Module, x: Inputs, augment: Augment, callbacks: Sequence[object] = ()
) -> None:
    """Train a network on windows ``x`` (N, C, T) by the plan's rule, which has no labels.

    Parameters
    ----------
    plan
        The rule and its recipe.
    network
        Trained in place.
    x
        Windows (N, C, T).
    augment
        Applied to every batch.
    callbacks
        Of the trainer.
    """
    phase = recipe(plan).learn
    with _seeded(plan.seed) as generator:
        batches = Batches(x, None, phase.batch, generator, drop_last=len(x) >= phase.batch, augment=augment)
        rule = build(plan.rule, network, None, example=x[:2], classes=1)
        descend(rule, phase, batches, callbacks, "pretrain")


def fit_bags(
    plan: Plan,
    network: nn.Module,
    subjects: Sequence[Windows],
    phase: Phase,
    callbacks: Sequence[object] = (),
    name: str = "train",
) -> None:
    """Train a network through the plan's aggregation, on one bag of windows per subject.

    Parameters
    ----------
    plan
        What is trained and how.
    network
        Trained in place.
    subjects
        The windows of each subject.
    phase, callbacks, name
        The schedule, the callbacks of the trainer and the name of the phase.
    """
    labels = torch.tensor([int(w.label == 1) for w in subjects])
    windows = [Rows([w.data]) for w in subjects]
    with _seeded(plan.seed) as generator:
        bags = Bags(windows, labels, generator, augment=_augmentation(plan, subjects))
        rule = Backprop(Pooled(network, POOLINGS[plan.aggregation]), nn.BCEWithLogitsLoss())
        descend(rule, phase, bags, callbacks, name)


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """Yield a seeded generator, and seed the global one for dropout; restore the global state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
