"""Training on windows that exceed the memory: python benchmarks/window_store.py [--gigabytes 50].

t-VGG GAP is trained by backprop on windows (19 channels, 2 s at 128 Hz) of one-hour recordings, as
`eeg train` trains on a cache: each recording mapped from a file, windows gathered by index.  The files of 16
recordings are mapped again and again until they make the size; disks are not measured.  Beside it, the same
network is trained in memory, on one tensor of the 16 recordings.  Each is a process of its own; its line
states the peak of its resident memory (and how much of it is not from files now) and the processor time of a
batch, the median of rounds that alternate between the two.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn

from eeg.large_arrays import to_file
from eeg.models.registry import build_model
from hebbian.backprop import Backprop
from trainers.data.batches import Batches
from trainers.data.rows import Inputs, Rows
from trainers.mapped import allow_open_files
from trainers.trainer import Trainer

WINDOWS, CHANNELS, SAMPLES, BATCH, FILES = 1800, 19, 256, 64, 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=50)
    parser.add_argument("--batches", type=int, default=50, help="of a round")
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rng = np.random.default_rng(0)
        for i in range(FILES):
            to_file(rng.standard_normal((WINDOWS, CHANNELS, SAMPLES), np.float32), Path(place, f"{i}.npy"))
        size = WINDOWS * CHANNELS * SAMPLES * 4
        count = round(given.gigabytes * 1e9 / size)
        ours, theirs = _start(Path(place), count, given.batches), _start(Path(place), 0, given.batches)
        seconds: dict[str, list[float]] = {"in memory": [], "mapped": []}
        peaks = {}
        for _ in range(given.rounds):
            for name, end in (("in memory", theirs), ("mapped", ours)):
                end.send(True)
                spent, peaks[name] = end.recv()
                seconds[name].append(spent)
        for end in (ours, theirs):
            end.send(False)
    for name, gigabytes in (("in memory", FILES * size / 1e9), ("mapped", count * size / 1e9)):
        print(
            f"{name}: {gigabytes:.1f} GB, {1e3 * statistics.median(seconds[name]):.1f} ms a batch, "
            f"peak {peaks[name][0]:.2f} GB resident (anonymous now: {peaks[name][1]:.2f})"
        )
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    print(f"ratio of time a batch {ratio:.2f} (goal 1.15)")


def _start(folder: Path, mapped: int, batches: int) -> Connection:
    ours, theirs = get_context("spawn").Pipe()
    get_context("spawn").Process(target=_train, args=(theirs, folder, mapped, batches), daemon=True).start()
    return ours


def _train(end: Connection, folder: Path, mapped: int, batches: int) -> None:
    """Train a round at each request; all in memory if ``mapped`` is 0, else on as many mapped recordings."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    files = [folder / f"{i}.npy" for i in range(FILES)]
    x: Inputs
    if mapped:
        allow_open_files()
        x = Rows([np.load(file, mmap_mode="c") for file in islice(cycle(files), mapped)])
    else:
        x = torch.from_numpy(np.concatenate([np.load(file, mmap_mode="r") for file in files]))
    y = torch.randint(2, (len(x), 1)).float()
    network = build_model("tvgg-gap", CHANNELS, SAMPLES, 1)
    rule = Backprop(network, nn.BCEWithLogitsLoss())
    trainer = Trainer(rule, torch.optim.AdamW(rule.parameters(), lr=1e-3))
    data = _Next(Batches(x, y, BATCH, torch.Generator().manual_seed(0)), batches)
    while end.recv():
        began = time.process_time()
        trainer.fit(data, 1)
        end.send(((time.process_time() - began) / batches, _memory()))


class _Next:
    """The next batches of an epoch, whose order is drawn once."""

    def __init__(self, batches: Batches, number: int) -> None:
        self.epoch, self.number = iter(batches), number

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[object]:
        return islice(self.epoch, self.number)


def _memory() -> tuple[float, float]:
    """Return the peak resident memory of this process, and its anonymous pages now, in GB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak, anonymous = (
        int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 / 1e9  # type: ignore[index]
        for name in ("VmHWM", "RssAnon")
    )
    return peak, anonymous


if __name__ == "__main__":
    main()
