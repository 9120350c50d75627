"""Published recipes at their published length, three seeds each: python benchmarks/published.py --jobs 2.

A set-up is a net, its data and its training; rules and controls (backprop, frozen random features) run on
the same set-up from the same initial weights and batches.  The test images are used for no choice: rates
that a paper does not state were chosen with ``--tune``, which tests on the last 10,000 training images and
stores nothing.

Each finished run is a line of benchmarks/results/published.jsonl; a second call computes those that are
missing or have another recipe, and resumes interrupted ones from their checkpoints beside that file.  Run it
in the background at low priority: seconds are those of the processor, and no other work changes a result.

The images are read from $HEBBIAN_DATA/mnist, and from FOLDER (``--images``) with fashion_mnist.npz and
cifar10.npz.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from journal import PUBLISHED, append_line, read_lines
from setups import CELLS, SETUPS, Cell
from torch import Tensor

from hebbian.diagnostics import alignment
from hebbian.registry import find_rule
from hebbian.rule import Rule
from trainers.checkpoint import Checkpoint
from trainers.data.batches import Split, TrainingData
from trainers.data.images import load_images
from trainers.errors import DivergenceError
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.provenance import to_plain, versions
from trainers.trainer import Trainer

TUNING = 10_000
SAMPLE = 1_000
SEEDS = 3


class Curve:
    """The accuracy after each epoch of a supervised rule, and the processor seconds without testing."""

    def __init__(self) -> None:
        self.accuracy: list[float] = []
        self.before, self._start = 0.0, time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds of all threads of this process, and of those before an interruption."""
        return self.before + time.process_time() - self._start

    def on_epoch(self, trainer: Trainer) -> None:
        """Test."""
        start = time.process_time()
        if found := trainer.evaluate():
            self.accuracy.append(found["accuracy"])
        self.before -= time.process_time() - start

    def state_dict(self) -> dict[str, Any]:
        """Return the curve so far."""
        return {"accuracy": self.accuracy, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue an interrupted curve."""
        self.accuracy, self.before, self._start = state["accuracy"], state["seconds"], time.process_time()


def learn(cell: Cell, seed: int, images: Split, checkpoint: Path | None = None) -> dict[str, Any]:
    """Train a fresh net; return its curve, its final accuracy, and what the run took."""
    setup = SETUPS[cell.setup]
    model = setup.net()
    cell.recipe.initialise(model, torch.Generator().manual_seed(seed))
    model = model.to(memory_format=torch.channels_last)  # faster convolutions
    curve, x_test = Curve(), setup.prepare(images.x_test)
    data = TrainingData(
        setup.prepare(images.x_train),
        images.y_train,
        images.classes,
        held_out=(x_test, images.y_test) if find_rule(cell.rule).supervised else None,
        augment=setup.augment,
    )
    options = RunOptions(
        seed, [curve], checkpoint and Checkpoint(checkpoint), feature_dtype=setup.feature_dtype
    )
    rule = train_rule(cell.rule, model, data, cell.recipe, options)
    result = {
        "accuracy": accuracy(predict(rule, x_test, batch=100), images.y_test),
        "curve": [round(value, 4) for value in curve.accuracy],
        "seconds": round(curve.seconds, 1),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if find_rule(cell.rule).family == "feedback":
        result["angles"] = angles(rule, data.x[:SAMPLE], data.y[:SAMPLE])
    return result


def angles(rule: Rule, x: Tensor, y: Tensor) -> list[float]:
    """Return the degrees between a rule's update and backprop's, one for each hidden layer."""
    *hidden, _ = alignment(rule, F.cross_entropy, x, y).values()
    return [round(math.degrees(math.acos(cosine)), 1) for cosine in hidden]


def load(data: str, folder: Path | None) -> Split:
    """Return images (N, channels, height, width)."""
    if data == "mnist" and "HEBBIAN_DATA" in os.environ:
        folder = Path(os.environ["HEBBIAN_DATA"], "mnist")
    images = load_images(data, folder)
    if images.x_train.ndim == 4:
        return images
    return replace(images, x_train=images.x_train[:, None], x_test=images.x_test[:, None])


def key(cell: Cell, seed: int) -> dict[str, Any]:
    """Return what identifies a run: a line with another recipe is not used."""
    setup = SETUPS[cell.setup]
    plain: dict[str, Any] = to_plain(
        {"rule": cell.rule, "setup": cell.setup, "seed": seed, "shape": setup.shape, "data": setup.data}
        | {"recipe": cell.recipe, "augment": setup.augment}
    )
    return plain


def stored(cell: Cell) -> dict[int, dict[str, Any]]:
    """Return the stored runs of a cell by seed, those of its present recipe only."""
    wanted = key(cell, 0)
    del wanted["seed"]
    lines = read_lines(PUBLISHED)
    return {line["seed"]: line for line in lines if {name: line.get(name) for name in wanted} == wanted}


def compute(index: int, seed: int, folder: Path | None) -> str:
    """Compute and store a run, in a process of its own, whose peak memory is that of the run."""
    torch.set_num_threads(1)
    cell = CELLS[index]
    checkpoint = PUBLISHED.with_name(f"{cell.rule}-{cell.setup}-{seed}.checkpoint")
    result = learn(cell, seed, load(SETUPS[cell.setup].data, folder), checkpoint)
    append_line(PUBLISHED, key(cell, seed) | result | {"versions": versions()})
    checkpoint.unlink(missing_ok=True)
    return f"{cell.rule} on {cell.setup}, seed {seed}: {result['accuracy']:.2%}, {result['seconds']:.0f} s"


def tune(cell: Cell, rates: list[float], epochs: int, folder: Path | None) -> None:
    """Print the accuracy on the last training images for each rate."""
    images = load(SETUPS[cell.setup].data, folder)
    x, y = images.x_train, images.y_train
    held = Split(x[:-TUNING], y[:-TUNING], x[-TUNING:], y[-TUNING:])
    for rate in rates:
        phase = cell.recipe.learn
        tried = replace(
            cell, learn=replace(phase, optimizer=partial(phase.optimizer, lr=rate), epochs=epochs)
        )
        try:
            result = learn(tried, 0, held)
        except DivergenceError as error:
            print(cell.rule, cell.setup, rate, error, flush=True)
            continue
        print(cell.rule, cell.setup, rate, result["curve"], result.get("angles"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS), metavar="NAME")
    parser.add_argument("--rules", nargs="+", metavar="NAME", help="all by default")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one thread")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of fashion_mnist.npz and cifar10.npz")
    parser.add_argument(
        "--tune", nargs="+", type=float, metavar="RATE", help="compare rates; nothing is stored"
    )
    parser.add_argument("--epochs", type=int, default=10, help="with --tune")
    options = parser.parse_args()
    chosen = [
        i
        for i, cell in enumerate(CELLS)
        if cell.setup in options.setups and cell.rule in (options.rules or [cell.rule])
    ]
    if options.tune:
        torch.set_num_threads(1)
        for i in chosen:
            tune(CELLS[i], options.tune, options.epochs, options.images)
        return
    done = {i: stored(CELLS[i]) for i in chosen}
    missing = [(i, seed) for seed in range(options.seeds) for i in chosen if seed not in done[i]]
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = [pool.submit(compute, i, seed, options.images) for i, seed in missing]
        for n, run in enumerate(as_completed(runs), start=1):
            print(f"{n} of {len(runs)}: {run.result()}", flush=True)


if __name__ == "__main__":
    main()
