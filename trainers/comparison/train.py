"""Rules trained one after the other in this process, with checkpoints and logs: `hebbian train`."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch

from trainers.callbacks import Progress
from trainers.checkpoint import Checkpoint
from trainers.comparison.compare import Comparison
from trainers.comparison.experiment import WIDTHS, Experiment, Result, run_experiment
from trainers.comparison.results import (
    lock_folder,
    new_folder,
    open_folder,
    read_run_results,
    write_results,
)
from trainers.data.batches import Split
from trainers.distributed import rank
from trainers.errors import DataError, DivergenceError
from visualizers.tensorboard import TensorBoard


def train_rules(
    comparison: Comparison,
    split: Split,
    out: Path | None = None,
    *,
    resume: bool = False,
    alignment: bool = False,
) -> list[Result]:
    """Train every rule of ``comparison`` and return the results; of several processes the first one writes.

    Parameters
    ----------
    comparison
        Rules, seeds and settings; rates are not searched for.
    split
        The data.
    out
        New folder for ``run.json``, the results and the logs; nothing is written by default.
    resume
        Continue what was interrupted in ``out``.
    alignment
        Also log the angle between the updates of the rule and those of backprop.

    Raises
    ------
    DataError
        If ``out`` cannot be used, another run is writing to it, or a rule cannot be trained on these data.
    """
    torch.set_num_threads(comparison.threads)
    with nullcontext() if out is None or rank() else lock_folder(out):
        return _train_all(comparison, split, out, resume, alignment)


def _train_all(
    comparison: Comparison, split: Split, out: Path | None, resume: bool, alignment: bool
) -> list[Result]:
    results = {} if out is None else {(r.rule, r.seed): r for r in read_run_results(out)}
    if out is not None and rank() == 0:
        if not resume:
            new_folder(out)
        open_folder(out, comparison.as_record("train", split))
    for experiment in comparison.experiments():
        if experiment.key in results:
            continue
        try:
            results[experiment.key] = _train(experiment, split, out, alignment)
        except (ValueError, TypeError) as error:
            can_resume = isinstance(error, DataError) and not isinstance(error, DivergenceError)
            if out is not None and rank() == 0 and not can_resume:
                _discard(out, experiment)
            raise DataError(f"{experiment.rule}: {error}") from error
        if out is not None and rank() == 0:
            write_results(out, list(results.values()))
            _checkpoint_path(out, experiment).unlink(missing_ok=True)
    return [results[e.key] for e in comparison.experiments()]


def _train(experiment: Experiment, split: Split, out: Path | None, alignment: bool) -> Result:
    if out is None:
        return run_experiment(experiment, split, [Progress()])
    checkpoint = Checkpoint(_checkpoint_path(out, experiment))
    if rank() != 0:
        return run_experiment(experiment, split, checkpoint=checkpoint)
    logs = _logs(out, experiment)
    if not checkpoint.path.exists():  # what was logged before will be logged again
        shutil.rmtree(logs, ignore_errors=True)
    with ExitStack() as stack:
        stack.enter_context(checkpoint.interruptible())
        board = stack.enter_context(TensorBoard(logs, settings=_settings(experiment), alignment=alignment))
        return run_experiment(experiment, split, [Progress(), board], checkpoint)


def _discard(out: Path, experiment: Experiment) -> None:
    """Remove what a training wrote that would fail again, and the folder if it has no results."""
    _checkpoint_path(out, experiment).unlink(missing_ok=True)
    shutil.rmtree(_logs(out, experiment), ignore_errors=True)
    if not read_run_results(out):
        shutil.rmtree(out)


def _logs(out: Path, experiment: Experiment) -> Path:
    return out / "tensorboard" / f"{experiment.rule}-{experiment.seed}"


def _checkpoint_path(out: Path, experiment: Experiment) -> Path:
    return out / f"{experiment.rule}-{experiment.seed}.checkpoint"


def _settings(experiment: Experiment) -> dict[str, str | float]:
    """Return the hyperparameters that TensorBoard shows."""
    learn = experiment.recipe.learn
    return {
        "rule": experiment.rule,
        "net": experiment.net,
        "widths": " ".join(map(str, experiment.widths or WIDTHS[experiment.net])),
        "seed": experiment.seed,
        "epochs": learn.epochs,
        "batch": learn.batch,
        **{name: str(value) for name, value in experiment.recipe.settings.items()},
    }
