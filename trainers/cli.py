"""The `hebbian` command: which rules and data there are; `trainers.cli_runs` has what trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainers.cli_runs import compare, find_rule, run, train

if TYPE_CHECKING:
    from hebbian.registry import Entry


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Local learning rules for PyTorch models.  Research use only."""


main.add_command(train)
main.add_command(compare)
main.add_command(run)


@main.command()
@click.argument("name", required=False)
def rules(name: str | None) -> None:
    """List the rules, or tell all about the one called NAME."""
    from hebbian.registry import rules as known
    from trainers.table import text

    if name is not None:
        click.echo(_card(find_rule(name)))
        return
    rows = [(e.name, e.family, e.source, e.needs) for e in known().values()]
    click.echo(text([("rule", "family", "source", "needs"), *rows]))


@main.command()
def data() -> None:
    """List the data sets, also those that installed packages register."""
    from trainers.catalogue import data_sets

    click.echo("\n".join(data_sets()))


def _card(entry: Entry) -> str:
    supervised = "labels" if entry.supervised else "no labels; a readout follows"
    return "\n".join(
        (
            f"{entry.name} ({entry.family})",
            f"  equation  {entry.equation}",
            f"  source    {entry.source}",
            f"  needs     {entry.needs}",
            f"  oracle    {entry.oracle}",
            f"  learns by {supervised}",
        )
    )
