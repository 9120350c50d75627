"""What several `eeg` commands do on their way: open a model, load a corpus, make a folder, end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from eeg.datasets import Corpus, Entry
    from eeg.detector.detector import Detector
    from eeg.evaluation.results import Results
    from eeg.preprocessing.quality import Policy
    from eeg.training.fit import Loaded
    from eeg.training.plan import Plan
    from trainers.errors import DataError


def opened(model: Path, network: str | None, quality: Policy | None = None) -> Detector:
    """Load a model's file or that of a folder, with the code and the --quality that are asked for."""
    from dataclasses import replace

    from eeg.detector.detector import load_detector

    found = load_detector(model / "model.safetensors" if model.is_dir() else model, network)
    return found if quality is None else replace(found, quality=quality)


def loaded_from(
    corpus: Corpus, settings: Plan | Detector, failed: list[Entry], machine: bool = False, **how: Any
) -> Loaded:
    """Load a corpus as `eeg.workflows.train.load_corpus`, and note in ``failed`` what is bad.

    What is left out is told to people, and not where a ``machine`` reads.
    """
    from eeg.workflows import train as train_workflow

    def note(entry: Entry, error: DataError) -> None:
        failed.append(entry)
        click.echo(f"Error: {error}; it is left out", err=True)

    loaded = train_workflow.load_corpus(
        corpus, settings.preprocessing, settings.window, policy=settings.quality, on_error=note, **how
    )
    click.echo(train_workflow.left_out(loaded), err=machine)
    return loaded


def about(plan: Plan, corpus: Corpus) -> str:
    """Tell in one line what judges which recordings."""
    from eeg.disclaimers import RESEARCH_USE

    kind = "SIMULATED" if corpus.simulated else "recorded"
    return (
        f"{plan.model} by {plan.rule}, labels: {plan.labels}, windows of {plan.window:g} s, "
        f"{len(plan.preprocessing.inputs)} channels, {corpus.name} ({kind}).  {RESEARCH_USE}"
    )


def echo_results(figures: Mapping[str, Results], plan: Plan) -> None:
    """Print what `eeg.workflows.train.recorded_results` gives for people."""
    from eeg.evaluation.results import describe_results, describe_results_audit
    from eeg.reporting.model_card import RESULT_TITLES

    told: set[str] = set()
    for key, results in figures.items():
        audit = describe_results_audit(results)
        click.echo(f"\n{RESULT_TITLES[key]}:\n{describe_results(results, plan)}\n")
        click.echo("Confounds: as above.\n" if audit in told else f"{audit}\n")
        told.add(audit)


def echo_json(facts: Mapping[str, Any]) -> None:
    """Print results for a machine, which is told as well what they are for."""
    import json

    from eeg.disclaimers import RESEARCH_USE
    from trainers.provenance import to_plain

    text = json.dumps({"statement": RESEARCH_USE, **to_plain(facts)})
    click.echo(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=2))  # JSON has no NaN


def one_thread() -> None:
    """Small networks gain nothing from more threads; --jobs takes the other cores."""
    import torch

    torch.set_num_threads(1)


def made(out: Path) -> Path:
    """Make the folder, or say that nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from error
    return out


def end(failed: object) -> None:
    """Leave with exit code 1 where something failed on the way."""
    if failed:
        raise SystemExit(1)
