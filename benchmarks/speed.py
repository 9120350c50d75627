"""Speed against named baselines: python benchmarks/speed.py [--table NAME ...] [--again].

Every row compares processor time with that of a baseline, measured alternately in one run, on one thread:
the two products that any two-factor rule needs, a step of backprop, a hand-written training loop, MNE's own
filters, Captum as in its tutorial.  A row is measured once for each commit and machine; results are lines of
benchmarks/results/speed.jsonl.  Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from timing import Row, run
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hebbian import Backprop, Hebbian, Krotov, Sanger, SoftHebb, build, find_rule, hebb, list_rules, oja
from hebbian.two_factor import Plasticity
from trainers.callbacks import max_normalise
from trainers.data.batches import Batches
from trainers.networks import mlp
from trainers.recipes import recommended
from trainers.trainer import Trainer

INPUTS, UNITS, BATCH = 784, 2000, 1024
Work = Callable[[], object]
PLASTICITIES: dict[str, tuple[Plasticity, float, float]] = {
    "hebb": (hebb, 1.25, 1.2),
    "oja": (oja, 1.25, 1.2),
    "softhebb": (SoftHebb(), 1.25, 1.2),
    "krotov": (Krotov(), 1.25, 1.2),
    "sanger": (Sanger(), 2.2, 1.2),
}
"""Each with its goals at Linear and at Conv2d."""


def _step(rule: nn.Module, optimizer: torch.optim.Optimizer, *batch: Tensor) -> None:
    optimizer.zero_grad()
    rule(*batch).backward()
    optimizer.step()


# An epoch of Krotov & Hopfield 2019, by tenths


def _krotov() -> tuple[Tensor, nn.Module, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layer = nn.Linear(INPUTS, UNITS, bias=False)
    rule = Hebbian(nn.Sequential(layer, nn.ReLU(), nn.Linear(UNITS, 10)), {"0": Krotov()})
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02)
    max_normalise(optimizer)
    return torch.rand(6 * BATCH, INPUTS), layer, rule, optimizer


def krotov_in_a_loop() -> tuple[Work, Work]:
    x, layer, rule, optimizer = _krotov()

    def ours() -> None:
        for batch in x.split(BATCH):
            _step(rule, optimizer, batch)

    return forward_products(x, layer), ours


def krotov_in_the_trainer() -> tuple[Work, Work]:
    x, layer, rule, optimizer = _krotov()
    trainer = Trainer(rule, optimizer)
    batches = Batches(x, None, BATCH, torch.Generator().manual_seed(0))
    return forward_products(x, layer), lambda: trainer.fit(batches, 1)


def forward_products(x: Tensor, layer: nn.Linear) -> Work:
    """Return the product X Wᵀ, batch by batch."""

    @torch.no_grad()
    def work() -> None:
        for batch in x.split(BATCH):
            F.linear(batch, layer.weight)

    return work


# Updates at one layer


def linear_update(plasticity: Plasticity) -> tuple[Work, Work]:
    torch.manual_seed(0)
    layer, x = nn.Linear(INPUTS, UNITS, bias=False), torch.rand(BATCH, INPUTS)
    return _update(layer, x, plasticity)


def convolution_update(plasticity: Plasticity) -> tuple[Work, Work]:
    torch.manual_seed(0)
    return _update(nn.Conv2d(96, 384, 3, padding=1, bias=False), torch.rand(32, 96, 16, 16), plasticity)


def _update(layer: nn.Linear | nn.Conv2d, x: Tensor, plasticity: Plasticity) -> tuple[Work, Work]:
    rule = Hebbian(nn.Sequential(layer), {"0": plasticity})
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-4)

    def products() -> None:
        out = layer(x)
        torch.autograd.grad(out, layer.weight, out.detach())

    return products, lambda: _step(rule, optimizer, x)


# A step of every rule


def rule_step(name: str, batch: int) -> tuple[Work, Work]:
    torch.manual_seed(0)
    x, y = torch.rand(batch, INPUTS), torch.randint(10, (batch,))

    def step(name: str) -> Work:
        recipe = recommended(name)
        model = mlp(INPUTS, [500], 10, recipe.activation)
        criterion = F.cross_entropy if find_rule(name).supervised else None
        rule = build(name, model, criterion, example=x, classes=10, **recipe.settings)
        optimizer = torch.optim.SGD(rule.parameters(), lr=1e-6)
        return lambda: _step(rule, optimizer, x, y)

    return step("backprop"), step(name)


def predicted(name: str, batch: int) -> float:
    """Return the ratio of the multiplications in matrix products and convolutions."""
    counts = []
    for work in rule_step(name, batch):
        with FlopCounterMode(display=False) as counter:
            work()
        counts.append(counter.get_total_flops())
    return counts[1] / counts[0]


# The trainer


def trainer_loop() -> tuple[Work, Work]:
    torch.manual_seed(0)
    x, y = torch.rand(6000, INPUTS), torch.randint(10, (6000,))
    model = mlp(INPUTS, [500], 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    generator = torch.Generator()

    def by_hand() -> None:
        model.train()
        for chosen in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimizer.step()

    trainer = Trainer(Backprop(model, F.cross_entropy), optimizer)
    batches = Batches(x, y, 100, generator)
    return by_hand, lambda: trainer.fit(batches, 1)


# The commands


def command(*arguments: str, baseline: tuple[str, ...] = ("-c", "pass")) -> tuple[Work, Work]:
    def work(words: tuple[str, ...]) -> Work:
        return lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    return work(baseline), work(arguments)


def rows() -> Iterator[Row]:
    title, product = "Krotov & Hopfield, 784-2000, batch 1024", "one product X Wᵀ"
    yield Row("epoch", f"{title}, a loop", product, 1.3, krotov_in_a_loop)
    yield Row("epoch", f"{title}, Trainer", product, 1.3, krotov_in_the_trainer)
    products = "forward and weight gradient"
    for name, (rule, linear, convolution) in PLASTICITIES.items():
        shape = "Linear 784-2000, batch 1024"
        yield Row("update", f"{name}, {shape}", products, linear, partial(linear_update, rule))
        shape = "Conv2d 96-384, 3 x 3 on 16 x 16, batch 32"
        yield Row("update", f"{name}, {shape}", products, convolution, partial(convolution_update, rule))
    title, loop = "Trainer, backprop, 784-500-10, batch 100", "a hand-written loop"
    yield Row("trainer", title, loop, 1.05, trainer_loop)
    for batch in (100, 1024):
        for name in list_rules():
            yield Row("step", f"{name}, batch {batch}", "backprop", None, partial(rule_step, name, batch))
    for name, module in (("eeg", "eeg"), ("hebbian", "trainers")):
        arguments = partial(command, "-m", module, "--help")
        yield Row("command", f"{name} --help", "python -c pass", None, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="+", help="only rows of these tables")
    parser.add_argument("--again", action="store_true", help="also rows that were measured at this commit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run([row for row in rows() if not options.table or row.table in options.table], options.again)


if __name__ == "__main__":
    main()
