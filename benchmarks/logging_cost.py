"""What the TensorBoard callback costs: python benchmarks/logging_cost.py --repetitions 3.

784-500-10, and two convolutions of 16 and 32 kernels 5 x 5 with pooling, in a phase of ten epochs of MNIST
($HEBBIAN_DATA/mnist, batches of 32) with its whole test set held out.  They learn by backprop with plain SGD,
the cheapest steps there are, so that the share of the logging is at its largest.

The processor time inside the callback, whose writing thread works beside it, is compared with that of all
else.  The nets take turns.  Seconds are those of one processor core.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F

from hebbian.backprop import Backprop
from trainers.data import Batches
from trainers.images import load_images
from trainers.models import convnet, mlp
from trainers.table import interval
from trainers.trainer import Trainer
from visualizers.tensorboard import TensorBoard

EPOCHS, BATCH = 10, 32
NETS = {
    "mlp": lambda: mlp(28 * 28, [500], 10),
    "conv": lambda: convnet((1, 28, 28), [16, 32], 10),
}


class Timed:
    """A callback whose time is taken, by event."""

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


def measure(net: str, epochs: int, seed: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of a training without its logging, and those of the logging by event."""
    images = load_images("mnist", Path(os.environ["HEBBIAN_DATA"], "mnist"))
    torch.manual_seed(seed)
    rule = Backprop(NETS[net](), F.cross_entropy)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.01)
    batches = Batches(images.x_train[:, None], images.y_train, BATCH, torch.Generator().manual_seed(seed))
    with TemporaryDirectory() as folder, TensorBoard(Path(folder), settings={"seed": seed}) as board:
        timed = Timed(board)
        start = time.process_time()
        Trainer(rule, optimizer, [timed]).fit(batches, epochs, (images.x_test[:, None], images.y_test))
        total = time.process_time() - start
    return total - sum(timed.seconds.values()), timed.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=3, help="at least two")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    if "HEBBIAN_DATA" not in os.environ:
        parser.error("set HEBBIAN_DATA to the folder that holds mnist/")
    torch.set_num_threads(1)
    shares: dict[str, list[float]] = {net: [] for net in NETS}
    for seed in range(options.repetitions):
        for net in NETS:
            training, logging = measure(net, options.epochs, seed)
            shares[net].append(sum(logging.values()) / training)
            parts = ", ".join(f"{event} {seconds:.2f} s" for event, seconds in logging.items())
            print(f"{net} {seed}: training {training:.1f} s; {parts}", flush=True)
    for net, values in shares.items():
        mean, half = interval(values)
        print(f"{net}: logging takes {mean:.1%} ± {half:.1%} of the training's time")


if __name__ == "__main__":
    main()
