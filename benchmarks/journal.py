"""Results of `benchmarks/rules.py`, one run per line: a second call continues where the first one stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainers.comparison.table import t_interval

RESULTS = Path(__file__).parent / "results"
RULES = RESULTS / "rules.jsonl"
RECURRENT = RESULTS / "recurrent.jsonl"
PUBLISHED = RESULTS / "published.jsonl"
ANY_NET = RESULTS / "any_net.jsonl"
REASONS = RESULTS / "reasons.json"
NETS = ("mlp", "conv")
ANY_NETS = ("flat MLP", "conv", "residual", "ViT", "RNN")
CENTRED = " centred"
"""Suffix of a net with centred inputs, on which the controls run as well."""


@dataclass(frozen=True)
class Run:
    """One training of a net by a rule.

    ``settings`` describes the settings; ``accuracy`` is the fraction of test images, or None where ``reason``
    states why there is none.  ``moved`` is the mean angle, in degrees, between the first and last weights of
    the hidden units.
    """

    rule: str
    net: str
    seed: int
    settings: str
    accuracy: float | None
    seconds: float
    reason: str = ""
    moved: float | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """A later run with the same key replaces this one."""
        return self.rule, self.net, self.seed


@dataclass(frozen=True)
class Summary:
    """A rule on a net, over all seeds."""

    accuracy: float | None
    half_width: float
    """Of the 95 % t-interval of the mean over the seeds; infinite for one seed."""
    seconds: float
    seeds: int
    settings: str
    reason: str
    moved: float | None


def read(path: Path) -> list[Run]:
    """Return the runs of a file, the last one of each rule, net and seed, the newest at the end.

    No runs, where there is no file.
    """
    newest: dict[tuple[str, str, int], Run] = {}
    for run in (Run(**line) for line in read_lines(path)):
        newest.pop(run.key, None)  # so that it moves to the end
        newest[run.key] = run
    return list(newest.values())


def append(path: Path, run: Run) -> None:
    """Add ``run`` at the end of the file."""
    append_line(path, asdict(run))


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Add ``line`` at the end of the file, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; none, where there is no file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def summarise(runs: Iterable[Run]) -> dict[tuple[str, str], Summary]:
    """Return a summary over the seeds of each (rule, net); one failed seed fails them all.

    Only runs with the settings of the newest, the last one of ``runs``, count.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.rule, run.net), []).append(run)
    return {
        key: _summary([run for run in group if run.settings == group[-1].settings])
        for key, group in groups.items()
    }


def _summary(runs: Sequence[Run]) -> Summary:
    reason = next((run.reason for run in runs if run.reason), "")
    accuracies = [run.accuracy for run in runs if run.accuracy is not None]
    mean, half_width = (None, 0.0) if reason else t_interval(accuracies)
    seconds = sum(run.seconds for run in runs) / len(runs)
    angles = [run.moved for run in runs if run.moved is not None]
    moved = sum(angles) / len(angles) if angles else None
    return Summary(mean, half_width, seconds, len(runs), runs[-1].settings, reason, moved)


def cell(summary: Summary | None) -> str:
    """Return the cell of a table: accuracy and half width in per cent, or why there is none."""
    if summary is None:
        return "not run"
    if summary.accuracy is None:
        return summary.reason
    spread = "" if summary.seeds < 2 else f" ± {100 * summary.half_width:.1f}"
    return f"{100 * summary.accuracy:.1f}{spread}"
