"""Published recipes on their own nets, beside backprop: python benchmarks/published.py --budget-minutes 40.

All 60,000 training images of MNIST ($HEBBIAN_DATA/mnist), one seed, one thread.  The number of epochs is
what a short trial predicts to fit into the minutes; backprop then gets the same net, initial weights,
batches, rates and epochs, so that a run shorter than the published one has a fair control.  The test
accuracy after each epoch is not used for any choice.

Each finished curve is written to benchmarks/results/published/RULE.json; a second call computes those that
are missing or have another recipe or seed.

``--softhebb FOLDER`` runs the whole recipe of SoftHebb on CIFAR-10 (in FOLDER) instead, and its control with
random kernels.  If it is interrupted, the next call resumes from RULE.checkpoint beside the results.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from journal import PUBLISHED
from torch import Tensor, nn
from torch.optim import Adam

from hebbian.diagnostics import alignment
from hebbian.registry import find_rule
from hebbian.rule import Rule
from trainers.data.batches import Augment, Split
from trainers.data.images import load_images
from trainers.networks import lenet, mlp, uniform
from trainers.phases import RunOptions, train_rule
from trainers.provenance import read_record, to_plain, versions, write_record
from trainers.recipes import Phase, Recipe
from trainers.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parent.parent))

from examples import softhebb_cifar10

TRIAL = 4_000
SAMPLE = 1_000


def jitter(x: Tensor, generator: torch.Generator, reach: int = 2) -> Tensor:
    """Shift images (N, 1, H, W), all of a batch alike, by up to ``reach`` pixels in each direction."""
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    return F.pad(x, [reach] * 4)[..., dy : dy + x.shape[-2], dx : dx + x.shape[-1]]


def leaky() -> nn.Module:
    return nn.Sequential(nn.LeakyReLU(), nn.Dropout(0.1))


@dataclass(frozen=True)
class Published:
    """A rule's net and settings, and the reported accuracy."""

    net: Callable[[], nn.Sequential]
    shape: str
    phase: Phase
    figure: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    augment: Augment | None = None


_LENET = Published(
    lenet,
    "LeNet",
    Phase(partial(Adam, lr=1e-3), epochs=100, batch=64),
    "",
)
RECIPES = {
    "forward-forward": Published(
        partial(mlp, 784, [1000] * 3, 10),
        "784-1000-1000-1000",
        Phase(partial(Adam, lr=1e-3), epochs=100),
        "error 1.36 to 1.47 % after 100 epochs (Hinton 2022)",
    ),
    "predsim": Published(
        partial(mlp, 784, [1024] * 3, 10, leaky),
        "784-1024-1024-1024-10, leaky ReLU, dropout 0.1, 2 px jitter",
        Phase(partial(Adam, lr=5e-4), epochs=100, batch=128),
        "error 0.62 % after 100 epochs; backprop 0.75 % (Nøkland & Eidnes 2019)",
        augment=jitter,
    ),
    "fa": replace(_LENET, figure="error 1.70 % after 100 epochs; backprop 0.91 % (BioTorch)"),
    "dfa": replace(_LENET, figure="error 1.61 % after 100 epochs; backprop 0.91 % (BioTorch)"),
    "usf": replace(_LENET, figure="error 0.94 % after 100 epochs; backprop 0.91 % (BioTorch)"),
    "pc": Published(
        partial(mlp, 784, [512, 512], 10),
        "784-512-512-10",
        Phase(partial(Adam, lr=1e-3), epochs=50),
        "accuracy 98.03 % (ngc-learn)",
        {"rate": 0.05, "precision": 0.1},
    ),
    "eqprop": Published(
        partial(mlp, 784, [512], 10),
        "784-512-10",
        Phase(partial(Adam, lr=1e-3), epochs=50, batch=50),
        "error 2 to 2.5 % (unconfirmed)",
        {"steps": (30, 10)},
    ),
}


class Curve:
    """The accuracy on the test images after each epoch, and the processor seconds so far."""

    def __init__(self) -> None:
        self.accuracy: list[float] = []
        self.seconds: list[float] = []
        self._start, self._testing = time.process_time(), 0.0

    def on_epoch(self, trainer: Trainer) -> None:
        """Test; the time of testing is not counted."""
        begin = time.process_time()
        self.seconds.append(round(begin - self._start - self._testing, 1))
        self.accuracy.append(trainer.evaluate()["accuracy"])
        self._testing += time.process_time() - begin
        print(f"{len(self.accuracy)}: {self.accuracy[-1]:.2%} after {self.seconds[-1]} s", flush=True)


