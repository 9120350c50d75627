"""The `hebbian` command: which rules there are, and how one does on a small benchmark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hebbian.registry import Entry
    from trainers.compare import Result
    from trainers.data import Split


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Local learning rules for PyTorch models.  Research use only."""


@main.command()
@click.argument("name", required=False)
def rules(name: str | None) -> None:
    """List the rules, or tell all about the one called NAME."""
    from hebbian.registry import rules as known

    if name is not None:
        click.echo(_card(_find(name)))
        return
    rows = [(e.name, e.family, e.source, e.needs) for e in known().values()]
    click.echo(_table([("rule", "family", "source", "needs"), *rows]))


@main.command()
@click.option("--rule", "name", required=True, help="See `hebbian rules`.")
@click.option("--data", type=click.Choice(["digits", "mnist"]), default="digits", show_default=True)
@click.option("--model", type=click.Choice(["mlp"]), default="mlp", show_default=True)
@click.option(
    "--hidden",
    type=click.IntRange(1),
    multiple=True,
    default=(100,),
    show_default=True,
    help="Units of a hidden layer; repeat it for more layers.",
)
@click.option("--epochs", type=click.IntRange(1), help="Of the rule's own phase.  [default: its recipe's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for run.json and the TensorBoard logs; without it nothing is written.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where MNIST's four IDX files lie.  [default: $HEBBIAN_DATA/mnist]",
)
@click.option(
    "--controls/--no-controls",
    default=True,
    show_default=True,
    help="Train by backprop and on frozen random features as well.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="More than one pays off for wide nets on an idle machine only.",
)
def train(
    name: str,
    data: str,
    model: str,
    hidden: tuple[int, ...],
    epochs: int | None,
    seed: int,
    out: Path | None,
    folder: Path | None,
    controls: bool,
    threads: int,
) -> None:
    """Train a small net on images by a rule, and test it beside its controls.

    Every rule gets a net of the same widths and the same seed, with the activation, the first weights
    and the rates that are recommended for it.
    """
    import torch

    from trainers.compare import CONTROLS
    from trainers.record import versions, write

    torch.set_num_threads(threads)
    _find(name)
    images = _load(data, folder)
    if out is not None:
        _make(out)
    names = [name, *(c for c in CONTROLS if c != name)] if controls else [name]
    results = [_run(each, images, hidden, seed, epochs, out) for each in names]
    click.echo(_report(results, len(images.y_test)))
    if out is not None:
        settings = {
            "rule": name,
            "data": data,
            "model": model,
            "hidden": hidden,
            "epochs": epochs,
            "seed": seed,
            "threads": threads,
        }
        write(out / "run.json", {"settings": settings, "versions": versions(), "results": results})
        click.echo(
            f"The record is {out / 'run.json'}; for the curves: tensorboard --logdir {out / 'tensorboard'}"
        )


def _find(name: str) -> Entry:
    from hebbian.registry import find

    try:
        return find(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _load(data: str, folder: Path | None) -> Split:
    from trainers.errors import DataError
    from trainers.images import load_images

    if folder is None and (root := os.environ.get("HEBBIAN_DATA")):
        folder = Path(root, "mnist")
    try:
        return load_images(data, folder)
    except DataError as error:
        raise click.ClickException(str(error)) from error


def _make(out: Path) -> None:
    """Make the folder before hours are spent on what could not be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise click.BadParameter(f"{out} is not empty; name a new folder", param_hint="--out")
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be made: {error.strerror}", param_hint="--out") from error


def _run(
    name: str, images: Split, hidden: Sequence[int], seed: int, epochs: int | None, out: Path | None
) -> Result:
    from contextlib import ExitStack

    from trainers.callbacks import Progress
    from trainers.compare import run
    from visualizers.tensorboard import TensorBoard

    height, width = images.x_train.shape[1:]
    callbacks: list[object] = [Progress()]
    with ExitStack() as stack:
        if out is not None:
            callbacks.append(stack.enter_context(TensorBoard(out / "tensorboard" / name, (height, width))))
        try:
            return run(name, images, hidden, seed=seed, epochs=epochs, callbacks=callbacks)
        except (ValueError, TypeError, FloatingPointError) as error:
            raise click.ClickException(f"{name}: {error}") from error


def _report(results: Sequence[Result], n: int) -> str:
    rows = [
        (r.rule, f"{r.accuracy:.2%}", "{:.2%} to {:.2%}".format(*r.interval), f"{r.seconds:.1f}")
        for r in results
    ]
    return _table([("rule", f"accuracy on {n} test images", "95% interval", "seconds"), *rows])


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


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
