"""From a corpus to a detector: cross-validation by subject, calibration, and the final network."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from tqdm import tqdm

from eeg import calibrate, finding, kept, models, splits
from eeg.aggregate import AGGREGATIONS, CHOSEN, best
from eeg.augment import augmentation
from eeg.calibrate import Calibration
from eeg.datasets import Entry
from eeg.detector import Detector, Labels, network_logits
from eeg.features import FEATURES, FeatureModel
from eeg.multiple import POOLINGS, Bags, Pooled
from eeg.outlier import Gate
from eeg.preprocess import Preprocessing
from eeg.prototypes import Prototypes
from eeg.quality import Policy
from eeg.readout import OwnReadout, has_own, scores_of
from eeg.windows import UNANNOTATED, Windows, examples
from hebbian.backprop import Backprop
from hebbian.registry import build, find
from trainers.data import Augment, Batches
from trainers.errors import DataError
from trainers.phases import descend
from trainers.phases import train as train_rule
from trainers.recipes import Phase, Recipe, recommended

Loaded = Mapping[Entry, Windows]

WINDOW: Mapping[Labels, float] = {"events": 2.0, "recording": 10.0, "bag": 2.0, "found": 2.0}
"""Seconds of a window: as short as the events that are looked for, or as in Uyttenhove et al. 2020."""

AGGREGATION: Mapping[Labels, str] = {"events": "top", "recording": "mean", "bag": "top", "found": "top"}
_INNER = 0.25
"""Share of a fold's training subjects whom the choice of an aggregation is left to."""

_STEPS: Mapping[Labels, int] = {"events": 2500, "recording": 600, "bag": 2500, "found": 1000}
_EPOCHS: Mapping[Labels, int] = {"events": 10, "recording": 10, "bag": 10, "found": 1}
"""How long a network learns at least; finding discharges takes ten networks."""


@dataclass(frozen=True)
class Plan:
    """What is trained and how; a run can be repeated from it.

    Parameters
    ----------
    preprocessing, window
        What a model sees, and its length in seconds.
    labels, aggregation
        What it learns, and how its windows are put together: ``bag`` is trained through that.
    model
        One of `eeg.models.MODELS`, a ``package.module:function`` or one of `eeg.features.FEATURES`.
    rule, finetune
        What a network learns by; a rule without labels may come first, on recordings without a diagnosis
        too, and backprop after it.
    augment
        Some of `eeg.augment.AUGMENTATIONS`, one after the other.
    epochs
        None for those of the recipe.
    seed
        Of all that is drawn.
    quality
        What a window may not touch; see `eeg.quality.EXCLUDED`.
    """

    preprocessing: Preprocessing
    labels: Labels
    window: float
    aggregation: str
    model: str = "tvgg-gap"
    rule: str = "backprop"
    finetune: bool = False
    augment: tuple[str, ...] = ("turn",)
    epochs: int | None = None
    seed: int = 0
    quality: Policy = "exclude"

    def check(self) -> None:
        """Raise `ValueError` where the choices do not go together."""
        if "turn" in self.augment and len(self.preprocessing.inputs) != len(self.preprocessing.channels):
            raise ValueError(
                "a head is turned under electrodes, not under pairs of them; choose other augmentations"
            )
        if self.finetune and find(self.rule).supervised:
            raise ValueError(
                f"{self.rule} has labels from the start; fine-tuning follows a rule without them"
            )
        if self.labels == "bag" and self.rule != "backprop" and not self.finetune:
            raise ValueError(f"bags are learned by backprop, not by {self.rule}; fine-tune after it")
        if self.labels == "bag" and self.aggregation not in POOLINGS:
            raise ValueError(
                f"bags cannot be learned through the aggregation {self.aggregation!r}; "
                f"choose one of {', '.join(POOLINGS)}"
            )


