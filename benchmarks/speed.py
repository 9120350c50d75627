"""Speed against named baselines: python benchmarks/speed.py [--table NAME ...] [--again].

Every row compares processor time with that of a baseline, measured alternately in one run, on one thread:
the two products that any two-factor rule needs, a step of backprop, a hand-written training loop, MNE's own
reference, filter and resampling.  A row is measured once for each commit and machine; results are lines of
benchmarks/results/speed.jsonl.  Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import finalize

import mne
import numpy as np
import torch
import torch.nn.functional as F
from edfio import Edf, EdfSignal
from threadpoolctl import threadpool_limits
from timing import Row, run
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from tutorial import explain

from eeg.detector.detector import Detector
from eeg.detector.model_file import save_detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.models.registry import build_model
from eeg.preprocessing.loading import prepare
from eeg.preprocessing.pipeline import Preprocessing, clean
from eeg.preprocessing.quality import examine
from eeg.preprocessing.recording import Recording
from eeg.simulation.write_bids import write_cohort
from eeg.workflows.detect import detect
from hebbian import Backprop, Hebbian, Krotov, Sanger, SoftHebb, build, find_rule, hebb, list_rules, oja
from hebbian.two_factor import Plasticity
from trainers.callbacks import max_normalise
from trainers.data.batches import Batches
from trainers.networks import mlp
from trainers.recipes import recommended
from trainers.trainer import Trainer
from visualizers.tensorboard import TensorBoard

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


def step(rule: nn.Module, optimizer: torch.optim.Optimizer, *batch: Tensor) -> None:
    optimizer.zero_grad()
    rule(*batch).backward()
    optimizer.step()


# A tenth of an epoch of Krotov & Hopfield 2019


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
            step(rule, optimizer, batch)

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

    return products, lambda: step(rule, optimizer, x)


# A step of every rule

STEP_GOALS = {"stdp": 8.0, "rstdp": 8.0, "clapp": 2.0, "sim": 2.0, "predsim": 2.0}


def rule_step(name: str, batch: int) -> tuple[Work, Work]:
    torch.manual_seed(0)
    x, y = torch.rand(batch, INPUTS), torch.randint(10, (batch,))

    def of(name: str) -> Work:
        recipe = recommended(name)
        model = mlp(INPUTS, [500], 10, recipe.activation)
        criterion = F.cross_entropy if find_rule(name).supervised else None
        rule = build(name, model, criterion, example=x, classes=10, **recipe.settings)
        optimizer = torch.optim.SGD(rule.parameters(), lr=1e-6)
        return lambda: step(rule, optimizer, x, y)

    return of("backprop"), of(name)


def predicted(name: str, batch: int) -> float:
    """Return the ratio of the multiplications in matrix products and convolutions."""
    baseline, ours = map(multiplications, rule_step(name, batch))
    return ours / baseline


def multiplications(work: Work) -> int:
    """Return how many a work does in matrix products and convolutions."""
    with Multiplications() as counter:
        work()
    return counter.total


class Multiplications(TorchDispatchMode):
    """Counts them as `FlopCounterMode` does, whose hooks at modules fail inside `torch.func`."""

    total = 0

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = op(*args, **(kwargs or {}))
        if count := flop_registry.get(op.overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


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


def tensorboard() -> tuple[Work, Work]:
    """Return a run without and one with TensorBoard; imports and the opening of the file are not measured."""
    torch.manual_seed(0)
    x, y = torch.rand(10_000, INPUTS), torch.randint(10, (10_000,))
    held_out = torch.rand(1000, INPUTS), torch.randint(10, (1000,))

    def train(*callbacks: object) -> None:
        model = mlp(INPUTS, [500], 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        batches = Batches(x, y, 100, torch.Generator())
        Trainer(Backprop(model, F.cross_entropy), optimizer, callbacks).fit(batches, 1, held_out)

    folder = TemporaryDirectory()
    board = TensorBoard(Path(folder.name))

    def logged() -> None:
        assert folder  # is removed with this function
        train(board)

    return train, logged


# An hour of EEG


def prepare_hour(examined: bool) -> tuple[Work, Work]:
    """Return MNE's calls of docs/preprocessing.md, and ours, with or without the examination."""
    volts = np.random.default_rng(0).normal(0, 2e-5, (len(TEN_TWENTY), 3600 * 256))
    raw = mne.io.RawArray(volts, mne.create_info(list(TEN_TWENTY), 256, "eeg"), verbose="error")
    settings = Preprocessing(TEN_TWENTY)

    def by_mne() -> None:
        work = raw.copy().set_eeg_reference("average", verbose="error")
        work.filter(0.5, 45, h_trans_bandwidth=5, verbose="error").resample(
            128, method="fft", verbose="error"
        )

    def ours() -> None:
        recording = Recording.scan(raw)
        if examined:
            examine(recording, TEN_TWENTY)
        clean(recording, settings)

    return by_mne, ours


