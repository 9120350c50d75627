"""Every rule on the same two nets: python benchmarks/rules.py --seeds 3 --budget-minutes 20 --jobs 2.

784-500-500-10, and two convolutions of 20 and 40 kernels 5 x 5 with pooling; the first 10,000 training images
of MNIST ($HEBBIAN_DATA/mnist) and its whole test set.  Backprop and frozen random features are among the
rules.  Each net gets the activation, initial weights and centring that `trainers.recommended` names for the
rule, and the same batches and epochs, but for noisy and spiking rules (`LONGER`, `SHORTER`).  The two
controls run on nets with centred inputs as well, which some rules need.  Seconds are those of one
processor core, training only.

Finished runs are lines of benchmarks/results/rules.jsonl; a second call computes those that are missing or
have other settings.  `--tune` instead prints one seed on 2,000 held-out training images and stores nothing:
rates are chosen by it, never by the test set.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from journal import CENTRED, NETS, RULES, Run, append, cell, read, summarise
from torch import Tensor, nn
from torch.optim import SGD, Adam

from hebbian.nn import Triangle
from hebbian.registry import build, find_rule, list_rules
from hebbian.synapse import synaptic, weight_layers
from trainers.comparison.compare import CONTROLS
from trainers.data.batches import Split, TrainingData
from trainers.data.images import load_images
from trainers.networks import convnet, mlp, uniform
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.recipes import Phase, Recipe, linear, recommended

TRAINING, HELD = 10_000, 2_000
HIDDEN, KERNELS = (500, 500), (20, 40)
EPOCHS, BATCH = {"mlp": 6, "conv": 3}, 32
READOUT_EPOCHS = 10
# Rules that learn from one number per trial average their noise over more epochs, within 30 seconds.
LONGER = dict.fromkeys(("weight-perturbation", "node-perturbation", "forward-gradient", "three-factor"), 4)
# Every time step is a forward pass: one epoch of convolutions leaves time for several steps.
SHORTER = dict.fromkeys((("stdp", "conv"), ("rstdp", "conv")), 1)
# Settling and spiking are cut short, or a run takes a minute; perturbations rewarded by one number must be
# large.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("eqprop", "mlp"): {"steps": (15, 5)},
    ("eqprop", "conv"): {"steps": (6, 2)},
    ("stdp", "mlp"): {"steps": 10},
    ("stdp", "conv"): {"steps": 5},
    ("rstdp", "mlp"): {"steps": 10},
    ("rstdp", "conv"): {"steps": 5},
    ("three-factor", "mlp"): {"sigma": 0.5},
    ("three-factor", "conv"): {"sigma": 0.5},
    ("clapp", "conv"): {"patch": 4},
    # Patches are closer to each other than whole images: at 1 all kernels become alike.
    ("soft-instar", "conv"): {"temperature": 0.03},
    ("forward-forward", "conv"): {"strength": 1.0, "slope": 0.1},
}
CHANGES: dict[tuple[str, str], dict[str, Any]] = {
    # At larger rates units without competition learn the same feature.
    ("bcm", "mlp"): {"learn": Phase(partial(SGD, lr=1e-4), epochs=1, schedule=linear)},
    # At 0.3, the rate of the recipe, two layers diverge from some initial weights.
    **{
        ("softhebb", net): {"learn": replace(recommended("softhebb").learn, optimizer=partial(SGD, lr=0.2))}
        for net in NETS
    },
    ("sanger", "mlp"): {"learn": Phase(partial(SGD, lr=3e-4), epochs=1, schedule=linear)},
    ("foldiak", "mlp"): {"learn": Phase(partial(SGD, lr=5e-3), epochs=1, schedule=linear)},
    # The published rate and first weights are for 100 epochs; in a few, the units would not move.
    **{
        ("krotov", net): {
            "learn": replace(recommended("krotov").learn, optimizer=partial(SGD, lr=0.1)),
            "activation": Triangle,
            "initialise": uniform,
            "scale": "standard",
            "centred": True,
        }
        for net in NETS
    },
    # Convolutions diverge at the rates of the recipe.
    ("pepita", "conv"): {"learn": Phase(partial(Adam, lr=1e-3), epochs=1), "centred": True},
    ("forward-forward", "conv"): {"learn": Phase(partial(Adam, lr=2e-3), epochs=1), "centred": True},
    **{
        (rule, "conv"): {"centred": True}
        for rule in ("sim", "predsim", "clapp", "dtp", "weight-perturbation")
    },
}


@cache
def images(tune: bool) -> Split:
    mnist = load_images("mnist", Path(os.environ["HEBBIAN_DATA"], "mnist"))
    x, y = mnist.x_train[:TRAINING, None], mnist.y_train[:TRAINING]
    if tune:
        return Split(x[:-HELD], y[:-HELD], x[-HELD:], y[-HELD:])
    return Split(x, y, mnist.x_test[:, None], mnist.y_test)


def recipe_for(rule: str, net: str) -> Recipe:
    """Return the settings of a rule on a net, which may be the name of another rule's net; see `own_net`."""
    if rule == "frozen" and net in (own := own_nets()):
        return own[net]
    recipe = replace(recommended(rule), **CHANGES.get((rule, net), {}))
    epochs = SHORTER.get((rule, net), EPOCHS[net.removesuffix(CENTRED)] * LONGER.get(rule, 1))
    return replace(
        recipe,
        centred=recipe.centred or net.endswith(CENTRED),
        learn=replace(recipe.learn, epochs=epochs, batch=BATCH, least_steps=0),
        readout=replace(recipe.readout, epochs=READOUT_EPOCHS, least_steps=0),
    )


