"""Options shared by the commands of `hebbian`, checked and converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainers.errors import SettingsError


def usage_error(group: click.Context, error: SettingsError) -> click.UsageError:
    """Return the error of an invalid setting, with the usage of the command that was called."""
    name = group.invoked_subcommand or ""
    command = group.command.get_command(group, name) if isinstance(group.command, click.Group) else None
    return click.UsageError(str(error), click.Context(command, group, name) if command else group)


def check_rule(ctx: click.Context, option: click.Parameter, name: str) -> str:
    """Return the name of a rule; a usage error names the closest ones."""
    from hebbian.registry import find_rule

    try:
        return find_rule(name).name
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def check_rules(ctx: click.Context, option: click.Parameter, names: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, each once; of ``all`` every rule for feed-forward nets."""
    from hebbian.registry import list_rules

    if names == "all":
        return tuple(name for name, info in list_rules().items() if "recurrent" not in info.traits)
    return tuple(dict.fromkeys(check_rule(ctx, option, name.strip()) for name in names.split(",")))


def _check_data(ctx: click.Context, option: click.Parameter, name: str) -> str:
    from trainers.data import data_sets

    if name not in data_sets():
        raise click.BadParameter(f"{name!r} is not one of {', '.join(data_sets())}")
    return name


def _check_device(ctx: click.Context, option: click.Parameter, device: str) -> str:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise click.BadParameter(str(error).splitlines()[0]) from error
    return device


def _read_settings(ctx: click.Context, option: click.Parameter, path: Path | None) -> dict[str, Any]:
    from trainers.comparison.recipe_overrides import read_overrides

    return {} if path is None else read_overrides(path)


DATA_FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with the files of the data.  [default: $HEBBIAN_DATA/<data>]",
)
JOBS_OPTION = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes at a time."
)
_TRAINING = (
    click.option(
        "--data",
        default="digits",
        show_default=True,
        callback=_check_data,
        help="digits, mnist, fashion-mnist, cifar10, or a set that a package registers; see `hebbian data`.",
    ),
    DATA_FOLDER,
    click.option(
        "--model",
        "net",
        type=click.Choice(["mlp", "convnet", "lenet"]),
        default="mlp",
        show_default=True,
        help="Network to train.",
    ),
    click.option(
        "--hidden",
        "widths",
        type=click.IntRange(1),
        multiple=True,
        help="Units of a hidden layer, or kernels of a convolution; repeat it for more layers.  "
        "[default: 100 for mlp, 16 and 32 for convnet]",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Epochs of the rule's own phase, and of the readout.  [default: those of the recipe]",
    ),
    click.option("--greedy", is_flag=True, help="Train the blocks one after the other; unsupervised rules."),
    click.option(
        "--finetune",
        type=click.IntRange(0),
        default=0,
        metavar="EPOCHS",
        help="Epochs of backprop through the whole network afterwards, for every rule.",
    ),
    click.option(
        "--settings",
        "overrides",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_read_settings,
        help="TOML file that changes recipes, by rule, with lines such as softhebb.learn.lr = 0.1.",
    ),
    click.option(
        "--controls/--no-controls",
        default=True,
        show_default=True,
        help="Also train by backprop and on frozen random features, each with the activation, centring, "
        "initial weights and learning rates of its own recipe; see run.json.",
    ),
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        callback=_check_device,
        help="Device as PyTorch names it: cpu, cuda, cuda:1.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="CPU threads of each run; more than one is faster for wide networks on an idle machine only.",
    ),
)


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options shared by the commands that train."""
    for option in reversed(_TRAINING):
        command = option(command)
    return command
