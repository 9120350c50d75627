"""How many subjects somebody must label, with and without learning from the others first.

    python benchmarks/label_efficiency.py simulated --data FOLDER [--budget-minutes N]
    python benchmarks/label_efficiency.py guinea-bissau --data FOLDER [--budget-minutes N]

t-VGG GAP learns from 5, 10, 20 or all training subjects; the rest of them lend their EEG without a label.
In each of five draws a third of the subjects is kept to judge by, and the labelled ones are drawn from the
others.  On the simulated cohort the labelled subjects' discharges are annotated, on Guinea-Bissau their
diagnosis is known.  One thread.  What is done is kept in results/label_efficiency_*.jsonl and not done again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from eeg_models import load
from journal import RESULTS
from subject_scores import Scores, append, read

from eeg import splits, training
from eeg.datasets import Entry
from eeg.training import Loaded, Plan
from trainers.table import text

PATHS = {name: RESULTS / f"label_efficiency_{name}.jsonl" for name in ("simulated", "guinea-bissau")}
LABELLED: Sequence[int | None] = (5, 10, 20, None)
"""Subjects; None for all."""
DRAWS, JUDGED = 5, 1 / 3
WAYS: Mapping[str, Mapping[str, Any]] = {
    "from scratch": {},
    "random features": {"rule": "frozen"},
    "SoftHebb first": {"rule": "softhebb", "finetune": True},
}


def main() -> None:
    """Do what is not done yet, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", choices=PATHS)
    parser.add_argument("--data", type=Path, required=True, help="where it lies; made for `simulated`")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="begin no training after that")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, path = time.monotonic(), PATHS[args.corpus]
    settings, loaded = load(args.corpus, args.data)
    events = args.corpus == "simulated"
    plan = Plan(settings, "events", 2.0, "top") if events else Plan(settings, "recording", 10.0, "mean")
    for draw, count, way in ((d, n, w) for d in range(DRAWS) for n in LABELLED for w in WAYS):
        name = f"{way}, {count or 'all'}"
        if (name, draw) in read(path):
            continue
        if time.monotonic() - start > 60 * args.budget_minutes:
            break
        append(path, found := measured(name, replace(plan, **WAYS[way]), draw, count, loaded))
        print(name, draw, found.auc(), f"{found.seconds:.0f} s", sep="  ", flush=True)
    rows = [(f.name, str(f.seed), str(f.auc()), f"{f.seconds:.0f} s") for f in read(path).values()]
    print(text(rows))


def measured(name: str, plan: Plan, draw: int, count: int | None, loaded: Loaded) -> Scores:
    """Learn from ``count`` labelled subjects, and score those who were kept."""
    start = time.monotonic()
    train, test = splits.hold_out(list(loaded), JUDGED, draw)
    labelled = some(train, count, draw)
    rest = [loaded[e].data for e in train if e not in labelled]
    plan = replace(plan, seed=draw)
    network = training.fit_network(plan, [loaded[e] for e in labelled], unlabelled=rest)
    scored = training.score(network, loaded, test, "kept", plan.aggregation)
    scores, labels, _ = training.subject_scores(scored)
    return Scores(name, draw, labels.tolist(), scores.tolist(), time.monotonic() - start)


def some(entries: Sequence[Entry], count: int | None, seed: int) -> Sequence[Entry]:
    """Return the recordings of ``count`` subjects, both classes in their shares."""
    if count is None:
        return entries
    subjects = len({e.subject for e in entries})
    return splits.hold_out(entries, (count - 0.5) / subjects, seed)[1]  # it rounds up


if __name__ == "__main__":
    main()