# A recording scored and explained


def detection(minutes: float, *, whole_command: bool = False) -> tuple[Work, Work]:
    """Return MNE and Captum as in their tutorials, and `eeg detect`, which also examines, checks and reports.

    Each as a command, or in this process: of a further recording.
    """
    temporary = TemporaryDirectory()
    folder = Path(temporary.name)
    write_cohort(folder / "cohort", subjects=2, minutes=minutes, progress=False)
    recording = next((folder / "cohort").rglob("sub-002*.edf"))
    torch.manual_seed(0)
    network = build_model("tvgg-gap", len(TEN_TWENTY), 256).eval()
    detector = Detector.from_network(
        network, preprocessing=Preprocessing(TEN_TWENTY), window=2.0, name="tvgg-gap", aggregation="top"
    )
    if whole_command:
        model, plain = folder / "model.safetensors", folder / "network.pt"
        save_detector(detector, model)
        torch.save(nn.Sequential(*network), plain)
        tutorial = str(Path(__file__).with_name("tutorial.py"))
        ours = ("-m", "eeg", "detect", str(model), str(recording), "--out", str(folder / "out"))
        works = command(*ours, baseline=(tutorial, str(recording), str(plain)))
    else:
        works = (
            lambda: explain(recording, network),
            lambda: detect(detector, recording, folder / "out", progress=False),
        )
    finalize(works[1], temporary.cleanup)
    return works


def prepare_file() -> tuple[Work, Work]:
    """Return MNE's calls from an EDF file to windows of 10 s, and ours, with the examination."""
    folder = TemporaryDirectory()
    path, rng = Path(folder.name) / "hour.edf", np.random.default_rng(0)
    signals = [
        EdfSignal(rng.normal(0, 20, 3600 * 256), 256, label=n, physical_dimension="uV") for n in TEN_TWENTY
    ]
    Edf(signals).write(path)

    def by_mne() -> None:
        raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
        raw.set_eeg_reference("average", verbose="error")
        raw.filter(0.5, 45, h_trans_bandwidth=5, verbose="error").resample(128, method="fft", verbose="error")
        epochs = mne.make_fixed_length_epochs(raw, 10.0, preload=True, verbose="error")
        epochs.get_data(copy=False).astype(np.float32)

    def ours() -> None:
        assert folder  # is removed with this function
        prepare(Recording.scan(read_recording(path, preload=False)), Preprocessing(TEN_TWENTY), 10.0)

    return by_mne, ours


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
    yield Row(
        "tensorboard", "one epoch of 10,000 images, 1,000 held out, 784-500-10", "without", 1.05, tensorboard
    )
    for batch in (100, 1024):
        for name in (name for name, rule in list_rules().items() if "recurrent" not in rule.traits):
            prepare, predict = (partial(f, name, batch) for f in (rule_step, predicted))
            goal = STEP_GOALS.get(name)
            yield Row("step", f"{name}, batch {batch}", "backprop", goal, prepare, predict=predict)
    hour = "an hour, 19 channels, 256 Hz"
    for title, examined, goal in ((f"{hour}: clean", False, 0.2), (f"{hour}: examine and clean", True, 0.5)):
        yield Row("preprocessing", title, "MNE's calls", goal, partial(prepare_hour, examined), pairs=5)
    tutorials = "MNE and Captum as in their tutorials"
    for title, minutes, goal in (("5 min, a further recording", 5, None), ("an hour", 60, 0.46)):
        yield Row("detect", title, tutorials, goal, partial(detection, minutes), pairs=5)
    prepare = partial(detection, 5, whole_command=True)
    yield Row("detect", "5 min, the whole command", tutorials, None, prepare, pairs=5)
    title = f"{hour}: an EDF file, examine, clean and cut"
    yield Row("preprocessing", title, "MNE's calls", None, prepare_file, pairs=5)
    for name, module in (("eeg", "eeg"), ("hebbian", "trainers")):
        arguments = partial(command, "-m", module, "--help")
        yield Row("command", f"{name} --help", "python -c pass", None, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="+", help="only rows of these tables")
    parser.add_argument("--again", action="store_true", help="also rows that were measured at this commit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    run([row for row in rows() if not options.table or row.table in options.table], options.again)


if __name__ == "__main__":
    main()
