"""Mutate valid files until the time is over: ``python -m tests.fuzz --seconds 60``."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import pytest
from tqdm import tqdm

from tests.fuzz.mutations import keeps_signal, mutate, mutate_texts
from tests.fuzz.oracle import Outcome, attempt, fault
from tests.fuzz.seeds import KINDS, Files, files, write
from tests.fuzz.targets import target


def try_files(kind: str, content: Files, expected: object = None) -> tuple[Outcome, str | None]:
    """Write files to a fresh folder and try them; return the outcome, and what is wrong with it.

    ``expected`` is the score, if the mutation keeps the signal; it may be read in single or double precision.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = write(content, Path(folder))
        outcome = attempt(target(kind), path)
        wrong = fault(outcome, path)
        if wrong is None and expected is not None and outcome.value != pytest.approx(expected, rel=1e-6):
            wrong = f"the signal is the same, but not the score: {outcome.value}, expected {expected}"
            wrong += f" ({outcome.message})" if outcome.message else ""
        return outcome, wrong and wrong.replace(folder, "FOLDER")


def mutation(kind: str, seed: int) -> tuple[Files, bool]:
    """Return the mutated files of one seed, and whether the signal must be the same."""
    g = np.random.default_rng(seed)
    if keeps_signal(kind) and g.random() < 0.15:
        return mutate_texts(g, kind, files(kind)), True
    return mutate(g, files(kind)), False


def store(folder: Path, kind: str, seed: int, content: Files, wrong: str) -> None:
    """Write the files of a finding, and what is wrong."""
    target = folder / f"{kind}-{seed}"
    write(content, target)
    about = {"kind": kind, "seed": seed, "first": next(iter(content)), "wrong": wrong}
    (target / "finding.json").write_text(json.dumps(about, indent=1))


@click.command()
@click.option("--seconds", type=float, default=60, show_default=True, help="When to stop.")
@click.option("--count", type=int, help="When to stop: after so many files.")
@click.option("--seed", type=int, help="Of the first file; the time by default.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only files of these kinds.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("fuzz-findings"), show_default=True)
def main(seconds: float, count: int | None, seed: int | None, kinds: tuple[str, ...], out: Path) -> None:
    """Mutate valid files; exit with 1 if one is neither read correctly nor refused by one clear line."""
    first = int(time.time()) * 1000 if seed is None else seed
    kinds = kinds or KINDS
    print(f"seed {first}; repeat with --seed {first}")
    scores = {kind: try_files(kind, files(kind)) for kind in kinds}
    for kind, (outcome, wrong) in scores.items():
        if outcome.kind != "value" or wrong:
            raise SystemExit(f"{kind}, without any mutation: {wrong or outcome.message}")
    end, tally, findings = time.monotonic() + seconds, Counter[tuple[str, str]](), 0
    with tqdm(total=count, disable=None) as bar:
        for i in range(count or 10**9):
            if time.monotonic() > end:
                break
            kind, number = kinds[i % len(kinds)], first + i
            content, same = mutation(kind, number)
            outcome, wrong = try_files(kind, content, scores[kind][0].value if same else None)
            tally[kind, "finding" if wrong else outcome.kind] += 1
            bar.update()
            if wrong:
                findings += 1
                store(out, kind, number, content, wrong)
                tqdm.write(f"{kind}, seed {number}: {wrong}")
    for kind in kinds:
        print(f"{kind:12s}", *(f"{what} {tally[kind, what]:5d}" for what in ("value", "refused", "finding")))
    print(f"{sum(tally.values())} files, {findings} findings" + (f", stored in {out}" if findings else ""))
    raise SystemExit(findings > 0)


if __name__ == "__main__":
    main()
