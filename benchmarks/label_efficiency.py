"""How many labelled subjects are needed, with and without pre-training on the others.

    python benchmarks/label_efficiency.py simulated --data FOLDER [--budget-minutes N]
    python benchmarks/label_efficiency.py guinea-bissau --data FOLDER [--budget-minutes N]

t-VGG GAP learns from 5, 10, 20 or all training subjects; the rest of them lend their EEG without a label.
In each of five draws a third of the subjects is held out, and the labelled ones are drawn from the
others.  On the simulated cohort the labelled subjects' discharges are annotated, on Guinea-Bissau their
diagnosis is known.  One thread.  Finished runs are stored in results/label_efficiency_*.jsonl.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from eeg_models import load
from journal import RESULTS
from subject_scores import Scores, append, read
from torch import Tensor, nn

from eeg.datasets import Entry, splits
from eeg.models import registry
from eeg.preprocessing.windows import Windows
from eeg.training import cross_validation, fit
from eeg.training.augment import augmentation
from eeg.training.plan import Plan, recipe
from trainers.comparison.table import text
from trainers.data.batches import Augment, TrainingData
from trainers.data.rows import Inputs
from trainers.phases import RunOptions, train_rule

PATHS = {name: RESULTS / f"label_efficiency_{name}.jsonl" for name in ("simulated", "guinea-bissau")}
LABELLED: Sequence[int | None] = (5, 10, 20, None)
"""Subjects; None for all."""
DRAWS, HELD_OUT = 5, 1 / 3
WAYS = ("from scratch", "random features", "SoftHebb first")


def main() -> None:
    """Do what is not done yet, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", choices=PATHS)
    parser.add_argument("--data", type=Path, required=True, help="corpus folder; created for `simulated`")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="begin no training after that")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, path = time.monotonic(), PATHS[args.corpus]
    settings, loaded = load(args.corpus, args.data)
    events = args.corpus == "simulated"
    plan = Plan(settings, "events", 2.0, "top") if events else Plan(settings, "recording", 10.0, "mean")
    for draw in range(DRAWS):
        most, test = splits.hold_out(list(loaded), HELD_OUT, draw)
        seeded = replace(plan, seed=draw)
        first = cache(partial(features, seeded, [loaded[e] for e in most]))
        for count, way in ((n, way) for n in LABELLED for way in WAYS):
            name = f"{way}, {count or 'all'}"
            if (name, draw) in read(path) or time.monotonic() - start > 60 * args.budget_minutes:
                continue
            began = time.monotonic()
            labelled = [loaded[e] for e in some(most, count, draw)]
            network = learned(seeded, way, labelled, first)
            scored = cross_validation.score_recordings(network, loaded, test, "kept", plan.aggregation)
            scores, labels, _ = cross_validation.subject_scores(scored)
            found = Scores(name, draw, labels.tolist(), scores.tolist(), time.monotonic() - began)
            append(path, found)
            print(name, draw, found.auc(), f"{found.seconds:.0f} s", sep="  ", flush=True)
    rows = [(f.name, str(f.seed), str(f.auc()), f"{f.seconds:.0f} s") for f in read(path).values()]
    print(text(rows))


State = Mapping[str, Tensor]


def features(plan: Plan, windows: Sequence[Windows]) -> State:
    """Return the weights of a new network pre-trained by SoftHebb on all training subjects without labels."""
    x = torch.from_numpy(np.concatenate([w.data for w in windows]))
    network = new(plan, x)
    fit.pretrain(replace(plan, rule="softhebb"), network, x, augmented(plan))
    return network.state_dict()


def learned(plan: Plan, way: str, labelled: Sequence[Windows], first: Callable[[], State]) -> nn.Module:
    """Return a network that has learned from labelled windows."""
    x, y, _ = fit.stack_examples(labelled, plan.labels)
    network = new(plan, x)
    if way == "SoftHebb first":
        network.load_state_dict(first())
    if way == "random features":
        plan = replace(plan, rule="frozen")
    weight = (1 - y.mean()) / y.mean()
    loss = nn.BCEWithLogitsLoss(pos_weight=weight)
    data = TrainingData(x, y, classes=1, criterion=loss, augment=augmented(plan))
    train_rule(plan.rule, network, data, recipe(plan), RunOptions(plan.seed))
    return network.eval()


def new(plan: Plan, x: Inputs) -> nn.Sequential:
    """Return a network as a seed draws it."""
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        return registry.build_model(plan.model, x.shape[1], x.shape[2])


def augmented(plan: Plan) -> Augment:
    """Return what turns the heads."""
    none = torch.empty(0)
    return augmentation(plan.augment, plan.preprocessing.channels, none, np.random.default_rng(plan.seed))


def some(entries: Sequence[Entry], count: int | None, seed: int) -> Sequence[Entry]:
    """Return the recordings of ``count`` subjects, stratified by class."""
    if count is None:
        return entries
    subjects = len({e.subject for e in entries})
    return splits.hold_out(entries, (count - 0.5) / subjects, seed)[1]  # it rounds up


if __name__ == "__main__":
    main()