def make(net: str, recipe: Recipe, seed: int) -> nn.Sequential:
    if net.startswith("mlp"):
        model = mlp(28 * 28, HIDDEN, 10, recipe.activation, recipe.centred)
    else:
        model = convnet((1, 28, 28), KERNELS, 10, recipe.activation, recipe.centred)
    recipe.initialise(model, torch.Generator().manual_seed(seed))
    return model


def run(rule: str, net: str, seed: int, tune: bool = False) -> Run:
    """Train and test; a run that fails returns the reason."""
    data, recipe, settings = images(tune), recipe_for(rule, net), SETTINGS.get((rule, net), {})
    model = make(net, recipe, seed)
    hidden = [synaptic(model, path).weight for path in weight_layers(model)[:-1]]
    first = [w.detach().clone() for w in hidden]
    done = partial(Run, rule, net, seed, describe(rule, net))
    try:
        build(rule, deepcopy(model), F.cross_entropy, example=data.x_train[:2], classes=10, **settings)
    except (TypeError, ValueError) as error:
        return done(None, 0.0, f"cannot: {error}")
    start = time.process_time()
    try:
        training = TrainingData(data.x_train, data.y_train, classes=10)
        trained = train_rule(rule, model, training, replace(recipe, settings=settings), RunOptions(seed))
        seconds = time.process_time() - start
        scores = predict(trained, data.x_test)
    except Exception as error:  # one broken rule must not end the benchmark
        return done(None, time.process_time() - start, f"failed: {type(error).__name__}: {error}")
    if not scores.isfinite().all():
        return done(None, seconds, "failed: the scores are not finite")
    return done(accuracy(scores, data.y_test), round(seconds, 1), moved=angle(first, hidden))


