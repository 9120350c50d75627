"""The `eeg` commands that report on a model: its results and its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import Reporter, echo, echo_json, echo_results, end
from eeg.cli.options import (
    CACHE,
    DATA,
    FOLDER,
    JOBS,
    MACHINE,
    METHOD,
    NETWORK,
    OUTSIDE,
    TRAINED_ICTAL,
    TRAINED_QUALITY,
)
from eeg.threads import one_thread

if TYPE_CHECKING:
    from eeg.detector.detector import Detector
    from eeg.preprocessing.quality import Policy
    from eeg.workflows.evaluate import Evaluation


@click.command("evaluate", short_help="Evaluate a model on new subjects.")
@click.argument("model", type=FOLDER)
@click.argument("data", type=DATA, required=False)
@OUTSIDE
@NETWORK
@click.option(
    "--against", type=FOLDER, metavar="MODEL", help="Another model, to compare on the same subjects."
)
@METHOD
@TRAINED_QUALITY
@TRAINED_ICTAL
@CACHE
@JOBS
@MACHINE
def evaluate_command(
    model: Path,
    data: Path | None,
    outside: bool,
    network: str | None,
    against: Path | None,
    quality: Policy | None,
    ictal: str | None,
    machine: bool,
    **options: Any,
) -> None:
    """Evaluate MODEL, a folder that `eeg train` wrote, on the recordings in DATA that it was not trained on.

    Without DATA, show the results of its training again.
    """
    from eeg.datasets import open_corpus
    from eeg.workflows.evaluate import evaluate
    from eeg.workflows.load_model import load_model

    one_thread()
    detector = load_model(model, network, quality, ictal)
    rival = None if against is None else load_model(against, network, quality, ictal)
    if data is None:
        _echo_training(detector, model, rival, machine)
        return
    reporter = Reporter(machine)
    evaluation = evaluate(
        detector, open_corpus(data, outside=outside), against=rival, **options, **reporter.callbacks
    )
    _echo_evaluation(evaluation, options["method"], machine)
    end(reporter.failed)


def _echo_training(detector: Detector, run: Path, rival: Detector | None, machine: bool) -> None:
    from eeg.disclaimers import RESEARCH_USE
    from eeg.workflows.evaluate import plan_of
    from eeg.workflows.train import read_results

    if rival is not None:
        raise click.UsageError("--against needs DATA that both models can be evaluated on")
    if machine:
        echo_json({"results": read_results(run)})
        return
    echo_results(read_results(run), plan_of(detector))
    echo(RESEARCH_USE)


def _echo_evaluation(evaluation: Evaluation, method: str, machine: bool) -> None:
    from eeg.evaluation.results_text import describe_results, describe_results_audit

    results, precision, against = evaluation.results, evaluation.precision, evaluation.against
    if machine:
        seen = {"left_out_as_seen": evaluation.excluded}
        echo_json({"results": results, **seen, "precision": precision, "against": against})
        return
    if evaluation.excluded:
        echo(f"{evaluation.excluded} recording(s) of training subjects are excluded.")
    echo(f"{describe_results(results, evaluation.plan)}\n\n{describe_results_audit(results)}")
    if precision is not None:
        echo(precision.describe(method))
    if against is not None:
        echo(str(against))


@click.command("card", short_help="Print the model card.")
@click.argument("model", type=click.Path(path_type=Path))
@NETWORK
def card_command(model: Path, network: str | None) -> None:
    """Print the card of MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.reporting.model_card import render_card
    from eeg.workflows.load_model import load_model

    echo(render_card(load_model(model, network)))
