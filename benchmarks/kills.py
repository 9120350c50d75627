"""Commands killed at random moments, run again and compared with a whole run: python benchmarks/kills.py.

Each trial starts a command, kills it by SIGKILL at a random moment, runs the command that continues or
repeats it, and compares the files with those of an uninterrupted run.  Finished trials are lines of
benchmarks/results/kills.jsonl; a second call makes those that are missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.comparison.table import text

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess  # not on Windows

JOURNAL = Path(__file__).parent / "results" / "kills.jsonl"
Contents = dict[str, object]


@dataclass(frozen=True)
class Trial:
    """A kill after some seconds, unless the command had ended before, and the comparison."""

    command: str
    number: int
    after: float
    killed: bool
    same: bool
    left: int
    """Temporary files that remain."""
    error: str = ""
    """Of the command that continues or repeats the killed one."""
    damaged: int = 0
    """Files of an earlier result that are missing or incomplete after the kill."""
    redone: int = 0
    """Results of detection that were complete at the kill and that the continued run wrote again."""


def training_results(out: Path) -> Contents:
    """Return accuracy and digest of the final weights of every training."""
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return {f"{r['rule']} {r['seed']}": (r["accuracy"], r["weights"]) for r in results}


def files(out: Path) -> Contents:
    """Return the digest of every file; of a file of TensorBoard, which holds times, only that it exists."""
    found: Contents = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name, event, _ = str(path.relative_to(out)).partition("events.out.tfevents")
        content = "" if event else hashlib.sha256(path.read_bytes()).hexdigest()
        found[name + event] = (found.get(name + event), content) if event else content
    return found


def detections(out: Path) -> Contents:
    """Return the digest of every file but the journals, whose lines may be in another order."""
    return {name: content for name, content in files(out).items() if not name.endswith(".jsonl")}


@dataclass(frozen=True)
class Command:
    """A command that writes to a folder.

    Parameters
    ----------
    words
        A module and its arguments, without the folder, which is the last one.
    again
        Further arguments of the command that continues or repeats it.
    contents
        Returns what is compared from the folder.
    earlier
        Further arguments of a command whose result is in the folder at the beginning.
    """

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    contents: Callable[[Path], Contents] = files
    earlier: tuple[str, ...] | None = None


PRELOAD = [
    *("torch._dynamo", "torch.utils.tensorboard", "trainers.cli.main"),
    *("eeg.workflows.simulate", "eeg.workflows.train", "eeg.workflows.detect"),
]
RECORDING = "cohort/sub-001/eeg/sub-001_task-rest_eeg.edf"
SIMULATE = ("eeg", "simulate", "--subjects", "8", "--minutes", "1")
TRAIN = ("eeg", "train", "cohort", "--folds", "2", "--epochs", "1", "--out")
DETECT = ("eeg", "detect", "model", RECORDING, "--out")
ARCHIVE = ("eeg", "detect", "model", "cohort", "--segments", "1", "--out")
COMMANDS = {
    "hebbian train": Command(
        ("trainers", "train", "--rule", "softhebb", "--epochs", "3", "--out"), ("--resume",), training_results
    ),
    "eeg simulate": Command(SIMULATE),
    "eeg train": Command(TRAIN, ("--resume",)),
    "eeg detect": Command(DETECT, contents=detections),
    "eeg detect over an earlier result": Command(
        DETECT, contents=detections, earlier=("--segments", "2", "--prevalence", "0.1")
    ),
    "eeg detect of 8 recordings": Command(ARCHIVE, ("--resume",), detections),
}


def run_module(words: Sequence[str], inputs: Path, errors: Path, started: Connection) -> None:
    """Run a module as a command, in a process group of its own."""
    os.setsid()
    started.send(None)
    os.chdir(inputs)
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


class Runner:
    """Starts commands in a folder with their inputs; each is a fork of a process that has imported all."""

    def __init__(self, inputs: Path) -> None:
        self.inputs, self.errors = inputs, inputs / "errors"
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)

    def start(self, *words: str) -> ForkServerProcess:
        """Start a command."""
        ready, started = self.context.Pipe(duplex=False)
        process = self.context.Process(target=run_module, args=(words, self.inputs, self.errors, started))
        process.start()
        ready.recv()
        return process

    def finish(self, process: ForkServerProcess) -> str:
        """Return the last line of the errors of a command that failed, or an empty string."""
        process.join()
        lines = self.errors.read_text(encoding="utf-8").strip().splitlines()
        return (lines or [f"exit code {process.exitcode}"])[-1] if process.exitcode else ""

    def run(self, *words: str) -> None:
        """Run a command that must not fail."""
        if error := self.finish(self.start(*words)):
            raise RuntimeError(error)


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run writes, in how many seconds, and the folder with an earlier result."""

    contents: Contents
    seconds: float
    earlier: Path | None


