"""The `eeg` commands that train: one model, and many on the same folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import about, echo_json, echo_results, end, loaded_from, made, one_thread
from eeg.cli.options import (
    AUGMENT,
    CACHE,
    DATA,
    FOLDER,
    JOBS,
    LABELS,
    MACHINE,
    QUALITY,
    FloatRange,
    RenamedChoice,
    ShareOrFile,
)
from eeg.cli.plan import planned, refuse_misfits, refuse_unknown
from eeg.labels import LABEL_MODES

if TYPE_CHECKING:
    from eeg.datasets import Corpus, Entry
    from eeg.training.plan import Plan


@click.command(short_help="Train a detector, cross-validated by subject.")
@click.argument("data", type=DATA)
@click.option("--out", type=FOLDER, required=True, help="A new folder for the model and its figures.")
@click.option("--resume", is_flag=True, help="Go on with what was interrupted in the folder --out.")
@click.option(
    "--model",
    default="tvgg-gap",
    show_default=True,
    help="A network, e.g. eegnet (an unknown name lists all), or a package.module:function of yours.",
)
@click.option("--rule", default="backprop", show_default=True, help="See `hebbian rules`.")
@click.option(
    "--finetune",
    is_flag=True,
    help="Let a rule without labels learn first, also on recordings without a diagnosis, and then backprop.",
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
    help="0.5-45 Hz at 128 Hz and the mean logit, or as Uyttenhove et al. 2020 did it.",
)
@click.option(
    "--reference",
    type=click.Choice(["average", "mastoids", "bipolar", "laplacian"]),
    default="average",
    show_default=True,
    help="What each channel is measured against.",
)
@click.option(
    "--notch",
    metavar="COUNTRY",
    help="Take out the mains: 50, 60 or a country's two letters.  [default: none up to 45 Hz; paper: 60]",
)
@click.option("--window", type=FloatRange(0.5), help="Seconds.  [default: 10 for recording, else 2]")
@click.option(
    "--aggregation",
    type=click.Choice(["mean", "mean-probability", "top", "peak", "noisy-or", "attention", "chosen"]),
    help="From windows to a recording; chosen: inside each fold, at the cost of another training.  "
    "[default: mean for recording, noisy-or for bag, else top]",
)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--by-site", is_flag=True, help="Leave out one site in each fold instead.")
@click.option(
    "--shuffle-labels",
    type=click.IntRange(0),
    metavar="SEED",
    help="Deal the diagnoses out anew first: the control, which must find nothing.",
)
@click.option(
    "--hold-out",
    type=ShareOrFile(0, 0.9),
    default=0.0,
    show_default=True,
    help="Share of subjects kept from all training, to test the final model; or a table (CSV, TSV) whose "
    "column `subject` names them.",
)
@click.option(
    "--prototypes",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Windows of each class that the model keeps, without names, for reports to set segments beside: "
    "with and without a discharge for events, else of patients and controls.  EEG can tell by itself whose "
    "it is: ask its owner.",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@MACHINE
@QUALITY
@CACHE
@JOBS
def train(
    data: Path,
    out: Path,
    folds: int,
    by_site: bool,
    shuffle_labels: int | None,
    hold_out: float | Path,
    prototypes: int,
    resume: bool,
    machine: bool,
    cache: Path | None,
    jobs: int,
    **choices: Any,
) -> None:
    """Train a detector on the corpus in DATA, cross-validated by subject.

    DATA is a folder (BIDS, TUEP, Guinea-Bissau) or a CSV with the columns path, subject and label.
    """
    from functools import partial

    from eeg.datasets import open_corpus
    from eeg.datasets.splits import diagnosed, read_subjects
    from eeg.training.plan import Design
    from eeg.workflows import train as train_workflow
    from eeg.workflows.run_folder import finished

    one_thread()
    refuse_unknown(choices["model"], choices["rule"])
    corpus = open_corpus(data)
    plan = planned(corpus, **choices)
    refuse_misfits(plan, prototypes)
    if shuffle_labels is not None:
        corpus = _shuffled(corpus, plan, shuffle_labels)
    held = hold_out if isinstance(hold_out, float) else read_subjects(hold_out, corpus.entries)
    design = Design(folds, held, by_site, prototypes)
    failed: list[Entry] = []
    with _opened(out, resume, train_workflow.settings(plan, design, corpus), corpus):
        if not finished(out):
            design.split(diagnosed(corpus), plan.seed)  # refused, if need be, before all is loaded
            how: dict[str, Any] = {"folder": cache, "jobs": jobs, "unlabelled": plan.finetune}
            loaded = loaded_from(corpus, plan, failed, machine, **how)
            click.echo(about(plan, corpus), err=machine)
            train_workflow.run(
                plan, corpus, loaded, design, out=out, jobs=jobs, said=partial(click.echo, err=True)
            )
    if machine:
        files = {"model": str(out / "model.safetensors"), "card": str(out / "card.md")}
        echo_json({**files, "results": train_workflow.recorded_results(out)})
    else:
        echo_results(train_workflow.recorded_results(out), plan)
        click.echo(f"Model: {out / 'model.safetensors'}   card: {out / 'card.md'}")
        click.echo(f"Curves: tensorboard --logdir {out / 'tensorboard'}")
    end(failed)


_USUAL: dict[str, Any] = {
    "channels": None,
    "preset": "default",
    "reference": "average",
    "notch": None,
    "aggregation": None,
    "augment": (),
}
"""How `compare` prepares recordings and windows: as `train` does where nothing is said."""


@click.command(short_help="Models and rules on the same folds.")
@click.argument("data", type=DATA)
@click.option("--out", type=FOLDER, help="Where scores are kept, so that a second call goes on.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["tangent-bands", "tvgg-gap"],
    show_default=True,
    help="Once for each: as `eeg train` has them, or svm, rf, tangent, tangent-bands.",
)
@click.option(
    "--rule", "rules", multiple=True, default=["backprop"], show_default=True, help="Once for each."
)
@click.option(
    "--labels",
    type=RenamedChoice(list(LABEL_MODES)),
    default="recording",
    show_default=True,
    help="What networks learn; feature models learn each recording's diagnosis.",
)
@click.option("--window", type=FloatRange(0.5), help="Seconds.  [default: 10 for recording, else 2]")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@MACHINE
@QUALITY
@CACHE
@JOBS
def compare(
    data: Path,
    out: Path | None,
    models: tuple[str, ...],
    rules: tuple[str, ...],
    folds: int,
    machine: bool,
    cache: Path | None,
    jobs: int,
    **choices: Any,
) -> None:
    """Cross-validate models on the same folds of DATA: every network by every rule, and feature models.

    All are tested against the first.
    """
    from functools import partial

    from eeg.datasets import open_corpus
    from eeg.datasets.splits import diagnosed, split_folds
    from eeg.disclaimers import RESEARCH_USE
    from eeg.models.features import FEATURES
    from eeg.workflows import compare as comparison

    one_thread()
    corpus = open_corpus(data)
    plans = [
        planned(corpus, model=model, rule=rule, **choices, **_USUAL)
        for model in models
        for rule in (rules[:1] if model in FEATURES else rules)
    ]
    for plan in plans:
        if plan.model not in FEATURES:
            refuse_unknown(plan.model, plan.rule)
            refuse_misfits(plan)
    split_folds(diagnosed(corpus), folds, plans[0].seed)  # refused, if need be, before all is loaded
    failed: list[Entry] = []
    how: dict[str, Any] = {"folder": cache, "jobs": jobs}
    loaded = loaded_from(corpus, plans[0], failed, machine, **how)
    parts = split_folds(list(loaded), folds, plans[0].seed)
    said = partial(click.echo, err=True)
    rows = comparison.compare(plans, loaded, parts, jobs=jobs, folder=out and made(out), said=said)
    subjects = len({entry.subject for entry in loaded})
    if machine:
        echo_json({"subjects": subjects, "folds": folds, "rows": rows})
    else:
        click.echo(f"{corpus.name}{' (SIMULATED)' if corpus.simulated else ''}.  {RESEARCH_USE}")
        click.echo(comparison.as_text(rows, subjects))
    end(failed)


def _shuffled(corpus: Corpus, plan: Plan, seed: int) -> Corpus:
    """Deal the diagnoses out anew, where it is these that are learned."""
    from eeg.datasets import Corpus
    from eeg.datasets.splits import permute_labels

    if plan.labels == "events":
        raise click.UsageError("--shuffle-labels is a control of --labels recording")
    known = [entry for entry in corpus.entries if entry.label is not None]
    return Corpus(
        f"{corpus.name}, diagnoses shuffled (seed {seed})", permute_labels(known, seed), corpus.simulated
    )


@contextmanager
def _opened(out: Path, resume: bool, asked: Mapping[str, Any], corpus: Corpus) -> Iterator[None]:
    """Make a new folder, or make sure that it holds the training that is resumed, and keep others out."""
    from eeg.datasets.fingerprint import corpus_digest
    from eeg.workflows.run_folder import alone, refuse_changed, refuse_other, started, sweep_up

    with alone(made(out)):
        sweep_up(out)
        if resume and started(out):
            refuse_other(out, asked)
            refuse_changed(out, corpus_digest(corpus))
        elif any(out.iterdir()):
            raise click.BadParameter(
                f"{out} is not empty; name a new folder, or --resume a training that was interrupted there",
                param_hint="--out",
            )
        try:
            yield
        except KeyboardInterrupt:
            click.echo("Interrupted; the same command with --resume goes on.", err=True)
            raise
