"""Ratios of processor time: ours against a named baseline, measured alternately in one run.

benchmarks/results/speed.jsonl holds one line for each row, machine and commit.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from journal import RESULTS

SPEED = RESULTS / "speed.jsonl"


@dataclass(frozen=True)
class Row:
    """What is compared.  ``prepare`` returns the baseline and ours, two functions that do the work once.

    ``goal`` is the ratio to reach, None where there is none.  ``predict`` computes the ratio that operations
    which are counted would have.
    """

    table: str
    name: str
    baseline: str
    goal: float | None
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]]
    pairs: int = 7
    predict: Callable[[], float] | None = None


@dataclass(frozen=True)
class Ratio:
    """A measured row: seconds of processor, medians, and the quartiles of the ratio of each pair."""

    table: str
    name: str
    baseline: str
    goal: float | None
    baseline_seconds: float
    seconds: float
    ratio: float
    low: float
    high: float
    pairs: int
    predicted: float | None
    machine: str
    commit: str


def measure(row: Row) -> Ratio:
    """Return the ratio of a row; each side runs once before the measurement."""
    baseline, ours = row.prepare()
    baseline(), ours()
    pairs = []
    for i in range(row.pairs):
        order = (baseline, ours) if i % 2 else (ours, baseline)
        seconds = {side: _seconds(side) for side in order}
        pairs.append((seconds[baseline], seconds[ours]))
    table = np.array(pairs)
    ratios = table[:, 1] / table[:, 0]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return Ratio(
        row.table,
        row.name,
        row.baseline,
        row.goal,
        *(float(np.median(column)) for column in table.T),
        float(middle),
        float(low),
        float(high),
        row.pairs,
        None if row.predict is None else row.predict(),
        machine(),
        commit(),
    )


def _seconds(work: Callable[[], object]) -> float:
    """Return the seconds of processor time, of this process and of those that it waits for.

    Short work is repeated.
    """
    start, runs = _processor(), 0
    while runs == 0 or _processor() - start < _SECONDS:
        work()
        runs += 1
    return (_processor() - start) / runs


_SECONDS = 0.05


def _processor() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def machine() -> str:
    """Return what the figures depend on."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{model}, {instructions}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def commit() -> str:
    """Return the commit that is measured, marked with a plus if the packages have changes."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=RESULTS.parent.parent, capture_output=True, text=True)

    changed = git("diff", "--quiet", "HEAD", "--", "hebbian", "trainers", "visualizers", "eeg").returncode
    return git("rev-parse", "--short", "HEAD").stdout.strip() + ("+" if changed else "")


def read() -> list[Ratio]:
    """Return the last measurement of each row on each machine."""
    if not SPEED.exists():
        return []
    rows = [Ratio(**json.loads(line)) for line in SPEED.read_text(encoding="utf-8").splitlines()]
    return list({(row.table, row.name, row.baseline, row.machine): row for row in rows}.values())


def append(ratio: Ratio) -> None:
    """Add a measurement, in one write."""
    with SPEED.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(ratio)) + "\n")


def run(rows: Sequence[Row], again: bool) -> None:
    """Measure the rows that this machine and commit have not, print and store them."""
    here = machine(), commit()
    done = {(row.table, row.name, row.baseline) for row in read() if (row.machine, row.commit) == here}
    for row in rows:
        if not again and (row.table, row.name, row.baseline) in done:
            continue
        ratio = measure(row)
        append(ratio)
        goal = "" if row.goal is None else f", goal {row.goal:g}"
        if ratio.predicted is not None:
            goal += f", predicted {ratio.predicted:.2f}"
        print(
            f"{row.table}: {row.name} / {row.baseline}: {ratio.ratio:.2f} "
            f"({ratio.low:.2f}-{ratio.high:.2f}){goal}; {ratio.seconds:.3g} s",
            flush=True,
        )
