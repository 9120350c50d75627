"""Cost of the TensorBoard callback: python benchmarks/logging_cost.py --repetitions 3.

On MNIST ($HEBBIAN_DATA/mnist, batches of 32, ten epochs, its whole test set held out): 784-500-10, and two
convolutions of 16 and 32 kernels 5 x 5 with pooling.  They learn by backprop with plain SGD, the cheapest
steps there are, so that the fraction of the logging is largest.  On digits: what `hebbian train` does by
default, by backprop and by SoftHebb, whose epochs take some 10 milliseconds.

The processor time inside the callback, whose writing thread works beside it, is compared with that of
everything else; what is written once, at the end of a phase, is reported separately.  The trainings
alternate.  Seconds are those of one processor core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from hebbian.backprop import Backprop
from trainers.comparison.experiment import Experiment, run_experiment
from trainers.comparison.table import t_interval
from trainers.data.batches import Batches
from trainers.data.images import load_images
from trainers.networks import convnet, mlp
from trainers.recipes import recommended
from trainers.trainer import Trainer
from visualizers.tensorboard import TensorBoard

EPOCHS, BATCH = 10, 32
NETS = {
    "mlp": lambda: mlp(28 * 28, [500], 10),
    "conv": lambda: convnet((1, 28, 28), [16, 32], 10),
}


class Timed:
    """A callback that measures its own time per event."""

    def __init__(self, callback: object) -> None:
        self.callback = callback
        self.seconds: dict[str, float] = defaultdict(float)

    def __getattr__(self, event: str) -> Callable[..., None]:
        handler = getattr(self.callback, event)

        def timed(*what: Any) -> None:
            start = time.process_time()
            handler(*what)
            self.seconds[event] += time.process_time() - start

        return timed


def mnist(net: str, seed: int, callback: object) -> None:
    """Train a net on MNIST."""
    images = load_images("mnist", Path(os.environ["HEBBIAN_DATA"], "mnist"))
    torch.manual_seed(seed)
    rule = Backprop(NETS[net](), F.cross_entropy)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.01)
    batches = Batches(images.x_train[:, None], images.y_train, BATCH, torch.Generator().manual_seed(seed))
    Trainer(rule, optimizer, [callback]).fit(batches, EPOCHS, (images.x_test[:, None], images.y_test))


def digits(rule: str, seed: int, callback: object) -> None:
    """Train a net on digits as `hebbian train` does."""
    run_experiment(Experiment(rule, seed, recommended(rule)), load_images("digits"), [callback])


TRAININGS: dict[str, Callable[[int, object], None]] = {
    "mnist mlp": partial(mnist, "mlp"),
    "mnist conv": partial(mnist, "conv"),
    "digits backprop": partial(digits, "backprop"),
    "digits softhebb": partial(digits, "softhebb"),
}


def measure(training: Callable[[int, object], None], seed: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of a training without its logging, and those of the logging by event."""
    with TemporaryDirectory() as folder, TensorBoard(Path(folder), settings={"seed": seed}) as board:
        timed = Timed(board)
        start = time.process_time()
        training(seed, timed)
        total = time.process_time() - start
    return total - sum(timed.seconds.values()), timed.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3, help="at least two")
    parser.add_argument("--only", choices=TRAININGS, nargs="+", default=list(TRAININGS))
    options = parser.parse_args()
    if "HEBBIAN_DATA" not in os.environ:
        parser.error("set HEBBIAN_DATA to the folder that holds mnist/")
    torch.set_num_threads(1)
    fractions: dict[str, list[tuple[float, float]]] = {name: [] for name in options.only}
    for seed in range(options.repetitions):
        for name in options.only:
            training, logging = measure(TRAININGS[name], seed)
            end = logging.pop("on_phase")
            fractions[name].append((sum(logging.values()) / training, end / training))
            parts = ", ".join(f"{event} {seconds:.2f} s" for event, seconds in logging.items())
            print(f"{name} {seed}: training {training:.1f} s; {parts}, on_phase {end:.2f} s", flush=True)
    for name, values in fractions.items():
        during, end = (t_interval(part) for part in zip(*values, strict=True))
        print(
            f"{name}: logging takes {during[0]:.1%} ± {during[1]:.1%} of the training's time, "
            f"and at the end {end[0]:.1%} ± {end[1]:.1%}"
        )


if __name__ == "__main__":
    main()
