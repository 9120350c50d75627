"""The verbs of `hebbian` that train: one rule, many rules, and a recorded run once more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hebbian.registry import Entry
    from trainers.comparison.compare import Comparison
    from trainers.comparison.experiment import Experiment, Result
    from trainers.data.batches import Split

_DATA = click.option(
    "--data",
    default="digits",
    show_default=True,
    help="digits, mnist, fashion-mnist, cifar10, or one that a package registers; see `hebbian data`.",
)
_FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files of the data lie.  [default: $HEBBIAN_DATA/<data>]",
)
_OPTIONS = (
    _DATA,
    _FOLDER,
    click.option("--model", type=click.Choice(["mlp", "convnet", "lenet"]), default="mlp", show_default=True),
    click.option(
        "--hidden",
        type=click.IntRange(1),
        multiple=True,
        help="Units of a hidden layer, or kernels of a convolution; repeat it for more layers.  "
        "[default: 100 for mlp, 16 and 32 for convnet]",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Of a rule's own phase, and of the readout where one follows.  [default: its recipe's]",
    ),
    click.option(
        "--greedy", is_flag=True, help="Let rules without labels learn block by block; not the others."
    ),
    click.option(
        "--finetune",
        type=click.IntRange(0),
        default=0,
        metavar="EPOCHS",
        help="Let every rule be followed by so many epochs of backprop through the whole net.",
    ),
    click.option(
        "--settings",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A TOML file that changes recipes, by rule: [softhebb] learn = {lr = 0.1}.",
    ),
    click.option(
        "--controls/--no-controls",
        default=True,
        show_default=True,
        help="Train by backprop and on frozen random features as well, each with a net and rates of its own "
        "recipe: see the activation, the centring and the first weights in run.json.",
    ),
    click.option("--device", default="cpu", show_default=True, help="As torch names it: cpu, cuda, cuda:1."),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Of each run; more than one pays off for wide nets on an idle machine only.",
    ),
)


def _training(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all verbs share that begin a training."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("train")
@click.option("--rule", required=True, help="See `hebbian rules`.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for the record, the results and the TensorBoard logs; without it nothing is written.",
)
@click.option("--resume", is_flag=True, help="Go on with what was interrupted in the folder --out.")
@click.option(
    "--alignment",
    is_flag=True,
    help="Also log the angle between the rule's updates and backprop's, for rules with labels.",
)
@_training
def train_command(
    rule: str,
    seed: int,
    out: Path | None,
    resume: bool,
    alignment: bool,
    folder: Path | None,
    **options: Any,
) -> None:
    """Train a small net by a rule, and test it beside its controls.

    Every rule gets a net of the same widths and the same seed, with the activation, the centring, the first
    weights and the rates that are recommended for it; so do the controls.  The frozen features are those of
    a net with ReLU, not of the rule's own.
    """
    comparison = _comparison([rule], [seed], **options)
    for flag, given in (("--resume", resume), ("--alignment", alignment)):
        if given and out is None:
            raise click.UsageError(f"{flag} needs the folder: --out")
    _train(comparison, _load(comparison.data, folder), out, resume=resume, alignment=alignment)


@click.command("compare")
@click.option("--rules", required=True, help="Names with commas between, or `all`; see `hebbian rules`.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each rule.")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder, or that of the same comparison, which is then gone on with.",
)
@click.option(
    "--search",
    type=click.IntRange(0),
    default=0,
    metavar="TRIALS",
    help="Try so many rates for each rule first, judged on held-out training data (needs Optuna).",
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time.")
@click.option(
    "--budget-minutes",
    type=click.FloatRange(0),
    default=float("inf"),
    help="No run begins after this time; the same command goes on later.",
)
@_training
def compare_command(
    rules: str,
    seeds: int,
    out: Path,
    search: int,
    jobs: int,
    budget_minutes: float,
    folder: Path | None,
    **options: Any,
) -> None:
    """Compare rules on the same data, net and seeds.

    Each run has a process of its own.

    Every rule, the controls among them, has the activation, the centring, the first weights and the rates
    that are recommended for it.  The frozen features are those of a net with ReLU, not of the other rules'.

    Whatever ends it, the same command goes on where it stopped.  A run that fails is a row of the table
    that says so.
    """
    from hebbian.registry import rules as known

    names = list(known()) if rules == "all" else [name.strip() for name in rules.split(",")]
    comparison = _comparison(names, range(seeds), trials=search, **options)
    _compare(comparison, _load(comparison.data, folder), out, jobs, budget_minutes)


@click.command("run")
@click.argument("record", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="A new folder.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Of a comparison.")
@_FOLDER
def run_command(record: Path, out: Path, jobs: int, folder: Path | None) -> None:
    """Repeat the run in RECORD, a run.json.

    Tell whether it comes out the same.
    """
    from trainers.comparison.compare import Comparison
    from trainers.comparison.results import read_results, unequal
    from trainers.provenance import differences, read_record

    if out.resolve() == record.parent.resolve():
        raise click.BadParameter(f"{out} holds the record itself; name a new folder", param_hint="--out")
    with _one_line():
        before = read_record(record)
        comparison = Comparison.recorded(before)
        expected = read_results(record.parent)
    split = _load(comparison.data, folder)
    if before["command"] == "train":
        _train(comparison, split, out)
    else:
        _compare(comparison, split, out, jobs, float("inf"))
    if not expected:
        raise click.ClickException(f"{record.parent} holds no results to compare with; see those in {out}")
    lines = unequal(expected, read_results(out))
    if not lines:
        click.echo(f"All {len(expected)} results are the same, bit for bit.")
        return
    notes = differences(before, read_record(out / "run.json"))
    click.echo("\n".join((*lines, *(f"({note})" for note in notes))))
    raise click.ClickException(f"{len(lines)} of {len(expected)} results differ")


def find_rule(name: str) -> Entry:
    """Return a rule, or end the command with the nearest names."""
    from hebbian.registry import find

    try:
        return find(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what bad input raises into one line and exit code 1."""
    try:
        yield
    except (ValueError, TypeError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error


def _comparison(
    rules: Sequence[str],
    seeds: Sequence[int],
    *,
    model: str,
    hidden: tuple[int, ...],
    settings: Path | None,
    controls: bool,
    device: str,
    **options: Any,
) -> Comparison:
    import torch

    from trainers.comparison.compare import Comparison, with_controls
    from trainers.comparison.recipe_overrides import read_overrides

    for name in rules:
        find_rule(name)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise click.BadParameter(str(error).splitlines()[0], param_hint="--device") from error
    with _one_line():
        return Comparison(
            rules=with_controls(rules) if controls else tuple(dict.fromkeys(rules)),
            seeds=tuple(seeds),
            net=model,  # type: ignore[arg-type]  # click has checked it
            widths=hidden,
            overrides={} if settings is None else read_overrides(settings),
            device=device,
            **options,
        )


def _load(name: str, folder: Path | None) -> Split:
    from trainers.data import data_sets, load_data

    if name not in data_sets():
        raise click.BadParameter(f"{name!r} is not one of {', '.join(data_sets())}", param_hint="--data")
    if folder is None and (root := os.environ.get("HEBBIAN_DATA")):
        folder = Path(root, name)
    with _one_line():
        return load_data(name, folder)


def _train(
    comparison: Comparison,
    split: Split,
    out: Path | None,
    *,
    resume: bool = False,
    alignment: bool = False,
) -> None:
    """Train rule after rule; of several processes (`trainers.distributed`) the first one writes."""
    import torch

    from trainers.comparison.results import new_folder, open_folder, read_results, write_results
    from trainers.distributed import rank

    torch.set_num_threads(comparison.threads)
    with _one_line():
        results = {} if out is None else {(r.rule, r.seed): r for r in read_results(out)}
        if out is not None and rank() == 0:
            if not resume:
                new_folder(out)
            open_folder(out, comparison.as_record("train", split))
    wanted = [(e.rule, e.seed) for e in comparison.experiments()]
    for experiment in comparison.experiments():
        if (experiment.rule, experiment.seed) in results:
            continue
        results[experiment.rule, experiment.seed] = _one(experiment, split, out, alignment)
        if out is not None and rank() == 0:
            write_results(out, list(results.values()))
            _checkpoint(out, experiment).unlink(missing_ok=True)
    click.echo(_report([results[key] for key in wanted], len(split.y_test)))
    if out is not None:
        click.echo(f"The record is in {out}; for the curves: tensorboard --logdir {out / 'tensorboard'}")


def _one(experiment: Experiment, split: Split, out: Path | None, alignment: bool) -> Result:
    from trainers.callbacks import Progress
    from trainers.checkpoint import Checkpoint
    from trainers.comparison.experiment import run_experiment
    from trainers.distributed import rank
    from visualizers.tensorboard import TensorBoard

    checkpoint = None if out is None else Checkpoint(_checkpoint(out, experiment))
    callbacks: list[object] = [Progress()]
    with ExitStack() as stack:
        if out is not None and checkpoint is not None and rank() == 0:
            stack.enter_context(checkpoint.interruptible())
            logs = out / "tensorboard" / f"{experiment.rule}-{experiment.seed}"
            if not checkpoint.path.exists():  # what was logged before is trained anew
                shutil.rmtree(logs, ignore_errors=True)
            board = TensorBoard(logs, settings=_settings(experiment), alignment=alignment)
            callbacks.append(stack.enter_context(board))
        try:
            return run_experiment(experiment, split, callbacks, checkpoint)
        except (ValueError, TypeError, FloatingPointError) as error:
            raise click.ClickException(f"{experiment.rule}: {error}") from error


def _settings(experiment: Experiment) -> dict[str, str | float]:
    """Tell an experiment in few words, for the page of hyper-parameters."""
    from trainers.comparison.experiment import WIDTHS

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


def _checkpoint(out: Path, experiment: Experiment) -> Path:
    return out / f"{experiment.rule}-{experiment.seed}.checkpoint"


def _compare(comparison: Comparison, split: Split, out: Path, jobs: int, minutes: float) -> None:
    from trainers.comparison.compare import compare_rules
    from trainers.comparison.table import HEAD, format_cells, summarise, text

    with _one_line():
        results = compare_rules(
            comparison, split, out, jobs=jobs, minutes=minutes, said=lambda line: click.echo(line, err=True)
        )
    if results:
        click.echo(text([HEAD, *map(format_cells, summarise(results))]))
    if missing := len(comparison.experiments()) - len(results):
        click.echo(f"{missing} runs are missing; the same command goes on with them.")


def _report(results: Sequence[Result], n: int) -> str:
    from trainers.comparison.table import text

    rows = [
        (r.rule, f"{r.accuracy:.2%}", f"{r.low:.2%} to {r.high:.2%}", f"{r.seconds:.1f}", f"{r.seed}")
        for r in results
    ]
    return text([("rule", f"accuracy on {n} test samples", "95% interval", "seconds", "seed"), *rows])
