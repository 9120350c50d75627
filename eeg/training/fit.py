"""A network, or a model of features, that learns from recordings as a plan says."""

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
from eeg.training.plan import Plan, bagged, last_phase, recipe
from hebbian.backprop import Backprop
from hebbian.registry import build
from trainers.data.batches import Augment, Batches, TrainingData
from trainers.errors import DataError
from trainers.phases import RunOptions, descend, train_rule
from trainers.recipes import Phase

Loaded = Mapping[Entry, Windows]


def targets(windows: Windows, labels: Labels) -> np.ndarray:
    """Return (N,) bool: windows with an annotated discharge, or the subject's diagnosis on each.

    Raises
    ------
    DataError
        If discharges are asked for where nobody annotated them.
    """
    if labels != "events":
        return np.full(len(windows.data), windows.label == 1)
    if windows.positive is None:
        raise DataError(UNANNOTATED)
    return windows.positive


Model = nn.Module | FeatureModel
"""What judges windows: a network does one by one, a feature model all those of a recording together."""


def fit(plan: Plan, loaded: Loaded, entries: Sequence[Entry], callbacks: Sequence[object] = ()) -> Model:
    """Fit the plan's model to the recordings in ``entries``.

    A network that is fine-tuned sees those without a diagnosis before that, as far as they are loaded.

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
            raise DataError(f"{plan.model}: {error}") from None
    return network_of(plan, loaded, entries, callbacks)


def network_of(
    plan: Plan, loaded: Loaded, entries: Sequence[Entry], callbacks: Sequence[object] = ()
) -> nn.Module:
    """Train the plan's network on the recordings in ``entries``; see `fit_network`."""
    unlabelled = [loaded[e].data for e in without_diagnosis(loaded, entries)]
    share = None if plan.labels == "bag" else shares(entries)
    if plan.labels != "pseudo":
        return fit_network(plan, learned_from(plan, loaded, entries), callbacks, unlabelled, share)
    plan.check()
    bags = bagged(plan)
    told = pseudo_labels.found(
        loaded, entries, lambda others: partial(network_logits, network_of(bags, loaded, others)), plan.seed
    )
    network = _fit(plan, told, "events", callbacks, unlabelled, share)
    last = replace(bags, aggregation=plan.aggregation)
    fit_bags(last, network, learned_from(bags, loaded, entries), last_phase(plan), callbacks, "finish")
    return network.eval()


def without_diagnosis(loaded: Loaded, entries: Sequence[Entry]) -> list[Entry]:
    """Return the recordings without a diagnosis that may be learned from beside those in ``entries``.

    Who is judged may have one too: he has a diagnosis by another recording, which is not in ``entries``.
    """
    judged = {e.subject for e in loaded if e.label is not None} - {e.subject for e in entries}
    return [e for e in loaded if e.label is None and e.subject not in judged]


def shares(entries: Sequence[Entry]) -> Tensor | None:
    """Return what each recording counts, (n,), for all subjects to count the same; None if all have one."""
    of = Counter(e.subject for e in entries)
    if max(of.values(), default=1) == 1:
        return None
    return torch.tensor([1 / of[e.subject] for e in entries])


def learned_from(plan: Plan, loaded: Loaded, entries: Sequence[Entry]) -> list[Windows]:
    """Return the windows of each recording, or for bags those of all recordings of a subject together."""
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
    share: Tensor | None = None,
) -> nn.Module:
    """Train a new network on ``training``; the same plan and data give the same weights on a CPU.

    Both classes weigh the same in the loss.  Where the plan fine-tunes, a rule without labels learns first,
    also from ``unlabelled`` windows (N_i, C, T).  ``share`` (n,) says how often windows of each recording
    are drawn, in proportion; of bags all subjects count the same.

    Raises
    ------
    DataError
        If all windows are of one class.
    ValueError
        If the plan contradicts itself, or discharges are to be found: that takes `network_of`, which knows
        whose each recording is.
    """
    plan.check()
    if plan.labels == "pseudo":
        raise ValueError("labels = 'pseudo' needs to know whose each recording is; call network_of")
    return _fit(plan, training, plan.labels, callbacks, unlabelled, share)


def _fit(
    plan: Plan,
    training: Sequence[Windows],
    labels: Labels,
    callbacks: Sequence[object],
    unlabelled: Sequence[np.ndarray],
    share: Tensor | None,
) -> nn.Module:
    """Train a network on what `labelled` gives of the recordings in ``training``."""
    x, y, recording = labelled(training, labels)
    weights = None if share is None else share[recording]
    positive = float(y.mean() if weights is None else weights @ y[:, 0] / weights.sum())
    if not 0 < positive < 1:
        raise DataError(f"all {len(y)} training windows are of one class; both are needed")
    classes = count_scores(plan.rule)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = registry.build_model(plan.model, x.shape[1], x.shape[2], classes)
    augment = _augmentation(plan, training)
    if plan.finetune:
        more = [torch.from_numpy(windows) for windows in unlabelled]
        pretrain(plan, network, torch.cat([x, *more]), augment, callbacks)
        plan = replace(plan, rule="backprop", finetune=False)
    if plan.labels == "bag":
        fit_bags(plan, network, training, recipe(plan).learn, callbacks)
        return network.eval()
    if classes == 2:  # such rules' losses cannot be weighted: the rarer class is drawn more often
        y = y[:, 0].long()
        rarity = torch.tensor([1 / (1 - positive), 1 / positive])[y]
        weights = rarity if weights is None else weights * rarity
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor((1 - positive) / positive))
    data = TrainingData(x, y, classes, criterion, augment=augment, weights=weights)
    rule = train_rule(plan.rule, network, data, recipe(plan), RunOptions(plan.seed, callbacks))
    return OwnReadout(rule).eval() if has_own_readout(plan.rule) else network.eval()


def labelled(training: Sequence[Windows], labels: Labels) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is learned from: windows (N, C, T), 1 or 0 (N, 1), and which recording each is of (N,)."""
    pairs = [training_examples(w) if labels == "events" else (w.data, targets(w, labels)) for w in training]
    x = torch.from_numpy(np.concatenate([x for x, _ in pairs]))
    y = torch.from_numpy(np.concatenate([y for _, y in pairs])).float()[:, None]
    return x, y, torch.arange(len(pairs)).repeat_interleave(torch.tensor([len(y) for _, y in pairs]))


def _augmentation(plan: Plan, training: Sequence[Windows]) -> Augment:
    """Return what is done to windows; controls lend the backgrounds (M, C, T) for it."""
    backgrounds = torch.from_numpy(np.concatenate([w.data for w in training if w.label == 0]))
    rng = np.random.default_rng(plan.seed)
    return augmentation(plan.augment, plan.preprocessing.channels, backgrounds, rng)


def pretrain(
    plan: Plan, network: nn.Module, x: Tensor, augment: Augment, callbacks: Sequence[object] = ()
) -> None:
    """Let the plan's rule, which has no labels, teach a network windows ``x`` (N, C, T)."""
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
    """Train a network through the plan's aggregation, on the windows of each subject together."""
    labels = torch.tensor([int(w.label == 1) for w in subjects])
    windows = [torch.from_numpy(w.data) for w in subjects]
    with _seeded(plan.seed) as generator:
        bags = Bags(windows, labels, generator, augment=_augmentation(plan, subjects))
        rule = Backprop(Pooled(network, POOLINGS[plan.aggregation]), nn.BCEWithLogitsLoss())
        descend(rule, phase, bags, callbacks, name)


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """Give a generator, and seed what cannot be given one, such as dropout; leave the caller's state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
