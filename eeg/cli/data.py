"""The `eeg` commands about recordings, without a model: simulate, inspect, audit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import Reporter, echo, end
from eeg.cli.options import DATA, FOLDER, ICTAL, JOBS, MACHINE, OUTSIDE, FloatRange

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@click.command("simulate", short_help="Write a cohort with known discharges.")
@click.argument("out", type=FOLDER)
@click.option("--subjects", type=click.IntRange(2), default=80, show_default=True)
@click.option("--minutes", type=FloatRange(1), default=5.0, show_default=True, help="Per subject.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@JOBS
def simulate_command(out: Path, subjects: int, minutes: float, seed: int, jobs: int) -> None:
    """Write a simulated cohort with known discharges to the new folder OUT, in BIDS layout."""
    from eeg.workflows.simulate import simulate

    simulate(out, subjects=subjects, minutes=minutes, seed=seed, jobs=jobs)
    echo(f"{subjects} simulated subjects of {minutes:g} min: {out}")


@click.command("inspect", short_help="List recordings and their problems.")
@click.argument("path", type=DATA)
@OUTSIDE
@ICTAL
@MACHINE
@click.option("--show-ids", is_flag=True, help="Show files, subjects and dates too.")
def inspect_command(path: Path, machine: bool, **options: Any) -> None:
    """List the recordings in PATH (a corpus, a table, a folder or a file) and their problems.

    Recordings are numbered; names and dates are not shown.  The exit code is 1 if a recording or its
    seizure annotations cannot be read.
    """
    from eeg.workflows.inspect import format_inspection, inspect_corpus

    found = inspect_corpus(path, **options)
    echo(_json(found) if machine else format_inspection(found))
    end([one for one in found.recordings if not one.readable])


@click.command("audit", short_help="Predict the diagnoses without any EEG.")
@click.argument("data", type=DATA)
@OUTSIDE
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@MACHINE
@JOBS
def audit_command(data: Path, outside: bool, machine: bool, **options: Any) -> None:
    """Evaluate how well facts of the recording predict the diagnoses in DATA, without any EEG.

    Date, hour, site, sex, age, device, sampling rate, duration, channels, filters and the band of the
    signal, one at a time, cross-validated by subject.  Values are compared and never shown.
    """
    from eeg.datasets import open_corpus
    from eeg.workflows.audit import audit, format_audit

    corpus, reporter = open_corpus(data, outside=outside), Reporter(machine)
    found = audit(corpus, **options, **reporter.callbacks)
    echo(_json(found) if machine else format_audit(corpus, found))
    end(reporter.failed)


def _json(facts: DataclassInstance) -> str:
    return json.dumps(asdict(facts), indent=2, ensure_ascii=False)