@dataclass(frozen=True)
class Scored:
    """A recording as a network saw it that had never seen its subject.

    ``part`` says which network: ``fold 1`` and so on, or ``held out`` for the final one; ``aggregation``
    how its windows are put together.
    """

    entry: Entry
    part: str
    windows: Windows
    logits: np.ndarray  # (N,)
    aggregation: str


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Warm up and anneal the rate once over ``steps`` (Smith & Topin 2018)."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def recipe(plan: Plan) -> Recipe:
    """Return the settings of the plan's rule on EEG.

    Rules that descend a loss of one logit share one set, fixed on simulated cohorts of other seeds than any
    that is reported; nothing is selected on the data that is trained on.  The others keep theirs.
    """
    found = recommended(plan.rule)
    learn = found.learn
    if find(plan.rule).supervised and find(plan.rule).one_logit:
        adam = partial(AdamW, lr=5e-3, weight_decay=0.05)
        learn = Phase(adam, _EPOCHS[plan.labels], 64, schedule=one_cycle, least_steps=_STEPS[plan.labels])
    if plan.epochs is not None:
        learn = replace(learn, epochs=plan.epochs, least_steps=0)
    return replace(found, learn=learn, scale="standard")


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
    """Train the plan's network on the recordings in ``entries``; see `fit_network` and `eeg.finding`."""
    unlabelled = [loaded[e].data for e in without_diagnosis(loaded, entries)]
    if plan.labels == "found":
        plan.check()

        def learn(told: Sequence[Windows], callbacks: Sequence[object] = ()) -> nn.Module:
            return _fit(plan, told, labelled(told, "events"), callbacks, unlabelled)

        told = finding.found(loaded, entries, lambda told: partial(network_logits, learn(told)), plan.seed)
        return learn(told, callbacks)
    return fit_network(plan, learned_from(plan, loaded, entries), callbacks, unlabelled)


def without_diagnosis(loaded: Loaded, entries: Sequence[Entry]) -> list[Entry]:
    """Return the recordings without a diagnosis that may be learned from beside those in ``entries``.

    Who is judged may have one too: he has a diagnosis by another recording, which is not in ``entries``.
    """
    judged = {e.subject for e in loaded if e.label is not None} - {e.subject for e in entries}
    return [e for e in loaded if e.label is None and e.subject not in judged]


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
) -> nn.Module:
    """Train a new network on ``training``; the same plan and data give the same weights on a CPU.

    Both classes weigh the same in the loss.  Where the plan fine-tunes, a rule without labels learns first,
    also from ``unlabelled`` windows (N_i, C, T).

    Raises
    ------
    DataError
        If all windows are of one class.
    ValueError
        If the plan contradicts itself, or discharges are to be found: that takes `network_of`, which knows
        whose each recording is.
    """
    plan.check()
    if plan.labels == "found":
        raise ValueError("labels = 'found' needs to know whose each recording is; call network_of")
    return _fit(plan, training, labelled(training, plan.labels), callbacks, unlabelled)


def _fit(
    plan: Plan,
    training: Sequence[Windows],
    learned: tuple[Tensor, Tensor],
    callbacks: Sequence[object],
    unlabelled: Sequence[np.ndarray],
) -> nn.Module:
    """Train a network on what `labelled` gives of the recordings in ``training``."""
    x, y = learned
    positive = float(y.mean())
    if not 0 < positive < 1:
        raise DataError(f"all {len(y)} training windows are of one class; both are needed")
    classes = scores_of(plan.rule)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = models.build(plan.model, x.shape[1], x.shape[2], classes)
    augment = augmentation(
        plan.augment, plan.preprocessing.channels, _backgrounds(training), np.random.default_rng(plan.seed)
    )
    if plan.finetune:
        more = [torch.from_numpy(windows) for windows in unlabelled]
        pretrain(plan, network, torch.cat([x, *more]), augment, callbacks)
        plan = replace(plan, rule="backprop", finetune=False)
    if plan.labels == "bag":
        fit_bags(plan, network, training, augment, callbacks)
        return network.eval()
    if classes == 2:
        x, y = _evenly(x, y)
    rule = train_rule(
        plan.rule,
        network,
        x,
        y,
        criterion=nn.BCEWithLogitsLoss(pos_weight=torch.tensor((1 - positive) / positive)),
        classes=classes,
        recipe=recipe(plan),
        seed=plan.seed,
        callbacks=callbacks,
        augment=augment,
    )
    return OwnReadout(rule).eval() if has_own(plan.rule) else network.eval()


