"""The `eeg` command: from recordings to an explained decision.  Research use only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eeg.cli.common import made, one_thread
from eeg.cli.data import audit_command, inspect_command, simulate_command
from eeg.cli.detect import detect_command, explain_command
from eeg.cli.evaluate import card, evaluate
from eeg.cli.options import FOLDER
from eeg.cli.train import compare, train
from trainers.errors import DataError


class _OneLine(click.Group):
    """Turn bad data into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except DataError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Score routine EEG for epilepsy-like activity, and show which segments drove the score.

    Research use only: not a medical device.  A normal routine EEG does not exclude epilepsy.

    Exit codes: 0 where all went well; 1 where data cannot be used, be it one recording among many, of which
    the others are done nevertheless; 2 where a command is mistaken.
    """


for command in (
    simulate_command,
    inspect_command,
    audit_command,
    train,
    compare,
    evaluate,
    card,
    detect_command,
    explain_command,
):
    main.add_command(command)


@main.command(short_help="The whole job on a simulated cohort.")
@click.option("--out", type=FOLDER, default=Path("demo"), show_default=True, help="Where everything goes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Simulate a cohort, train on a part of it, detect and explain a recording of the rest."""
    from eeg.workflows.demo import run

    one_thread()
    run(made(out), seed, click.echo)