def learn(rule: str, how: Published, epochs: int, seed: int, images: Split) -> dict[str, Any]:
    """Train a fresh net by ``rule``, a name of the registry, and return its curve."""
    model = how.net()
    uniform(model, torch.Generator().manual_seed(seed))
    curve = Curve()
    data = replace(images.training_data(), augment=how.augment)
    recipe = Recipe(replace(how.phase, epochs=epochs), settings={} if rule == "backprop" else how.settings)
    trained = train_rule(rule, model, data, recipe, RunOptions(seed, [curve]))
    found: dict[str, Any] = {"accuracy": curve.accuracy, "seconds": curve.seconds}
    if "own readout" not in find_rule(rule).traits:
        found["angles"] = angles(trained, images)
    return found


def angles(rule: Rule, images: Split) -> list[float]:
    """Return the degrees between a rule's update and backprop's, one for each hidden layer."""
    x, y = images.x_train[:SAMPLE], images.y_train[:SAMPLE]
    *hidden, _ = alignment(rule, F.cross_entropy, x, y).values()
    return [round(math.degrees(math.acos(cosine)), 1) for cosine in hidden]


def epochs_within(minutes: float, rule: str, how: Published, images: Split) -> int:
    """Return how many epochs fit, estimated on a few images; at most the published number."""
    x, y = images.x_train, images.y_train
    for n in (TRIAL // 10, TRIAL):  # the first one warms up
        start = time.perf_counter()
        learn(rule, how, 1, 0, Split(x[:n], y[:n], x[:1], y[:1]))
    pace = (time.perf_counter() - start) * len(x) / TRIAL
    return min(how.phase.epochs, max(1, int(60 * minutes / pace)))


def stored(plan: Mapping[str, Any], epochs: int | None) -> dict[str, Any] | None:
    """Return the stored run of ``plan``, of this length if ``epochs`` is given."""
    path = PUBLISHED / f"{plan['rule']}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = read_record(path)
    same = all(found[key] == value for key, value in to_plain(plan).items())
    return found if same and epochs in (None, found["epochs"]) else None


def measure(rule: str, seed: int, minutes: float, epochs: int | None, deadline: float, images: Split) -> None:
    """Compute the missing curves of a rule and of its control."""
    how = RECIPES[rule]
    plan = {"rule": rule, "seed": seed, "recipe": how}
    run = stored(plan, epochs)
    if run is None:
        epochs = epochs or epochs_within(minutes, rule, how, images)
        run = {**plan, "epochs": epochs, "versions": versions(), "curves": {}}
    for name in (rule, "backprop"):
        if name not in run["curves"] and time.time() < deadline:
            print(f"{rule}: {run['epochs']} epochs by {name}", flush=True)
            run["curves"][name] = learn(name, how, run["epochs"], seed, images)
            write_record(PUBLISHED / f"{rule}.json", run)


def measure_softhebb(seed: int, images: Split) -> None:
    """Compute the missing runs of SoftHebb on CIFAR-10 and of its control."""
    how = {
        "shape": "96-384-1536 convolutions, CIFAR-10",
        "figure": "accuracy 80.3 % (Journé et al. 2023)",
        "phase": softhebb_cifar10.PUBLISHED.readout,
        "features": softhebb_cifar10.PUBLISHED.learn,
        "settings": softhebb_cifar10.SOFTHEBB,
    }
    plan = {"rule": "softhebb", "seed": seed, "recipe": how}
    epochs = softhebb_cifar10.PUBLISHED.readout.epochs
    run = stored(plan, epochs) or {**plan, "epochs": epochs, "versions": versions(), "curves": {}}
    for name, recipe in softhebb_cifar10.RECIPES.items():
        if name not in run["curves"]:
            checkpoint = PUBLISHED / f"{name}.checkpoint"
            score, seconds = softhebb_cifar10.run(name, recipe, images, seed=seed, checkpoint=checkpoint)
            run["curves"][name] = {"accuracy": [score], "seconds": [round(seconds, 1)]}
            write_record(PUBLISHED / "softhebb.json", run)
            checkpoint.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="+", choices=RECIPES, default=list(RECIPES), metavar="NAME")
    parser.add_argument("--budget-minutes", type=float, default=40, help="no curve begins after this time")
    parser.add_argument("--minutes", type=float, default=3, help="for a rule; backprop takes its own time")
    parser.add_argument("--epochs", type=int, help="instead of minutes, to repeat a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--softhebb", type=Path, metavar="FOLDER", help="folder of CIFAR-10")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    if options.softhebb is not None:
        return measure_softhebb(options.seed, load_images("cifar10", options.softhebb))
    if "HEBBIAN_DATA" not in os.environ:
        parser.error("set HEBBIAN_DATA to the folder that holds mnist/")
    deadline = time.time() + 60 * options.budget_minutes
    mnist = load_images("mnist", Path(os.environ["HEBBIAN_DATA"], "mnist"))
    images = replace(mnist, x_train=mnist.x_train[:, None], x_test=mnist.x_test[:, None])
    for rule in options.rules:
        if time.time() < deadline:
            measure(rule, options.seed, options.minutes, options.epochs, deadline, images)


if __name__ == "__main__":
    main()
