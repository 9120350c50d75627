"""The `eeg` command: from recordings to an explained decision.  Research use only."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import click

from eeg.cli.anonymize import anonymize_command
from eeg.cli.common import create_out, echo, echo_error, only_results_to_stdout
from eeg.cli.data import audit_command, inspect_command, simulate_command
from eeg.cli.detect import detect_command, explain_command, merge_command
from eeg.cli.evaluate import card_command, evaluate_command
from eeg.cli.options import DEBUG, FOLDER, SEED
from eeg.cli.train import compare_command, train_command
from eeg.threads import one_thread
from trainers.cli.options import usage_error
from trainers.errors import DataError, SettingsError, describe_unexpected


class _OneLine(click.Group):
    """Turn any error into one line: exit code 1, or 2 for bad settings; keep stdout for results."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the option --debug."""
        assert cmd.callback is not None
        cmd.callback = only_results_to_stdout()(cmd.callback)
        cmd.params.append(DEBUG)
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with catch_warnings():
                # joblib replaces a worker that holds much memory, as one with long recordings does
                filterwarnings("ignore", "A worker stopped while some jobs were given")
                return super().invoke(ctx)
        except SettingsError as error:
            raise usage_error(ctx, error) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            known = isinstance(error, DataError)
            echo_error(error if known else DataError(describe_unexpected(error)))
            raise click.exceptions.Exit(1) from error


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Score routine EEG for epilepsy-like activity, and show which segments drove the score.

    Research use only: not a medical device.  A normal routine EEG does not exclude epilepsy.

    Exit codes: 0 for success; 1 if data cannot be used, even if only one of many recordings is left out;
    2 for a wrong command.
    """


for command in (
    simulate_command,
    inspect_command,
    audit_command,
    anonymize_command,
    train_command,
    compare_command,
    evaluate_command,
    card_command,
    detect_command,
    merge_command,
    explain_command,
):
    main.add_command(command)


@main.command("demo", short_help="The whole pipeline on a simulated cohort.")
@click.option("--out", type=FOLDER, default=Path("demo"), show_default=True, help="Output folder.")
@SEED
def demo_command(out: Path, seed: int) -> None:
    """Simulate a cohort, train on a part of it, detect and explain two recordings of the rest."""
    from eeg.workflows.demo import run_demo

    one_thread()
    run_demo(create_out(out), seed, echo)
