"""Tables of speed, memory, robustness and interrupted commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import archive
import kills
import numpy as np
import timing
from stored import read_json, read_lines

from trainers.comparison.table import markdown

# Robustness: robustness.jsonl


def robustness() -> str:
    """Return how much each change of a recording changes its score and its answer, before and now."""
    runs: dict[str, list[dict[str, Any]]] = {"before": [], "now": []}
    for line in read_lines("robustness.jsonl"):
        runs[line["run"]].append(line["found"])
    head = ("change", *(f"{what}, {run}" for what in ("score", "answers", "refused") for run in runs))
    rows = [head]
    for name in runs["now"][0]:
        if name:
            cells = zip(*(_changed(found, name) for found in runs.values()), strict=True)
            rows.append((name, *(cell for pair in cells for cell in pair)))
    return markdown(rows)


def _changed(found: list[dict[str, Any]], name: str) -> tuple[str, str, str]:
    """Return the mean and the largest change of the score, the changed answers and the refusals."""
    scored = [f for f in found if f[name][1] != "refused"]
    apart = [abs(f[name][0] - f[""][0]) for f in scored]
    score = f"{np.mean(apart):.3f} ({max(apart):.2f})" if apart else "–"
    return score, str(sum(f[name][1] != f[""][1] for f in scored)), str(len(found) - len(scored))


# Killed commands: kills.jsonl


def killed_commands() -> str:
    """Return how often each command was killed, and what running it again gave."""
    return markdown(kills.rows())


# Detection in archives: archive.jsonl


def archives() -> str:
    """Return time and memory of `eeg detect` for long recordings and for many."""
    return markdown(archive.rows())


def plan(count: int = 100_000, per_hour: float = 0.05, per_gigabyte: float = 0.02) -> str:
    """Return what many routine recordings of 20 minutes need, by the machine that measured 20 of them.

    Parameters
    ----------
    count
        Recordings.
    per_hour
        Price of a processor core for an hour.
    per_gigabyte
        Price of a gigabyte for a month.
    """
    rows = [("machine", "core hours", "16 cores, days", "cost", "recordings, GB", "results, GB", "a month")]
    for run in archive.read():
        if run.name.startswith("20 of 20"):
            hours, results = (run.processor / 3600, run.written / 1000)
            times = count / (run.results + run.errors)
            stored = count * 20 * 60 * 256 * 21 * 2 / 1e9
            cells = (hours * times, hours * times / 16 / 24, hours * times * per_hour, stored)
            cells += (results * times, (stored + results * times) * per_gigabyte)
            rows.append((run.machine, *(f"{cell:,.1f}" if cell < 10 else f"{cell:,.0f}" for cell in cells)))
    return markdown(rows)


# Speed: speed.jsonl


def speed() -> str:
    """Return the last measurement of every row on every machine, by table."""
    blocks: dict[tuple[str, str], list[timing.Ratio]] = {}
    for row in timing.read():
        blocks.setdefault((row.machine, row.table), []).append(row)
    parts = []
    for machine in dict.fromkeys(machine for machine, _ in blocks):
        parts.append(f"## {machine}")
        for (on, table), found in blocks.items():
            if on == machine:
                parts += [f"### {table}", _ratios(found)]
    return "\n\n".join(parts or ["No measurement is stored."])


def depth_memory() -> str:
    """Return the peak memory of a training step against depth."""
    found = read_json("depth_memory.json")["megabytes"]
    depths = list(next(iter(found.values())))
    rows = [
        (name, *map(str, sizes.values()), f"{sizes[depths[-1]] / sizes[depths[0]]:.2f}")
        for name, sizes in found.items()
    ]
    return markdown([("rule", *(f"{depth} layers, MB" for depth in depths), "last / first"), *rows])


def _ratios(found: Sequence[timing.Ratio]) -> str:
    head = ("what", "baseline", "baseline, s", "ours, s", "ratio (quartiles)", "predicted", "goal", "commit")
    rows = [
        (
            row.name,
            row.baseline,
            f"{row.baseline_seconds:.3g}",
            f"{row.seconds:.3g}",
            f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})",
            "–" if row.predicted is None else f"{row.predicted:.2f}",
            "–" if row.goal is None else f"{row.goal:g}",
            row.commit,
        )
        for row in found
    ]
    return markdown([head, *rows])
