"""The `hebbian` command: which rules and data there are; `trainers.cli.runs` has what trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainers.cli.runs import compare_command, run_command, train_command

if TYPE_CHECKING:
    from hebbian.registry import Card


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Local learning rules for PyTorch models.  Research use only."""


main.add_command(train_command)
main.add_command(compare_command)
main.add_command(run_command)


@main.command("rules")
@click.argument("name", required=False)
def rules_command(name: str | None) -> None:
    """List the rules, or tell all about the one called NAME.

    Associative memories and the genomic bottleneck stand at the end: from Python they are used by themselves.
    """
    from hebbian import registry
    from trainers.comparison.table import text

    if name is not None:
        try:
            click.echo(_told(registry.card(name)))
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return
    rows = [(c.name, c.family, c.source, c.needs) for c in (*registry.rules().values(), *registry.MODULES)]
    click.echo(text([("rule", "family", "source", "needs"), *rows]))


@main.command("data")
def data_command() -> None:
    """List the data sets, also those that installed packages register."""
    from trainers.data import data_sets

    click.echo("\n".join(data_sets()))


def _told(card: Card) -> str:
    from hebbian.registry import Entry

    lines = [
        f"{card.name} ({card.family})",
        f"  equation  {card.equation}",
        f"  source    {card.source}",
        f"  needs     {card.needs}",
        f"  oracle    {card.oracle}",
    ]
    if isinstance(card, Entry):
        lines.append(f"  learns by {'labels' if card.supervised else 'no labels; a readout follows'}")
    return "\n".join(lines)
