"""How cost grows with units, batch, depth, channels and duration: python benchmarks/growth.py [--again].

Rows of table `growth` of docs/speed.md, measured as by benchmarks/speed.py: the baseline is the same work at
the smallest size, and what is predicted is the ratio of the multiplications, or of the sizes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import mne
import numpy as np
import torch
import torch.nn.functional as F
from speed import INPUTS, Work, multiplications, step
from threadpoolctl import threadpool_limits
from timing import Row, run
from torch import nn

from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing, clean
from eeg.preprocessing.quality import examine
from eeg.preprocessing.recording import Recording
from hebbian import Hebbian, SoftHebb, build
from trainers.networks import mlp


def softhebb(units: int, batch: int) -> Work:
    torch.manual_seed(0)
    layer = nn.Linear(INPUTS, units, bias=False)
    rule = Hebbian(nn.Sequential(layer), {"0": SoftHebb()})
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-6)
    return partial(step, rule, optimizer, torch.rand(batch, INPUTS))


def feedback(depth: int) -> Work:
    torch.manual_seed(0)
    x, y = torch.rand(256, INPUTS), torch.randint(10, (256,))
    rule = build("dfa", mlp(INPUTS, [500] * depth, 10), F.cross_entropy, example=x, classes=10)
    return partial(step, rule, torch.optim.SGD(rule.parameters(), lr=1e-6), x, y)


def prepare(channels: int, minutes: int) -> Work:
    """Return the examination and preprocessing of channels of the 10-10 system at 256 Hz."""
    positions = mne.channels.make_standard_montage("colin27_1005").ch_names
    names = [*TEN_TWENTY, *(name for name in positions if name not in (*TEN_TWENTY, "T3", "T4", "T5", "T6"))]
    names = names[:channels]
    volts = np.random.default_rng(0).normal(0, 2e-5, (channels, minutes * 60 * 256))
    raw = mne.io.RawArray(volts, mne.create_info(names, 256, "eeg"), verbose="error")
    settings = Preprocessing(tuple(names))

    def work() -> None:
        recording = Recording.scan(raw)
        examine(recording, settings.channels)
        clean(recording, settings)

    return work


def rows() -> Iterator[Row]:
    yield from _growth("SoftHebb, 784-{}, batch 256", partial(softhebb, batch=256), (500, 1000, 2000, 4000))
    yield from _growth("SoftHebb, 784-2000, batch {}", partial(softhebb, 2000), (64, 256, 1024))
    yield from _growth("direct feedback, {} hidden layers of 500, batch 256", feedback, (1, 2, 4, 8))
    ten = partial(prepare, minutes=10)
    yield from _growth("examine and clean, {} channels, 10 minutes", ten, (19, 32, 64), counted=False)
    few = partial(prepare, 19)
    yield from _growth("examine and clean, 19 channels, {} minutes", few, (10, 40, 160), counted=False)


def _growth(
    title: str, prepare: Callable[[int], Work], sizes: Sequence[int], *, counted: bool = True
) -> Iterator[Row]:
    first, *others = sizes
    for size in others:

        def pair(size: int = size) -> tuple[Work, Work]:
            return prepare(first), prepare(size)

        def predict(size: int = size) -> float:
            if not counted:
                return size / first
            return multiplications(prepare(size)) / multiplications(prepare(first))

        yield Row("growth", title.format(size), f"{first}", None, pair, pairs=5, predict=predict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="also rows that were measured at this commit")
    torch.set_num_threads(1)
    threadpool_limits(1)
    run(list(rows()), parser.parse_args().again)


if __name__ == "__main__":
    main()
