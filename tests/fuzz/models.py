"""Mutations of a detector's file: of its bytes, settings and weights, with and without a valid digest.

``python -m tests.fuzz.models --seconds 60`` tries them until the time is over.  A mutated model must be
refused by one clear line, or load and score windows by finite numbers; with an unchanged digest it must score
as the original.
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from eeg.detector.calibration import fit_calibration
from eeg.detector.model_file import load_detector, save_detector
from eeg.detector.novelty import fit_novelty, statistics
from eeg.detector.prototypes import Prototypes
from eeg.reporting.analysis import summarize_model
from eeg.reporting.model_card import render_card
from tests.fuzz import oracle
from tests.fuzz.targets import detector
from tests.test_eeg.helpers import read_model, write_model
from trainers.errors import DataError

SECONDS = 2.0
"""A model is loaded, or refused, within this time (several times as much on a busy machine)."""

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 10**8, -(10**8), 10**30, 10**400),
    *(0.5, -0.5, 1.5, 1e-300, 1e300, math.nan, math.inf, -math.inf),
    *("", "x", "1", "Cz", "a\nb", "\x1b[31m", "\ud800", "‮x", "x" * 10_000, "os:system", "[a](b)"),
    *([], {}, [0], [[]], {"x": 1}, ["Cz"], [None], [math.nan]),
)


_FLOATS = (math.nan, math.inf, -math.inf, 1e30, -1e30, 0.0, -1.0)


@dataclass(frozen=True)
class Finding:
    """A file that is neither refused by one line nor scores by finite numbers."""

    kind: str
    seed: int
    content: bytes
    message: str


@cache
def valid() -> tuple[bytes, str]:
    """Return the bytes of a valid model with all parts, and what `use` returns for it."""
    g = np.random.default_rng(0)
    windows = g.standard_normal((6, 19, 256)).astype(np.float32)
    labels = np.arange(24) % 2
    whole = replace(
        detector(),
        model="tvgg-gap",
        calibration=fit_calibration(g.normal(size=24) + labels, labels),
        gate=fit_novelty([statistics(part, 128.0) for part in (windows[:3], windows[3:])]),
        prototypes=Prototypes(torch.from_numpy(windows[:2]), torch.from_numpy(windows[2:4])),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_detector(whole, path)
        return path.read_bytes(), use(path)


def use(path: Path) -> str:
    """Load a model and use all of it; return its decision."""
    loaded = load_detector(path)
    channels, times = loaded.shape
    x = np.random.default_rng(1).standard_normal((2, channels, times)).astype(np.float32)
    try:
        logits = loaded.logits(x)
    except DataError as error:  # the commands name the recording
        raise DataError(f"{path}: {error}") from error
    score = float(loaded.score(logits))
    probability = float(loaded.probability(logits, 0.1))
    if not (math.isfinite(score) and 0 <= probability <= 1):
        raise ArithmeticError(f"score {score}, probability {probability}")
    answer = loaded.calibration.conformal.answer(score, 0.1)
    novelty = loaded.gate and loaded.gate.describe_novelty(statistics(x, loaded.preprocessing.sfreq))
    card, summary = render_card(loaded), summarize_model(loaded)
    return json.dumps([score, probability, str(answer), answer.grounds, novelty, len(card), summary.training])


_MOST = 1e300  # beyond, the product is too large for a float


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in nested settings."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, item in inner for found in _places(item, (*place, key)))]


def _change_settings(g: np.random.Generator, facts: Any, tensors: dict[str, Tensor]) -> None:
    places = _places(facts)[1:]
    *parents, last = places[int(g.integers(len(places)))]
    box = facts
    for key in parents:
        box = box[key]
    what = g.random()
    if what < 0.1:
        del box[last]
    elif what < 0.2 and isinstance(box, dict):
        box[_value(g, str)] = _value(g)
    elif what < 0.3 and type(box[last]) in (int, float) and not abs(box[last]) > _MOST:
        box[last] *= float(10 ** g.uniform(-9, 9)) * (-1) ** int(g.integers(2))
    else:
        box[last] = _value(g)


def _value(g: np.random.Generator, kind: type = object) -> Any:
    found = [value for value in _VALUES if isinstance(value, kind)]
    return copy.deepcopy(found[int(g.integers(len(found)))])


def _change_weights(g: np.random.Generator, facts: Any, tensors: dict[str, Tensor]) -> None:
    name, other = (str(n) for n in g.choice(sorted(tensors), 2))
    tensor = tensors[name]
    changes: list[Callable[[], Any]] = [
        lambda: tensors.pop(name),
        lambda: tensors.update({name + ".more": tensor}),
        lambda: tensors.update({name: tensors[other], other: tensor}),
        lambda: tensors.update({name: tensor.double()}),
        lambda: tensors.update({name: tensor.to(torch.int8)}),
        lambda: tensors.update({name: tensor[None].clone()}),
        lambda: tensors.update({name: tensor.flatten()[:-1].clone()}),
        lambda: tensors.update({name: tensor.flatten()[:0].clone()}),
        lambda: tensor.fill_(float(g.choice(_FLOATS))) if tensor.is_floating_point() else tensor.fill_(-1),
        lambda: (
            tensor.mul_(1e30) if tensor.is_floating_point() else tensor.fill_(torch.iinfo(tensor.dtype).max)
        ),
    ]
    changes[int(g.integers(len(changes)))]()


def _change_bytes(g: np.random.Generator, data: bytes) -> bytes:
    header = 8 + int.from_bytes(data[:8], "little")
    at = int(g.integers(header if g.random() < 0.5 else len(data)))
    what = g.random()
    if what < 0.6:
        return data[:at] + bytes([data[at] ^ 1 << int(g.integers(8))]) + data[at + 1 :]
    if what < 0.7:
        return data[:at]
    if what < 0.8:
        return data[:at] + g.bytes(int(g.integers(1, 64))) + data[at:]
    return data[:at] + g.bytes(8) + data[at + 8 :]


def mutate(seed: int) -> tuple[str, bytes, bool]:
    """Return the kind of a mutation, the mutated file, and whether its digest is that of its content."""
    g = np.random.default_rng(seed)
    if g.random() < 0.25:
        return "bytes", _change_bytes(g, valid()[0]), False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(valid()[0])
        facts, tensors = read_model(path)
        kind, change = ("settings", _change_settings) if g.random() < 0.75 else ("weights", _change_weights)
        for _ in range(int(g.integers(1, 3))):
            change(g, facts, tensors)
        write_model(path, facts, {name: tensor.clone() for name, tensor in tensors.items()})
        return kind, path.read_bytes(), True


def attempt(seed: int) -> tuple[str, Finding | None]:
    """Try one mutation; return what came of it, and what is wrong with that."""
    expected = valid()[1]
    kind, content, whole = mutate(seed)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        outcome = oracle.attempt(use, path, 10 * SECONDS)
        wrong = oracle.fault(outcome, path)
        if wrong is None and outcome.kind == "value" and not whole and outcome.value != expected:
            wrong = f"the damage is not noticed: {outcome.value}, expected {expected}"
    if wrong is None:
        return outcome.kind, None
    return "finding", Finding(kind, seed, content, wrong.replace(folder, "FOLDER"))


def findings(seed: int, budget: float) -> list[Finding]:
    """Try mutations of the seeds from ``seed`` on for ``budget`` seconds; return what is wrong."""
    end, wrong = time.monotonic() + budget, []
    while time.monotonic() < end:
        wrong += [found for found in [attempt(seed)[1]] if found is not None]
        seed += 1
    return wrong


@click.command()
@click.option("--seconds", type=float, default=60, show_default=True)
@click.option("--count", type=int, default=10**9, help="When to stop: after so many files.")
@click.option("--seed", type=int, help="Of the first file; the time by default.")
def main(seconds: float, count: int, seed: int | None) -> None:
    """Mutate a model; exit with 1 if a mutation is neither refused by one line nor scores."""
    seed = int(time.time()) * 1000 if seed is None else seed
    print(f"seed {seed}; repeat with --seed {seed}")
    end, tally = time.monotonic() + seconds, Counter[str]()
    for number in range(seed, seed + count):
        if time.monotonic() > end:
            break
        outcome, found = attempt(number)
        tally[outcome] += 1
        if found is not None:
            print(f"{found.kind}, seed {number}: {found.message}")
    print(f"{tally.total()} models:", *(f"{count} {what}" for what, count in tally.items()))
    raise SystemExit(tally["finding"] > 0)


if __name__ == "__main__":
    main()