def labelled(training: Sequence[Windows], labels: Labels) -> tuple[Tensor, Tensor]:
    """Return the windows (N, C, T) that are learned from, and 1 or 0 for each, (N, 1)."""
    pairs = [examples(w) if labels == "events" else (w.data, targets(w, labels)) for w in training]
    x = torch.from_numpy(np.concatenate([x for x, _ in pairs]))
    return x, torch.from_numpy(np.concatenate([y for _, y in pairs])).float()[:, None]


def _evenly(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat windows of the rarer class, for rules whose loss cannot be weighted, and give classes (M,)."""
    classes = y[:, 0].long()
    of = [torch.nonzero(classes == k)[:, 0] for k in (0, 1)]
    most = max(map(len, of))
    order = torch.cat([index.repeat(-(-most // len(index)))[:most] for index in of])
    return x[order], classes[order]


def _backgrounds(training: Sequence[Windows]) -> Tensor:
    """Return the windows of controls, (M, C, T)."""
    return torch.from_numpy(np.concatenate([w.data for w in training if w.label == 0]))


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
    augment: Augment,
    callbacks: Sequence[object] = (),
) -> None:
    """Train a network through the plan's aggregation, on the windows of each subject together."""
    labels = torch.tensor([int(w.label == 1) for w in subjects])
    windows = [torch.from_numpy(w.data) for w in subjects]
    with _seeded(plan.seed) as generator:
        bags = Bags(windows, labels, generator, augment=augment)
        rule = Backprop(Pooled(network, POOLINGS[plan.aggregation]), nn.BCEWithLogitsLoss())
        descend(rule, recipe(plan).learn, bags, callbacks)


@contextmanager
def _seeded(seed: int) -> Iterator[torch.Generator]:
    """Give a generator, and seed what cannot be given one, such as dropout; leave the caller's state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def judged(model: Model, windows: np.ndarray) -> np.ndarray:
    """Return the logit of each window (N, C, T) -> (N,); a feature model's is that of the recording."""
    if isinstance(model, FeatureModel):
        return np.full(len(windows), model(windows))
    return network_logits(model, windows)


def score(
    network: Model, loaded: Loaded, entries: Sequence[Entry], part: str, aggregation: str
) -> list[Scored]:
    """Let a network or a feature model judge recordings.

    Raises
    ------
    DataError
        If its logits are not finite.
    """
    scored = [Scored(e, part, loaded[e], judged(network, loaded[e].data), aggregation) for e in entries]
    if not all(np.isfinite(s.logits).all() for s in scored):
        raise DataError(
            f"{part}: the training diverged, its scores are not finite; take another rule or seed"
        )
    return scored


def cross_validate(
    plan: Plan,
    loaded: Loaded,
    folds: Sequence[splits.Split],
    jobs: int = 1,
    folder: Path | None = None,
    timed: Callable[[float, int], object] = lambda seconds, rounds: None,
) -> list[Scored]:
    """Return every test recording as seen by the network of its fold, which did not train on its subject.

    Parameters
    ----------
    plan, loaded, folds
        How is learned, from what, and what is tested.
    jobs
        Processes that train a fold each.
    folder
        An existing folder that keeps the scores of each fold that is done: a later call with the same plan,
        recordings and folds takes them from there.
    timed
        Told, after the first fold that had to be trained, how many seconds it took and how many rounds of
        ``jobs`` folds are still to be trained.
    """
    paths: list[Path | None] = [None] * len(folds)
    if folder is not None:
        paths = [folder / name for name in kept.names(plan, loaded, folds)]
    new = [path is None or not path.exists() for path in paths]
    work = (
        delayed(_fold)(plan, loaded, train, test, f"fold {i}", path)
        for i, ((train, test), path) in enumerate(zip(folds, paths, strict=True), 1)
    )
    begun, scored = time.monotonic(), []
    # Workers see large arrays as files mapped into memory: copy on write, for torch wants them writable.
    done = Parallel(n_jobs=jobs, return_as="generator", mmap_mode="c")(work)
    bar = tqdm(done, desc="cross-validation", total=len(folds), unit="fold", disable=None)
    for i, fold in enumerate(bar):
        if new[i] and not any(new[:i]):
            timed(time.monotonic() - begun, math.ceil(sum(new) / jobs) - 1)
        scored += fold
    return scored


def _fold(
    plan: Plan, loaded: Loaded, train: Sequence[Entry], test: Sequence[Entry], part: str, path: Path | None
) -> list[Scored]:
    """Train on a fold and judge what it tests, unless its scores lie at ``path``; there they are kept."""
    if path is not None and path.exists():
        fold = kept.recall(path)
        return [
            Scored(e, part, loaded[e], logits, fold.aggregation)
            for e, logits in zip(test, fold.logits, strict=True)
        ]
    scored = _trained_fold(plan, loaded, train, test, part)
    if path is not None:
        kept.store(kept.Fold(tuple(s.logits for s in scored), scored[0].aggregation), path)
    return scored


def _trained_fold(
    plan: Plan, loaded: Loaded, train: Sequence[Entry], test: Sequence[Entry], part: str
) -> list[Scored]:
    torch.set_num_threads(1)  # small networks gain nothing from more, and processes get in each other's way
    aggregation = plan.aggregation
    if aggregation == CHOSEN:
        most, rest = splits.hold_out(train, _INNER, plan.seed)
        aggregation = chosen(score(fit(plan, loaded, most), loaded, rest, part, CHOSEN))
    return score(fit(plan, loaded, train), loaded, test, part, aggregation)


def chosen(scored: Sequence[Scored]) -> str:
    """Return the aggregation that is best for these recordings, which their network had not seen."""
    return best(
        [s.logits for s in scored],
        np.array([s.entry.label for s in scored]),
        np.array([s.entry.subject for s in scored]),
    )


def recording_score(scored: Scored) -> float:
    """Return the raw score of a recording."""
    return float(AGGREGATIONS[scored.aggregation](scored.logits))


def subject_scores(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return one raw score and one label a subject, and the subjects.

    A subject's score is the mean over his recordings.
    """
    found: dict[str, list[float]] = {}
    labels: dict[str, int] = {}
    for s in scored:
        found.setdefault(s.entry.subject, []).append(recording_score(s))
        labels[s.entry.subject] = s.entry.label or 0
    names = sorted(found)
    return np.array([np.mean(found[n]) for n in names]), np.array([labels[n] for n in names]), names


def fit_calibration(plan: Plan, scored: Sequence[Scored]) -> Calibration:
    """Calibrate on one score a subject, each from a network that had not seen him."""
    scores, labels, _ = subject_scores([replace(s, aggregation=plan.aggregation) for s in scored])
    return calibrate.fit(scores, labels)


def detector(
    plan: Plan,
    network: nn.Module,
    calibration: Calibration,
    gate: Gate,
    training: Mapping[str, object],
    prototypes: Prototypes | None = None,
) -> Detector:
    """Put together what is saved."""
    return Detector(
        network=network,
        model=plan.model,
        preprocessing=plan.preprocessing,
        window=plan.window,
        labels=plan.labels,
        aggregation=plan.aggregation,
        calibration=calibration,
        gate=gate,
        quality=plan.quality,
        training=training,
        prototypes=prototypes,
        readout=plan.rule if has_own(plan.rule) else None,
    )


def fingerprint(entries: Sequence[Entry]) -> list[str]:
    """Return the first 16 hex digits of the SHA-256 of each recording's file, sorted.

    By it a recording is known again that a detector was trained on; it holds no name.
    """
    return sorted(file_hash(entry.path) for entry in entries)


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file, or of all files of a recording's folder."""
    if path.is_dir():
        parts = "".join(file_hash(part) for part in sorted(path.iterdir()))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