@torch.no_grad()
def angle(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Return the mean angle in degrees between the weights of each unit before and after."""
    cosines = [F.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in zip(before, after, strict=True)]
    return round(torch.cat(cosines).clamp(-1, 1).acos().rad2deg().mean().item(), 1)


def describe(rule: str, net: str) -> str:
    """Return the settings of a rule in one line."""
    recipe = recipe_for(rule, net)
    settings = [f"{key}={value}" for key, value in SETTINGS.get((rule, net), {}).items()]
    readout = (
        [] if find_rule(rule).supervised else [f"readout {_phase(recipe.readout)}, scale {recipe.scale}"]
    )
    sizes = "-".join(map(str, KERNELS if net.startswith("conv") else HIDDEN))
    return "; ".join([_phase(recipe.learn), *readout, f"{sizes} {_shape(recipe)}", *settings])


def _shape(recipe: Recipe) -> str:
    centred = " centred" if recipe.centred else ""
    return f"{_name(recipe.activation)} {recipe.initialise.__name__}{centred}"


def _phase(phase: Phase) -> str:
    hook = "" if phase.hook is None else f", {phase.hook.__name__}"
    return (
        f"{_name(phase.optimizer)}, {phase.schedule.__name__}, {phase.epochs} epochs of {phase.batch}{hook}"
    )


def _name(make: object) -> str:
    if not isinstance(make, partial):
        return str(getattr(make, "__name__", make))
    values = [*map(str, make.args), *(f"{key}={value}" for key, value in make.keywords.items())]
    return f"{_name(make.func)}({', '.join(values)})"


def own_net(rule: str, net: str) -> str:
    """Return the name under which frozen random features run on the very net and readout of a rule."""
    recipe = recipe_for(rule, net)
    return f"{net}, {_shape(recipe)}, scale {recipe.scale}"


@cache
def own_nets() -> dict[str, Recipe]:
    """Return the recipes of frozen random features on the nets of all other rules, by `own_net`."""
    learn = recommended("frozen").learn
    return {
        own_net(rule, net): replace(recipe_for(rule, net), learn=learn)
        for rule in list_rules()
        if rule != "frozen"
        for net in NETS
    }


def nets_of(rule: str) -> tuple[str, ...]:
    if rule not in CONTROLS:
        return NETS
    own = own_nets() if rule == "frozen" else ()
    return (*NETS, *(net + CENTRED for net in NETS), *own)


def missing(names: Sequence[str], seeds: int) -> list[tuple[str, str, int]]:
    known = {(*r.key, r.settings) for r in read(RULES)}
    wanted = [(rule, net, seed) for seed in range(seeds) for rule in names for net in nets_of(rule)]
    return [w for w in wanted if (*w, describe(*w[:2])) not in known]


def in_time(deadline: float, rule: str, net: str, seed: int, tune: bool) -> Run | None:
    """Run, unless the budget is exhausted."""
    return run(rule, net, seed, tune) if time.time() < deadline else None


def run_all(todo: Sequence[tuple[str, str, int]], jobs: int, minutes: float, tune: bool) -> Iterator[Run]:
    deadline = time.time() + 60 * minutes
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for future in as_completed([pool.submit(in_time, deadline, *w, tune) for w in todo]):
            if (done := future.result()) is not None:
                yield done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget-minutes", type=float, default=20, help="no run begins after this time")
    parser.add_argument("--rules", nargs="+", default=list(list_rules()), metavar="NAME", help="default: all")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--tune", action="store_true", help="seed 0 on held-out training images, not stored")
    options = parser.parse_args()
    if "HEBBIAN_DATA" not in os.environ:
        parser.error("set HEBBIAN_DATA to the folder that holds mnist/")
    tune = options.tune
    todo = (
        [(r, net, 0) for r in options.rules for net in nets_of(r)]
        if tune
        else missing(options.rules, options.seeds)
    )
    print(f"{len(todo)} runs", flush=True)
    runs = []
    for done in run_all(todo, options.jobs, options.budget_minutes, tune):
        if not tune:
            append(RULES, done)
        runs.append(done)
        print(
            done.rule,
            done.net,
            done.seed,
            done.reason or f"{done.accuracy:.2%}, moved {done.moved}",
            f"{done.seconds:.1f} s",
            flush=True,
        )
    found = summarise(runs if tune else read(RULES))
    print("\n| rule | MLP | conv |\n|---|---|---|")
    for rule in options.rules:
        print(f"| {rule} | " + " | ".join(cell(found.get((rule, net))) for net in NETS) + " |")


if __name__ == "__main__":
    main()
