"""The `eeg` commands that tell what a model is worth: its figures and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli_options import CACHE, DATA, FOLDER, JOBS, METHOD, NETWORK, TRAINED_QUALITY
from eeg.cli_steps import about, end, loaded_from, one_thread, opened

if TYPE_CHECKING:
    from eeg.datasets import Entry
    from eeg.quality import Policy


@click.command(short_help="Judge a model on subjects it has not seen.")
@click.argument("run", type=FOLDER)
@click.argument("data", type=DATA, required=False)
@NETWORK
@click.option("--against", type=FOLDER, metavar="RUN", help="Another model, to compare on the same subjects.")
@METHOD
@TRAINED_QUALITY
@CACHE
@JOBS
def evaluate(
    run: Path,
    data: Path | None,
    network: str | None,
    against: Path | None,
    method: str,
    quality: Policy | None,
    cache: Path | None,
    jobs: int,
) -> None:
    """Judge the model of RUN on the recordings in DATA that it was not trained on.

    Without DATA, show the figures of the subjects that its training kept unseen.
    """
    from eeg import runs
    from eeg.datasets import open_corpus
    from eeg.results import describe
    from eeg.statements import RESEARCH_USE

    one_thread()
    detector = opened(run, network, quality)
    plan = runs.plan_of(detector)
    if data is None:
        if against is not None:
            raise click.UsageError("--against needs DATA that both models can judge")
        for title, results in runs.recorded_results(run):
            click.echo(f"{title}:\n{describe(results, plan)}\n")
        click.echo(RESEARCH_USE)
        return
    corpus = open_corpus(data)
    failed: list[Entry] = []
    how: dict[str, Any] = {"folder": cache, "jobs": jobs}
    loaded = loaded_from(corpus, detector, failed, **how)
    scored, seen = runs.unseen(detector, corpus, loaded)
    click.echo(about(plan, corpus))
    if seen:
        click.echo(f"{seen} recording(s) were in its training data and are left out.")
    click.echo(describe(runs.judged(detector, scored), plan))
    found = runs.explained(detector, scored, method)
    if found is not None:
        click.echo(found.describe(method))
    if against is not None:
        rival = opened(against, network, quality)
        others = loaded_from(corpus, rival, [], **how)
        click.echo(runs.compared(scored, runs.unseen(rival, corpus, others)[0]))
    end(failed)


@click.command(short_help="Print what a model is and is not.")
@click.argument("model", type=click.Path(path_type=Path))
@NETWORK
def card(model: Path, network: str | None) -> None:
    """Print the card of MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.card import card as written

    click.echo(written(opened(model, network)))
