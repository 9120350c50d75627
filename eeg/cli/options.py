"""Options shared by the `eeg` commands."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from eeg.cli.common import store_debug
from eeg.labels import AUGMENTATIONS, LABEL_MODES, RENAMED


class FloatRange(click.FloatRange):
    """A range without NaN, which compares as within every range, and without infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class FractionOrFile(FloatRange):
    """A number within a range, or the path of a file."""

    name = "fraction or file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or the path."""
        if isinstance(value, str) and Path(value).is_file():
            return Path(value)
        return super().convert(value, param, ctx)


class RenamedChoice(click.Choice[str]):
    """A choice that names the new word for a former one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the choice."""
        if value not in self.choices and RENAMED.get(value) in self.choices:
            self.fail(f"{value!r} is now called {RENAMED[value]!r}", param, ctx)
        return super().convert(value, param, ctx)


class MethodName(click.ParamType[str]):
    """The name of a registered attribution method; only a command that runs loads the methods."""

    name = "method"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        from eeg.explanation.attribution import METHODS

        if value not in METHODS:
            self.fail(f"{value!r} is not one of {', '.join(METHODS)}", param, ctx)
        return str(value)


class Shard(click.ParamType[tuple[int, int]]):
    """One of several parts, as ``2/10``."""

    name = "shard"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return the number of the part, from 1, and how many there are."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value)
        part, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= part <= count:
            self.fail(f"{value!r} is not a part; expected I/N with I from 1 to N, as 2/10", param, ctx)
        return part, count


DEBUG = click.Option(
    ["--debug"],
    is_flag=True,
    expose_value=False,
    callback=store_debug,
    help="Show the traceback of every error; it may quote the data.",
)
FOLDER = click.Path(file_okay=False, path_type=Path)
DATA = click.Path(path_type=Path)  # a corpus, or the table of one
OUTSIDE = click.option("--outside", is_flag=True, help="Allow paths and links in DATA that leave its folder.")
JOBS = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Number of parallel processes."
)
MACHINE = click.option("--json", "machine", is_flag=True, help="Print the result as JSON.")
_POLICY = click.Choice(["keep", "exclude", "strict"])
_POLICIES = (
    "Keep all windows, exclude those with flat or clipped signal, or also those with blinks and muscle, "
    "which discharges can resemble.  Seizures are never kept: they are not interictal."
)
QUALITY = click.option("--quality", type=_POLICY, default="exclude", show_default=True, help=_POLICIES)
TRAINED_QUALITY = click.option(
    "--quality", type=_POLICY, help=f"{_POLICIES}  [default: as in the training of MODEL]"
)
_ICTAL = (
    "Which annotations mark a seizure, whose EEG is left out: auto, words for it in several languages but "
    "not remarks such as 'no seizure'; none; or your own words, separated by commas."
)
ICTAL = click.option("--ictal", metavar="auto|none|WORDS", default="auto", show_default=True, help=_ICTAL)
TRAINED_ICTAL = click.option(
    "--ictal", metavar="auto|none|WORDS", help=f"{_ICTAL}  [default: as in the training of MODEL]"
)
CACHE = click.option("--cache", type=FOLDER, help="A folder that stores preprocessed windows for later runs.")
METHOD = click.option(
    "--method",
    type=MethodName(),
    default="occlusion",
    show_default=True,
    help="Attribution method, e.g. integrated-gradients (an unknown name lists all).",
)
RULE_HELP = "See `hebbian rules`."
MODEL_HELP = "A network, e.g. eegnet (an unknown name lists all), or a package.module:function of yours."
_LABEL_MODE = RenamedChoice(list(LABEL_MODES))
_LABEL_MODES = "What is learned.  " + "  ".join(
    f"{k}: {mode.description}." for k, mode in LABEL_MODES.items()
)
LABELS = click.option(
    "--labels",
    type=_LABEL_MODE,
    help=f"{_LABEL_MODES}  [default: events if every recording is annotated, else recording]",
)
RECORDING_LABELS = click.option(
    "--labels", type=_LABEL_MODE, default="recording", show_default=True, help=_LABEL_MODES
)
AUGMENT = click.option(
    "--augment",
    multiple=True,
    type=RenamedChoice([*AUGMENTATIONS, "none"]),
    help="An augmentation of training windows; repeatable.  [default: sign-flip for bag, else head-rotation, "
    "which needs a reference of single electrodes]",
)
WINDOW = click.option("--window", type=FloatRange(0.5), help="Seconds.  [default: 10 for recording, else 2]")
FOLDS = click.option(
    "--folds", type=click.IntRange(2), default=5, show_default=True, help="Folds by subject."
)
EPOCHS = click.option("--epochs", type=click.IntRange(1), help="[default: those of the recipe]")
SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
BASELINE = click.option(
    "--baseline",
    type=click.Choice(["zero", "mean", "phase"]),
    default="zero",
    show_default=True,
    help="What replaces removed signal; phase: a surrogate of the same spectrum.",
)
BATCH = click.option(
    "--batch",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Windows per forward pass; fewer need less memory.",
)
SEGMENTS = click.option(
    "--segments", type=click.IntRange(1), default=10, show_default=True, help="Maximum number of segments."
)
KEEP_NAMES = click.option(
    "--keep-names", is_flag=True, help="Name outputs after the files, even if these name people."
)
NETWORK = click.option(
    "--network",
    metavar="CODE",
    help="package.module:function: allow MODEL to run this code, which defines its network.",
)
PREVALENCE = click.option(
    "--prevalence",
    type=FloatRange(0, 1, min_open=True, max_open=True),
    help="Prevalence of epilepsy among the examined subjects.  [default: that of the training subjects]",
)
