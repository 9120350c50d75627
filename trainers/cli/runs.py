"""The commands of `hebbian` that train: one rule, many rules, and a recorded run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainers.cli.options import DATA_FOLDER, JOBS_OPTION, check_rule, check_rules, training_options

if TYPE_CHECKING:
    from trainers.comparison.compare import Comparison

_OUT = click.Path(file_okay=False, path_type=Path)


@click.command("train")
@click.option("--rule", required=True, callback=check_rule, help="Learning rule; see `hebbian rules`.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--out",
    type=_OUT,
    help="New folder for the record, the results and the TensorBoard logs.  [default: none]",
)
@click.option("--resume", is_flag=True, help="Resume the interrupted training in the folder --out.")
@click.option(
    "--alignment",
    is_flag=True,
    help="Also log the angle between the updates of the rule and those of backprop; supervised rules.",
)
@training_options
def train_rule_command(
    rule: str,
    seed: int,
    out: Path | None,
    resume: bool,
    alignment: bool,
    folder: Path | None,
    **settings: Any,
) -> None:
    """Train a small network by a rule, and test it together with its controls.

    Every rule gets a network of the same widths and the same seed, with the activation, the centring, the
    initial weights and the learning rates that are recommended for it; so do the controls.  The frozen
    features are those of a network with ReLU, not of the rule's own.
    """
    from trainers.comparison.table import format_results
    from trainers.comparison.train import train_rules
    from trainers.data import load_data

    if out is None and (resume or alignment):
        raise click.UsageError(f"{'--resume' if resume else '--alignment'} needs the folder: --out")
    comparison = _comparison([rule], [seed], **settings)
    split = load_data(comparison.data, folder)
    if resume and out is not None and not (out / "run.json").exists():
        click.echo(f"{out}: no training to resume; it starts from the beginning.", err=True)
    try:
        results = train_rules(comparison, split, out, resume=resume, alignment=alignment)
    except KeyboardInterrupt:
        if out is not None:
            click.echo("Interrupted; the same command with --resume continues.", err=True)
        raise
    click.echo(format_results(results, len(split.y_test)))
    if out is not None:
        click.echo(f"The record is in {out}; for the curves: tensorboard --logdir {out / 'tensorboard'}")


@click.command("compare")
@click.option(
    "--rules",
    required=True,
    callback=check_rules,
    help="Comma-separated names, or `all`; see `hebbian rules`.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each rule.")
@click.option(
    "--out",
    required=True,
    type=_OUT,
    help="New folder, or that of the same comparison, which is then resumed.",
)
@click.option(
    "--search",
    "trials",
    type=click.IntRange(0),
    default=0,
    metavar="TRIALS",
    help="Rates to try for each rule first, evaluated on held-out training data (needs Optuna).",
)
@click.option(
    "--protocol",
    type=click.Choice(["joint", "split", "permuted"]),
    default="joint",
    show_default=True,
    help="Continual learning: tasks that are learned one after the other, either the classes divided among "
    "them or all classes with permuted values.",
)
@click.option(
    "--tasks",
    type=click.IntRange(2),
    default=5,
    show_default=True,
    help="Number of tasks of --protocol split or permuted.",
)
@JOBS_OPTION
@click.option(
    "--budget-minutes",
    type=click.FloatRange(0),
    default=float("inf"),
    help="No run begins after this time; the same command resumes later.",
)
@training_options
def compare_rules_command(
    rules: tuple[str, ...],
    seeds: int,
    out: Path,
    jobs: int,
    budget_minutes: float,
    folder: Path | None,
    **settings: Any,
) -> None:
    """Compare rules on the same data, network and seeds, each run in its own process.

    Every rule, the controls among them, has the activation, the centring, the initial weights and the
    learning rates that are recommended for it.  The frozen features are those of a network
    with ReLU, not of the other rules'.

    An interrupted comparison is resumed by the same command.  A run that fails is a row of the table that
    states why.
    """
    from trainers.comparison.compare import compare_rules
    from trainers.comparison.table import format_comparison
    from trainers.data import load_data

    comparison = _comparison(rules, range(seeds), **settings)
    split = load_data(comparison.data, folder)
    results = compare_rules(
        comparison,
        split,
        out,
        jobs=jobs,
        minutes=budget_minutes,
        report=lambda line: click.echo(line, err=True),
    )
    click.echo(format_comparison(results, len(comparison.experiments()) - len(results)))


@click.command("run")
@click.argument("record", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=_OUT, help="New folder.")
@JOBS_OPTION
@DATA_FOLDER
def run_command(record: Path, out: Path, jobs: int, folder: Path | None) -> None:
    """Repeat the run in RECORD, a run.json, and report whether the results are the same.

    On the same processor, results on a CPU are the same bit for bit.  On another one the sums of floats are
    made in another order; the record names the processor and each difference in accuracy is printed.
    """
    from trainers.comparison.repeat import ResultsDiffer, repeat_run

    if record.is_dir():
        raise click.BadParameter(f"{record} is a folder; specify its record, {record / 'run.json'}")
    if out.resolve() == record.parent.resolve():
        raise click.BadParameter(
            f"{out} contains the record itself; specify a new folder", param_hint="--out"
        )
    try:
        count = repeat_run(record, out, folder=folder, jobs=jobs)
    except ResultsDiffer as error:
        click.echo("\n".join(error.lines))
        raise
    click.echo(f"All {count} results are the same, bit for bit, on this processor.")


def _comparison(rules: Sequence[str], seeds: Sequence[int], controls: bool, **settings: Any) -> Comparison:
    from trainers.comparison.compare import Comparison, with_controls

    comparison = Comparison(with_controls(rules) if controls else tuple(rules), tuple(seeds), **settings)
    if unused := comparison.overrides.keys() - comparison.rules:
        click.echo(
            f"Note: --settings has tables of rules that are not run: {', '.join(sorted(unused))}", err=True
        )
    comparison.experiments()  # checks the settings before the data are read
    return comparison
