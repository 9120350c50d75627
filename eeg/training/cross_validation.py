"""How well models do on subjects they have not seen: cross-validation, and one score a subject."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from eeg.datasets import Entry, splits
from eeg.detector.calibration import Calibration, fit_calibration
from eeg.detector.detector import network_logits
from eeg.models.features import FeatureModel
from eeg.models.pooling import CHOSEN, best_pooling, pool_logits
from eeg.preprocessing.windows import Windows
from eeg.training import fold_cache
from eeg.training.fit import Loaded, Model, fit
from eeg.training.plan import Plan
from trainers.errors import DataError

_INNER = 0.25
"""Share of a fold's training subjects whom the choice of an aggregation is left to."""


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
    folds: Sequence[splits.SubjectSplit],
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
        paths = [folder / name for name in fold_cache.names(plan, loaded, folds)]
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
        fold = fold_cache.recall(path)
        return [
            Scored(e, part, loaded[e], logits, fold.aggregation)
            for e, logits in zip(test, fold.logits, strict=True)
        ]
    scored = _trained_fold(plan, loaded, train, test, part)
    if path is not None:
        fold_cache.store(fold_cache.Fold(tuple(s.logits for s in scored), scored[0].aggregation), path)
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
    return best_pooling(
        [s.logits for s in scored],
        np.array([s.entry.label for s in scored]),
        np.array([s.entry.subject for s in scored]),
    )


def recording_score(scored: Scored) -> float:
    """Return the raw score of a recording."""
    return float(pool_logits(scored.aggregation, scored.logits))


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


def calibrate_subjects(plan: Plan, scored: Sequence[Scored]) -> Calibration:
    """Calibrate on one score a subject, each from a network that had not seen him."""
    scores, labels, _ = subject_scores([replace(s, aggregation=plan.aggregation) for s in scored])
    return fit_calibration(scores, labels)
