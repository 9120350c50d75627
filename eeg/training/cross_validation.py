"""Cross-validation by subject: out-of-fold scores of recordings and subjects."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from eeg import large_arrays
from eeg.datasets import Entry, splits
from eeg.detector.calibration import Calibration, fit_calibration
from eeg.detector.detector import network_logits
from eeg.models.features import FeatureModel
from eeg.models.pooling import CHOSEN, best_pooling, pool_logits
from eeg.preprocessing.windows import Windows
from eeg.training import fold_cache
from eeg.training.fit import Loaded, Model, fit_model
from eeg.training.plan import Plan, describe_model
from trainers.errors import DataError, concerning
from trainers.files import partial_folder
from trainers.mapped import allow_open_files

_INNER = 0.25
"""Fraction of a fold's training subjects that the choice of an aggregation is made on."""


@dataclass(frozen=True)
class Scored:
    """A recording scored by a model that was not trained on its subject.

    ``part`` names the model: ``fold 1`` and so on, or ``held out`` for the final one; ``aggregation`` is how
    window scores become the score of the recording.
    """

    entry: Entry
    part: str
    windows: Windows
    logits: np.ndarray  # (N,)
    aggregation: str


def window_logits(model: Model, windows: np.ndarray) -> np.ndarray:
    """Return the logit of each window (N, C, T) -> (N,); a feature model has one for the whole recording."""
    if isinstance(model, FeatureModel):
        return np.full(len(windows), model(windows))
    return network_logits(model, windows)


def score_recordings(
    model: Model, loaded: Loaded, entries: Sequence[Entry], part: str, aggregation: str
) -> list[Scored]:
    """Score the windows of recordings.

    Parameters
    ----------
    model
        A network or a feature model.
    loaded, entries
        The windows of all recordings, and the recordings to score.
    part, aggregation
        See `Scored`.

    Raises
    ------
    DataError
        If a logit is not finite.
    """
    scored = [Scored(e, part, loaded[e], window_logits(model, loaded[e].data), aggregation) for e in entries]
    if not all(np.isfinite(s.logits).all() for s in scored):
        raise DataError(f"{part}: the training diverged, its scores are not finite; try another rule or seed")
    return scored


def cross_validate(
    plan: Plan,
    loaded: Loaded,
    folds: Sequence[splits.SubjectSplit],
    jobs: int = 1,
    folder: Path | None = None,
    on_message: Callable[[str], object] | None = None,
) -> list[Scored]:
    """Score every test recording with the model of its fold, which was not trained on its subject.

    Parameters
    ----------
    plan
        What is trained and how.
    loaded
        The windows of each recording.
    folds
        Training and test recordings of each fold.
    jobs
        Number of processes; each trains one fold at a time.
    folder
        An existing folder that stores the scores of each finished fold; a later call with the same plan,
        recordings and folds reads them.
    on_message
        Called with one line if scores cannot be stored.

    Raises
    ------
    DataError
        If the processes cannot share the windows: ``folder``, or that of temporary files, cannot be written.
    """
    paths: list[Path | None] = [None] * len(folds)
    if folder is not None:
        paths = [folder / name for name in fold_cache.fold_names(plan, loaded, folds)]
    with ExitStack() as stack:
        if jobs > 1:
            # Not left to joblib, whose files any user can read, and which remain if the program is killed.
            allow_open_files()
            place = folder or Path(tempfile.gettempdir())
            try:
                loaded = _mapped(loaded, stack.enter_context(partial_folder(place / "windows")))
            except OSError as error:
                raise DataError(
                    f"{place}: windows for --jobs {jobs} cannot be written ({error.strerror or error}); free "
                    "space there, or use --jobs 1"
                ) from error
        work = (
            delayed(_fold)(plan, loaded, train, test, f"fold {i}", path)
            for i, ((train, test), path) in enumerate(zip(folds, paths, strict=True), 1)
        )
        results = Parallel(n_jobs=jobs, return_as="generator", max_nbytes=None)(work)
        what = f"cross-validation, {describe_model(plan)}"
        bar = tqdm(results, what, total=len(folds), unit="fold", disable=None)
        every, problems = zip(*bar, strict=True)
    if any(problems) and on_message is not None:
        on_message(f"Not stored for --resume: {next(filter(None, problems))}")
    return [scored for fold in every for scored in fold]


def _mapped(loaded: Loaded, folder: Path) -> dict[Entry, Windows]:
    """Return windows mapped from files, new ones in ``folder``, so that processes share them."""
    shared = {}
    for number, (entry, windows) in enumerate(loaded.items()):
        data = windows.data
        if not isinstance(data, np.memmap):
            data = large_arrays.to_file(data, folder / f"{number}.npy")
        shared[entry] = replace(windows, data=data)
    return shared


def _fold(
    plan: Plan, loaded: Loaded, train: Sequence[Entry], test: Sequence[Entry], part: str, path: Path | None
) -> tuple[list[Scored], str]:
    """Train on a fold and score its test recordings, or read the scores from ``path`` if they are there.

    Also return why the scores could not be stored, if so.
    """
    if path is not None and (fold := fold_cache.read_fold(path)) is not None:
        logits = zip(test, fold.logits, strict=True)
        return [Scored(e, part, loaded[e], z, fold.aggregation) for e, z in logits], ""
    scored = _train_fold(plan, loaded, train, test, part)
    if path is not None:
        fold = fold_cache.FoldScores(tuple(s.logits for s in scored), scored[0].aggregation)
        try:
            fold_cache.write_fold(fold, path)
        except DataError as error:
            return scored, str(error)
    return scored, ""


def _train_fold(
    plan: Plan, loaded: Loaded, train: Sequence[Entry], test: Sequence[Entry], part: str
) -> list[Scored]:
    torch.set_num_threads(1)  # small networks gain nothing from more
    aggregation = plan.aggregation
    if aggregation == CHOSEN:
        with concerning(f"--aggregation {CHOSEN}"):
            most, rest = splits.hold_out(train, _INNER, plan.seed)
        aggregation = choose_aggregation(
            score_recordings(fit_model(plan, loaded, most), loaded, rest, part, CHOSEN)
        )
    return score_recordings(fit_model(plan, loaded, train), loaded, test, part, aggregation)


def choose_aggregation(scored: Sequence[Scored]) -> str:
    """Return the best aggregation for recordings with out-of-fold scores."""
    return best_pooling(
        [s.logits for s in scored],
        np.array([s.entry.label for s in scored]),
        np.array([s.entry.subject for s in scored]),
    )


def recording_score(scored: Scored) -> float:
    """Return the raw score of a recording."""
    return float(pool_logits(scored.aggregation, scored.logits))


def subject_scores(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the raw score and the label of each subject, and the subjects.

    A subject's score is the mean over their recordings.
    """
    scores: dict[str, list[float]] = {}
    labels: dict[str, int] = {}
    for s in scored:
        scores.setdefault(s.entry.subject, []).append(recording_score(s))
        labels[s.entry.subject] = s.entry.label or 0
    names = sorted(scores)
    return np.array([np.mean(scores[n]) for n in names]), np.array([labels[n] for n in names]), names


def calibrate_subjects(plan: Plan, scored: Sequence[Scored]) -> Calibration:
    """Calibrate on one out-of-fold score per subject."""
    scores, labels, _ = subject_scores([replace(s, aggregation=plan.aggregation) for s in scored])
    return fit_calibration(scores, labels)
