"""The `eeg` commands that tell what a model is worth: its figures and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import about, echo_json, echo_results, end, loaded_from, one_thread, opened
from eeg.cli.options import CACHE, DATA, FOLDER, JOBS, MACHINE, METHOD, NETWORK, TRAINED_QUALITY

if TYPE_CHECKING:
    from eeg.datasets import Entry
    from eeg.preprocessing.quality import Policy
    from eeg.training.plan import Plan


@click.command(short_help="Judge a model on subjects it has not seen.")
@click.argument("run", type=FOLDER)
@click.argument("data", type=DATA, required=False)
@NETWORK
@click.option("--against", type=FOLDER, metavar="RUN", help="Another model, to compare on the same subjects.")
@METHOD
@TRAINED_QUALITY
@CACHE
@JOBS
@MACHINE
def evaluate(
    run: Path,
    data: Path | None,
    network: str | None,
    against: Path | None,
    method: str,
    quality: Policy | None,
    cache: Path | None,
    jobs: int,
    machine: bool,
) -> None:
    """Judge the model of RUN on the recordings in DATA that it was not trained on.

    Without DATA, show the figures of the subjects that its training kept unseen.
    """
    from eeg.datasets import open_corpus
    from eeg.evaluation.results import describe_results, describe_results_audit
    from eeg.workflows import evaluate

    one_thread()
    detector = opened(run, network, quality)
    plan = evaluate.plan_of(detector)
    if data is None:
        if against is not None:
            raise click.UsageError("--against needs DATA that both models can judge")
        _show(run, plan, machine)
        return
    corpus = open_corpus(data)
    failed: list[Entry] = []
    how: dict[str, Any] = {"machine": machine, "folder": cache, "jobs": jobs}
    loaded = loaded_from(corpus, detector, failed, **how)
    scored, seen = evaluate.unseen(detector, corpus, loaded)
    click.echo(about(plan, corpus), err=machine)
    results = evaluate.judged(detector, scored)
    precision = evaluate.explained(detector, scored, method)
    versus = None
    if against is not None:
        rival = opened(against, network, quality)
        others = loaded_from(corpus, rival, [], **how)
        versus = evaluate.compared(scored, evaluate.unseen(rival, corpus, others)[0])
    if machine:
        found = {"results": results, "left_out_as_seen": seen, "precision": precision, "against": versus}
        echo_json(found)
    else:
        if seen:
            click.echo(f"{seen} recording(s) were in its training data and are left out.")
        click.echo(f"{describe_results(results, plan)}\n\n{describe_results_audit(results)}")
        if precision is not None:
            click.echo(precision.describe(method))
        if versus is not None:
            click.echo(versus)
    end(failed)


def _show(run: Path, plan: Plan, machine: bool) -> None:
    """Print the figures of a training once more."""
    from eeg.disclaimers import RESEARCH_USE
    from eeg.workflows.train import recorded_results

    if machine:
        echo_json({"results": recorded_results(run)})
        return
    echo_results(recorded_results(run), plan)
    click.echo(RESEARCH_USE)


@click.command(short_help="Print what a model is and is not.")
@click.argument("model", type=click.Path(path_type=Path))
@NETWORK
def card(model: Path, network: str | None) -> None:
    """Print the card of MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.reporting.model_card import render_card

    click.echo(render_card(opened(model, network)))
