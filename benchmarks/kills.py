"""Commands killed at random moments, resumed and compared with a whole run: python benchmarks/kills.py.

Each trial starts a command, kills it by SIGKILL at a random moment after it began to write, runs the command
that resumes it, and compares what both folders say.  Finished trials are lines of
benchmarks/results/kills.jsonl; a second call makes those that are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from trainers.comparison.table import text

JOURNAL = Path(__file__).parent / "results" / "kills.jsonl"


@dataclass(frozen=True)
class Command:
    """A command that writes to a folder and can be resumed.

    Parameters
    ----------
    words
        Arguments of Python; the folder is the last one.
    resume
        Further arguments of the command that resumes.
    outcome
        Returns what is compared from the folder.
    """

    words: tuple[str, ...]
    resume: tuple[str, ...]
    outcome: Callable[[Path], object]


@dataclass(frozen=True)
class Trial:
    """A kill: ``after`` seconds of writing, ``killed`` unless the command had ended, and the comparison."""

    command: str
    number: int
    after: float
    killed: bool
    same: bool
    left: int
    """Temporary files that remain."""
    error: str = ""


def training_results(out: Path) -> object:
    """Return accuracy and digest of the final weights of every training."""
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return [(r["rule"], r["seed"], r["accuracy"], r["weights"]) for r in results]


COMMANDS = {
    "hebbian train": Command(
        ("-m", "trainers", "train", "--rule", "softhebb", "--epochs", "3", "--out"),
        ("--resume",),
        training_results,
    )
}


def start(command: Command, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *command.words, str(out), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(running: subprocess.Popen[str]) -> str:
    """Return the last line of the errors of a command that failed, or an empty string."""
    _, errors = running.communicate()
    return errors.strip().splitlines()[-1] if running.returncode else ""


def wait_for_writing(running: subprocess.Popen[str], out: Path) -> None:
    """Wait until a command has made its folder, or has ended."""
    while running.poll() is None and not out.exists():
        time.sleep(0.01)


def reference(command: Command, out: Path) -> tuple[object, float]:
    """Return the outcome of an uninterrupted run, and the seconds from its first to its last write."""
    running = start(command, out)
    wait_for_writing(running, out)
    begun = time.monotonic()
    if error := finish(running):
        raise RuntimeError(error)
    return command.outcome(out), time.monotonic() - begun


def kill(name: str, number: int, expected: object, seconds: float, out: Path) -> Trial:
    """Kill a command, resume it and compare."""
    command = COMMANDS[name]
    after = random.Random(f"{name} {number}").uniform(0, seconds)
    running = start(command, out)
    wait_for_writing(running, out)
    time.sleep(after)
    killed = running.poll() is None
    if killed:
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    error = finish(start(command, out, *command.resume))
    same = not error and command.outcome(out) == expected
    return Trial(name, number, round(after, 2), killed, same, len(list(out.glob(".partial-*"))), error)


def read() -> dict[tuple[str, int], Trial]:
    """Return the finished trials."""
    if not JOURNAL.exists():
        return {}
    trials = [Trial(**json.loads(line)) for line in JOURNAL.read_text(encoding="utf-8").splitlines()]
    return {(trial.command, trial.number): trial for trial in trials}


def table() -> str:
    """Return a row for each command."""
    rows = [("command", "kills", "ended before", "resumed bit for bit", "left-over files")]
    for name in COMMANDS:
        trials = [trial for trial in read().values() if trial.command == name]
        ended = sum(not trial.killed for trial in trials)
        same, left = sum(trial.same for trial in trials), sum(trial.left for trial in trials)
        rows.append((name, f"{len(trials) - ended}", f"{ended}", f"{same} of {len(trials)}", f"{left}"))
    return text(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    options = parser.parse_args()
    for name in options.commands:
        missing = [n for n in range(options.kills) if (name, n) not in read()]
        with tempfile.TemporaryDirectory() as folder:
            if missing:
                expected, seconds = reference(COMMANDS[name], Path(folder, "reference"))
            for number in missing:
                trial = kill(name, number, expected, seconds, Path(folder, str(number)))
                with JOURNAL.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(trial)) + "\n")
                print(trial, flush=True)
    print(table())


if __name__ == "__main__":
    main()
