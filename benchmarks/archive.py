"""`eeg detect` of long recordings and of many: python benchmarks/archive.py [--only NAME ...].

``hours``: 64 channels at 256 Hz for 1, 6 and 24 hours.  ``many``: 1,000 different recordings of a minute, 5 %
of them cut off in their header.  ``processes``: 40 of them by one process and by two.  ``routine``: 20 of 20
minutes.  Every run is a line of benchmarks/results/archive.jsonl: its time, its processor time, the largest
memory of one of its processes, of many recordings also in the second and in the last fifth of the run, and
the size of what it wrote.  Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import edfio
import mne
import numpy as np
from journal import RESULTS
from timing import commit, machine

from eeg.io.electrodes import TEN_TWENTY
from eeg.simulation.cohort import simulate_subject

ARCHIVE = RESULTS / "archive.jsonl"
HOURS, CHANNELS, RATE = (1, 6, 24), 64, 256
SUBJECTS, DAMAGED = 20, 20  # every so-many-th is damaged
KINDS = ("hours", "many", "processes", "routine")


@dataclass(frozen=True)
class Run:
    """A run of `eeg detect`: number of processes, seconds, MB of the largest process and of what it wrote."""

    name: str
    jobs: int
    seconds: float
    processor: float
    megabytes: float
    written: float
    second_fifth: float | None
    last_fifth: float | None
    results: int
    errors: int
    machine: str
    commit: str


def train(folder: Path) -> Path:
    """Train a model of few epochs, whose cost is that of any other."""
    cohort, model = folder / "cohort", folder / "model"
    _eeg("simulate", cohort, "--subjects", 8, "--minutes", 1)
    _eeg("train", cohort, "--folds", 2, "--epochs", 1, "--out", model)
    return model


def _eeg(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "eeg", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def write_hour(path: Path) -> None:
    """Write an hour of the 10-10 system; beyond the 19 electrodes are copies of these."""
    names = [n for n in mne.channels.make_standard_montage("colin27_1005").ch_names if n not in TEN_TWENTY]
    subject = simulate_subject(0, 1, seed=0, minutes=60, sfreq=RATE)
    volts = subject.data[np.arange(CHANNELS) % len(TEN_TWENTY)] * 1e6
    labels = [*TEN_TWENTY, *names][:CHANNELS]
    signals = [
        edfio.EdfSignal(row, RATE, label=label, physical_dimension="uV", physical_range=(-3276.8, 3276.7))
        for label, row in zip(labels, volts.astype(float), strict=True)
    ]
    edfio.Edf(signals).write(path)


def repeat(hour: Path, hours: int, path: Path) -> None:
    """Write a recording whose records are repeated; their number is bytes 236 to 243 of an EDF."""
    content = hour.read_bytes()
    size, records = int(content[184:192]), int(content[236:244])
    with path.open("wb") as file:
        file.write(content[:236] + f"{hours * records:<8}".encode() + content[244:size])
        for _ in range(hours):
            file.write(content[size:])


def rotate(source: Path, records: int, path: Path) -> None:
    """Write a recording that begins with another of its records."""
    content = source.read_bytes()
    size, count = int(content[184:192]), int(content[236:244])
    first = size + records * ((len(content) - size) // count)
    path.write_bytes(content[:size] + content[first:] + content[size:first])


def write_archive(folder: Path, count: int, minutes: int = 1) -> Path:
    """Write different recordings, every 20th cut off in its header."""
    folder.mkdir()
    cohort = folder.with_name(f"subjects of {folder.name}")
    _eeg("simulate", cohort, "--subjects", SUBJECTS, "--minutes", minutes)
    sources = sorted(cohort.rglob("*.edf"))
    for i in range(count):
        path = folder / f"{i:04}.edf"
        rotate(sources[i % len(sources)], i // len(sources), path)
        if i % DAMAGED == DAMAGED - 1:
            os.truncate(path, 1000)
    return folder


def measure(name: str, jobs: int, out: Path, *words: object) -> Run:
    """Run `eeg detect` and watch the memory of its processes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [
        sys.executable,
        "-m",
        "eeg",
        "detect",
        *map(str, words),
        "--out",
        str(out),
        "--jobs",
        str(jobs),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: list[tuple[int, float]] = []
    while process.poll() is None:
        seen.append((len(_lines(out)), max(map(_megabytes, _family(process.pid)), default=0)))
        time.sleep(0.5)
    seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = _lines(out)
    fifths = [
        max((size for done, size in seen if low < done <= high), default=None)
        for low, high in pairwise(np.linspace(0, len(lines), 6))
    ]
    errors = sum('"error"' in line for line in lines)
    return Run(
        name,
        jobs,
        round(seconds, 1),
        round(sum(getattr(after, x) - getattr(before, x) for x in ("ru_utime", "ru_stime")), 1),
        round(max(size for _, size in seen)),
        round(sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6, 1),
        fifths[1] if len(lines) > 5 else None,
        fifths[-1] if len(lines) > 5 else None,
        len(lines) - errors,
        errors,
        machine(),
        commit(),
    )


def _lines(out: Path) -> list[str]:
    return [
        line
        for file in (out / "detections").glob("*.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line
    ]


def _family(process: int) -> list[int]:
    """Return a process and all below it."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [process, *(below for child in children for below in _family(int(child)))]


def _megabytes(process: int) -> float:
    """Return the resident memory of a process."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return 0.0


def read() -> list[Run]:
    """Return the last run of each kind on each machine."""
    if not ARCHIVE.exists():
        return []
    runs = [Run(**json.loads(line)) for line in ARCHIVE.read_text(encoding="utf-8").splitlines()]
    return list({(run.machine, run.name, run.jobs): run for run in runs}.values())


def rows() -> list[tuple[str, ...]]:
    """Return a head and a row for each run."""
    head = (
        "recordings",
        "processes",
        "time, s",
        "processor, s",
        "memory, MB",
        "2nd and last fifth",
        "written, MB",
    )
    found = [(*head, "results", "errors")]
    for run in read():
        fifths = "–" if run.second_fifth is None else f"{run.second_fifth:.0f}, {run.last_fifth:.0f}"
        size, spent = f"{run.megabytes:.0f}", (f"{run.seconds:.0f}", f"{run.processor:.0f}")
        row = (run.name, run.jobs, *spent, size, fifths, run.written, run.results, run.errors)
        found.append(tuple(map(str, row)))
    return found


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--hours", type=int, nargs="+", default=HOURS)
    parser.add_argument("--count", type=int, default=1000, help="of many recordings")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = train(folder)
        if "hours" in options.only:
            write_hour(folder / "hour.edf")
            for hours in options.hours:
                long = folder / f"{hours}.edf"
                repeat(folder / "hour.edf", hours, long)
                _store(measure(f"{hours} h, {CHANNELS} channels", 1, folder / f"out-{hours}", model, long))
                long.unlink()
        if "many" in options.only:
            many = write_archive(folder / "many", options.count)
            name = f"{options.count:,} of a minute, 5 % damaged"
            _store(measure(name, 2, folder / "out-many", model, many))
        if "processes" in options.only:
            few = write_archive(folder / "few", 40)
            for jobs in (1, 2):
                _store(measure("40 of a minute, 5 % damaged", jobs, folder / f"out-{jobs}", model, few))
        if "routine" in options.only:
            routine = write_archive(folder / "routine", 20, minutes=20)
            _store(measure("20 of 20 minutes, 5 % damaged", 2, folder / "out-routine", model, routine))


def _store(run: Run) -> None:
    with ARCHIVE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run)) + "\n")
    print(run, flush=True)


if __name__ == "__main__":
    main()
