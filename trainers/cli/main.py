"""The `hebbian` command."""

from __future__ import annotations

from typing import Any

import click

from trainers.cli.options import usage_error
from trainers.cli.runs import compare_rules_command, run_command, train_rule_command
from trainers.errors import SettingsError


class _OneLine(click.Group):
    """Turn bad data into one line and exit code 1, bad settings into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise usage_error(ctx, error) from error
        except ValueError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Local learning rules for PyTorch models.  Research use only."""


main.add_command(train_rule_command)
main.add_command(compare_rules_command)
main.add_command(run_command)


@main.command("rules")
@click.argument("name", required=False)
def rules_command(name: str | None) -> None:
    """List the rules, or describe the one called NAME.

    The last rows are associative memories and the genomic bottleneck, which are used from Python.
    """
    from trainers.cli.rules import format_rule, format_rules

    try:
        click.echo(format_rules() if name is None else format_rule(name))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@main.command("data")
def data_command() -> None:
    """List the data sets, including those that installed packages register."""
    from trainers.data import data_sets

    click.echo("\n".join(data_sets()))
