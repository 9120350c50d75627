"""The `eeg` command that de-identifies recordings."""

from __future__ import annotations

from pathlib import Path

import click

from eeg.cli.common import echo, echo_error, echo_json, end
from eeg.cli.options import DATA, MACHINE


@click.command("anonymize", short_help="Write de-identified copies of recordings.")
@click.argument("source", type=DATA)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--keep-annotations", is_flag=True, help="Keep all annotations, also free text.")
@click.option("--keep-time", is_flag=True, help="Keep the time of day of the start.")
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file for the table of copies and their sources: keep it secret.",
)
@MACHINE
def anonymize_command(
    source: Path, out: Path, keep_annotations: bool, keep_time: bool, key: Path | None, machine: bool
) -> None:
    """Write de-identified EDF+ copies of SOURCE, a recording or a folder of them, to the new folder OUT.

    Names, dates and other free texts of the header are removed, and the start is 1985-01-01.  Annotations
    are kept if they are codes: seizures, discharges, sleep stages, artefacts, activations, triggers.  Each
    copy is audited before it gets its name.
    """
    from eeg.workflows.anonymize import anonymize, format_anonymization

    found = anonymize(
        source, out, keep_annotations=keep_annotations, keep_time=keep_time, key=key, on_error=echo_error
    )
    if machine:
        echo_json(vars(found))
    else:
        echo(format_anonymization(found))
    end(found.failed)
