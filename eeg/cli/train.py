"""The `eeg` commands that train: one model, and many on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import Reporter, echo, echo_json, echo_results, end, resumable
from eeg.cli.options import (
    AUGMENT,
    CACHE,
    DATA,
    EPOCHS,
    FOLDER,
    FOLDS,
    ICTAL,
    JOBS,
    LABELS,
    MACHINE,
    MODEL_HELP,
    OUTSIDE,
    QUALITY,
    RECORDING_LABELS,
    RULE_HELP,
    SEED,
    WINDOW,
    FractionOrFile,
)
from eeg.threads import one_thread

if TYPE_CHECKING:
    from eeg.workflows.train import TrainingRun


@click.command("train", short_help="Train a detector, cross-validated by subject.")
@click.argument("data", type=DATA)
@OUTSIDE
@click.option("--out", type=FOLDER, required=True, help="A new folder for the model and its results.")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted training in the folder --out; without one there, start it.",
)
@click.option("--model", default="tvgg-gap", show_default=True, help=MODEL_HELP)
@click.option("--rule", default="backprop", show_default=True, help=RULE_HELP)
@click.option(
    "--finetune",
    is_flag=True,
    help="Pre-train with a rule without labels, also on recordings without a diagnosis; then use backprop.",
)
@AUGMENT
@LABELS
@click.option(
    "--channels", help="Comma-separated.  [default: the 19 of 10-20, or all of the first recording]"
)
@click.option(
    "--preset",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="0.5-45 Hz at 128 Hz and the mean logit, or the settings of Uyttenhove et al. 2020.",
)
@click.option(
    "--reference",
    type=click.Choice(["average", "mastoids", "bipolar", "laplacian"]),
    default="average",
    show_default=True,
    help="What each channel is referenced to.",
)
@click.option(
    "--notch",
    metavar="COUNTRY",
    help="Remove the power-line frequency: 50, 60 or an ISO 3166 country code.  [default: none up to 45 Hz; "
    "paper: 60]",
)
@WINDOW
@click.option(
    "--aggregation",
    type=click.Choice(["mean", "mean-probability", "top", "peak", "noisy-or", "attention", "chosen"]),
    help="How window scores become the score of a recording; chosen: selected inside each fold by one more "
    "training.  [default: mean for recording, noisy-or for bag, else top]",
)
@FOLDS
@click.option("--by-site", is_flag=True, help="Leave one site out per fold instead.")
@click.option(
    "--shuffle-labels",
    type=click.IntRange(0),
    metavar="SEED",
    help="Permute the diagnoses across subjects first (negative control: expect chance level).",
)
@click.option(
    "--hold-out",
    type=FractionOrFile(0, 0.9),
    default=0.0,
    show_default=True,
    help="Fraction of subjects held out of all training to test the final model, or a table (CSV, TSV) with "
    "their names in the column `subject`.",
)
@click.option(
    "--prototypes",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Number of training windows per class that the model stores, without names, for reports to compare "
    "segments with.  EEG can identify a person: ask the owner of the data.",
)
@EPOCHS
@SEED
@MACHINE
@QUALITY
@ICTAL
@CACHE
@JOBS
def train_command(data: Path, outside: bool, out: Path, machine: bool, **options: Any) -> None:
    """Train a detector on the corpus in DATA, cross-validated by subject.

    DATA is a folder (BIDS, TUEP, Guinea-Bissau) or a CSV with the columns path, subject and label.
    """
    from eeg.datasets import open_corpus
    from eeg.workflows.train import train

    one_thread()
    reporter = Reporter(machine)
    with resumable():
        run = train(open_corpus(data, outside=outside), out=out, **_parsed(options), **reporter.callbacks)
    _echo_run(run, out, machine)
    end(reporter.failed)


def _parsed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the command as `eeg.workflows.choices.make_plan` takes them."""
    names = options.get("channels")
    augment = options["augment"]
    return {
        **options,
        "channels": names and [name.strip() for name in names.split(",")],
        "augment": [a for a in augment if a != "none"] if augment else None,
    }


def _echo_run(run: TrainingRun, out: Path, machine: bool) -> None:
    model, card = str(out / "model.safetensors"), str(out / "card.md")
    if machine:
        echo_json({"model": model, "card": card, "results": run.all_results})
        return
    echo_results(run.all_results, run.plan)
    echo(f"Model: {model}   card: {card}")
    echo(f"Curves: tensorboard --logdir {out / 'tensorboard'}")


@click.command("compare", short_help="Models and rules on the same folds.")
@click.argument("data", type=DATA)
@OUTSIDE
@click.option("--out", type=FOLDER, help="A folder that stores the scores, so that another call continues.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["tangent-bands", "tvgg-gap"],
    show_default=True,
    help=f"{MODEL_HELP}  Or a feature model: svm, rf, tangent, tangent-bands.  Repeatable.",
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    default=["backprop"],
    show_default=True,
    help=f"{RULE_HELP}  Repeatable.",
)
@RECORDING_LABELS
@WINDOW
@FOLDS
@EPOCHS
@SEED
@MACHINE
@QUALITY
@ICTAL
@CACHE
@JOBS
def compare_command(data: Path, outside: bool, machine: bool, **options: Any) -> None:
    """Cross-validate models on the same folds of DATA: every network with every rule, and feature models.

    All are tested against the first.
    """
    from eeg.datasets import open_corpus
    from eeg.workflows.compare import compare_models

    one_thread()
    reporter = Reporter(machine)
    comparison = compare_models(open_corpus(data, outside=outside), **options, **reporter.callbacks)
    echo_json(vars(comparison)) if machine else echo(str(comparison))
    end(reporter.failed)
