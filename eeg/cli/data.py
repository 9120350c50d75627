"""The `eeg` commands about recordings, without a model: simulate, inspect, audit."""

from __future__ import annotations

from pathlib import Path

import click

from eeg.cli.common import end
from eeg.cli.options import DATA, FOLDER, JOBS, MACHINE, FloatRange


@click.command("simulate", short_help="Write a cohort with known discharges.")
@click.argument("out", type=FOLDER)
@click.option("--subjects", type=click.IntRange(2), default=80, show_default=True)
@click.option("--minutes", type=FloatRange(1), default=5.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@JOBS
def simulate_command(out: Path, subjects: int, minutes: float, seed: int, jobs: int) -> None:
    """Write a simulated cohort with known discharges to the new folder OUT, in BIDS layout."""
    from eeg.simulation.write_bids import write_cohort

    write_cohort(out, subjects=subjects, minutes=minutes, seed=seed, jobs=jobs)
    click.echo(f"{subjects} simulated subjects of {minutes:g} min: {out}")


@click.command("inspect", short_help="What is in a folder, and what is wrong with it.")
@click.argument("path", type=DATA)
@MACHINE
@click.option("--show-ids", is_flag=True, help="Tell files, subjects and dates too.")
def inspect_command(path: Path, machine: bool, show_ids: bool) -> None:
    """Show what is in PATH, a corpus, a table, a folder or a file, and what is wrong with it.

    Recordings are numbered; neither names nor dates are told.  The exit code is 1 where one, or
    what is annotated of its seizures, cannot be read.
    """
    from eeg.workflows.inspect import as_json, format_inspection, inspect_corpus

    found = inspect_corpus(path, show_ids=show_ids)
    click.echo(as_json(found) if machine else format_inspection(found))
    end([one for one in found.recordings if not one.readable])


@click.command("audit", short_help="What predicts the diagnoses without any EEG.")
@click.argument("data", type=DATA)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@MACHINE
@JOBS
def audit_command(data: Path, folds: int, seed: int, machine: bool, jobs: int) -> None:
    """Tell how well the diagnoses in DATA are predicted by how its recordings were made, without any EEG.

    Date, hour, site, sex, age, device, sampling rate, duration, channels, filters and the band of the
    signal, one at a time, cross-validated by subject.  Values are compared and never shown.
    """
    import json
    from dataclasses import asdict

    from eeg.datasets import open_corpus
    from eeg.datasets.splits import subjects_of
    from eeg.evaluation.confounds import as_text
    from eeg.evaluation.recording_metadata import audit_of, read_cues

    corpus = open_corpus(data)
    known = [entry for entry in corpus.entries if entry.label is not None]
    subjects_of(known)
    found = audit_of(read_cues(known, jobs), folds=folds, seed=seed)
    if machine:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{corpus.name}: {len(known)} recording(s), {len(subjects_of(known))} subject(s)")
    click.echo(as_text(found))