def reference(runner: Runner, command: Command, place: Path) -> Reference:
    """Run a command without a kill, after one whose result is in its folder."""
    earlier, out = place / "earlier", place / "out"
    if command.earlier is not None:
        runner.run(*command.words, str(earlier), *command.earlier)
        shutil.copytree(earlier, out)
    begun = time.monotonic()
    runner.run(*command.words, str(out))
    seconds = time.monotonic() - begun
    return Reference(command.contents(out), seconds, None if command.earlier is None else earlier)


def kill(runner: Runner, name: str, number: int, whole: Reference, place: Path) -> Trial:
    """Kill a command, run it again and compare."""
    command, out = COMMANDS[name], place / "out"
    place.mkdir()
    if whole.earlier:
        shutil.copytree(whole.earlier, out)
    after = random.Random(f"{name} {number}").uniform(0, whole.seconds)
    process = runner.start(*command.words, str(out))
    process.join(after)
    killed = process.is_alive()
    if killed:
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    damaged = count_damaged(command.contents, out, whole) if whole.earlier else 0
    finished = out.glob("[!.]*/result.json") if command.again else ()
    complete = {file: file.stat().st_mtime_ns for file in finished}
    error = runner.finish(runner.start(*command.words, str(out), *command.again))
    same = out.exists() and command.contents(out) == whole.contents
    left = len(list(place.rglob(".*")))
    redone = sum(file.stat().st_mtime_ns != before for file, before in complete.items())
    return Trial(name, number, round(after, 2), killed, same, left, error, damaged, redone)


def count_damaged(contents: Callable[[Path], Contents], out: Path, whole: Reference) -> int:
    """Return how many files of the earlier result are neither as before nor as after a whole run."""
    assert whole.earlier is not None
    found = contents(out)
    before = contents(whole.earlier)
    return sum(found.get(name) not in (content, whole.contents[name]) for name, content in before.items())


def read() -> dict[tuple[str, int], Trial]:
    """Return the finished trials."""
    if not JOURNAL.exists():
        return {}
    trials = [Trial(**json.loads(line)) for line in JOURNAL.read_text(encoding="utf-8").splitlines()]
    return {(trial.command, trial.number): trial for trial in trials}


def rows() -> list[tuple[str, ...]]:
    """Return a head and a row for each command."""
    head = ("command", "kills", "ended before", "then identical", "left-over files", "damaged files")
    found = [(*head, "most results written again")]
    for name in COMMANDS:
        trials = [trial for trial in read().values() if trial.command == name]
        ended = sum(not trial.killed for trial in trials)
        same, left, damaged = (sum(getattr(t, fact) for t in trials) for fact in ("same", "left", "damaged"))
        counts = len(trials) - ended, ended, f"{same} of {len(trials)}", left, damaged
        again = max((trial.redone for trial in trials), default=0) if COMMANDS[name].again else "–"
        found.append((name, *map(str, (*counts, again))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="of each command")
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder)
        runner = Runner(inputs)
        runner.run(*SIMULATE, "cohort")
        runner.run(*TRAIN, "model")
        for name in options.commands:
            missing = [n for n in range(options.kills) if (name, n) not in read()]
            if missing:
                whole = reference(runner, COMMANDS[name], inputs / name)
            for number in missing:
                place = inputs / f"{name} {number}"
                trial = kill(runner, name, number, whole, place)
                shutil.rmtree(place)
                with JOURNAL.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(trial)) + "\n")
                print(trial, flush=True)
    print(text(rows()))


if __name__ == "__main__":
    main()
