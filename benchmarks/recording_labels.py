"""Training on diagnoses alone: the effect of each ingredient separately.

    python benchmarks/recording_labels.py --work FOLDER

simulates 200 subjects of 5 minutes, trains t-VGG GAP on windows of 2 s from 120 of them, once for each
ingredient, and tests on the other 80.  The baseline memorises its training subjects: the
diagnosis on every window, nothing augmented.  One thread; about 2 minutes for the cohort, 1 or 2 a
training and 5 to find discharges.  Finished runs are stored in results/recording_labels.jsonl.
Settings were tried on the cohorts of seeds 101 and 102; seed 0 is for the report.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from journal import RESULTS

from eeg.datasets import open_corpus, splits
from eeg.evaluation.metrics import auc
from eeg.io.electrodes import TEN_TWENTY
from eeg.labels import AUGMENTATIONS
from eeg.models.pooling import POOLINGS, pool_logits
from eeg.preprocessing.pipeline import Preprocessing
from eeg.simulation.write_bids import write_cohort
from eeg.training import cross_validation, fit
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from eeg.workflows.corpus import load_corpus
from trainers.comparison.table import text

SUBJECTS, TESTED = 200, 0.4
JOURNAL = RESULTS / "recording_labels.jsonl"

BASELINE = Plan(Preprocessing(TEN_TWENTY), "recording", 2.0, "mean", augment=())

INGREDIENTS: Mapping[str, Mapping[str, Any]] = {
    "the diagnosis on every window": {},
    **{f"... {name}": {"augment": (name,)} for name in AUGMENTATIONS},
    "... SoftHebb first, without labels": {"rule": "softhebb", "finetune": True},
    **{
        f"bags, {name}": {"labels": "bag", "aggregation": name}
        for name in ("mean", "top", "peak", "noisy-or", "attention")
    },
    **{
        f"bags, noisy-or, {name}": {"labels": "bag", "aggregation": "noisy-or", "augment": (name,)}
        for name in ("head-rotation", "sign-flip", "background-mix")
    },
    "tangent space of five bands": {"model": "tangent-bands"},
    "random forest on four bands": {"model": "rf"},
    "pseudo-labels": {"labels": "pseudo", "aggregation": "top", "augment": ("head-rotation",)},
    "annotated discharges, for comparison": {
        "labels": "events",
        "aggregation": "top",
        "augment": ("head-rotation",),
    },
}


@dataclass(frozen=True)
class Outcome:
    """What one training reached.

    ``scores`` are ROC-AUCs of the unseen subjects by each aggregation of the same windows, with the ends of
    their 95 % intervals; ``aggregation`` is the one that the plan had named before.
    """

    name: str
    seed: int
    aggregation: str
    scores: Mapping[str, tuple[float, float, float]]
    seconds: float


def main() -> None:
    """Do what is not done yet, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the cohort")
    parser.add_argument("--seed", type=int, default=0, help="of the cohort, the split and the training")
    parser.add_argument("--only", nargs="*", metavar="NAME", help=f"some of: {'; '.join(INGREDIENTS)}")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="begin no training after that")
    parser.add_argument("--journal", type=Path, default=JOURNAL)
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    names = [name for name in args.only or INGREDIENTS if name not in done(args.journal, args.seed)]
    if names:
        loaded = cohort(args.work, args.seed)
        for name in names:
            if time.monotonic() - start > 60 * args.budget_minutes:
                break
            outcome = measured(name, args.seed, loaded)
            append(args.journal, outcome)
            print(f"{name}: {outcome.scores[outcome.aggregation][0]:.3f}", flush=True)
    print(table(list(done(args.journal, args.seed).values())))


def cohort(work: Path, seed: int) -> Loaded:
    """Return the windows of the cohort, simulated where it is not there yet."""
    folder = work / f"cohort-{seed}"
    if not folder.exists():
        write_cohort(folder, subjects=SUBJECTS, seed=seed)
    return load_corpus(open_corpus(folder), BASELINE)


def measured(name: str, seed: int, loaded: Loaded) -> Outcome:
    """Train with one ingredient and test on the held-out subjects."""
    plan = replace(BASELINE, seed=seed, **INGREDIENTS[name])
    train, test = splits.hold_out(list(loaded), TESTED, seed)
    start = time.monotonic()
    scored = cross_validation.score_recordings(
        fit.fit_model(plan, loaded, train), loaded, test, "held out", plan.aggregation
    )
    seconds = time.monotonic() - start
    labels, subjects = np.array([e.label for e in test]), np.array([e.subject for e in test])
    scores = {}
    for aggregation in POOLINGS:
        pooled = np.array([float(pool_logits(aggregation, s.logits)) for s in scored])
        found = auc(labels, pooled, subjects)
        scores[aggregation] = found.value, found.low, found.high
    return Outcome(name, seed, plan.aggregation, scores, seconds)


def append(path: Path, outcome: Outcome) -> None:
    """Add an outcome at the end of the journal, in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome.__dict__) + "\n")


def done(path: Path, seed: int) -> dict[str, Outcome]:
    """Return the outcomes of a seed by name, the last of each."""
    return {outcome.name: outcome for outcome in _read(path) if outcome.seed == seed}


def _read(path: Path) -> Iterator[Outcome]:
    if path.exists():
        yield from (Outcome(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as columns; brackets hold the 95 % interval over subjects."""
    shown = ("mean", "top", "peak")
    rows = [["", "ROC-AUC of subjects", "", *(f"by {name}" for name in shown), "seconds"]]
    for outcome in outcomes:
        value, low, high = outcome.scores[outcome.aggregation]
        others = [f"{outcome.scores[name][0]:.3f}" for name in shown]
        own = f"{value:.3f} ({low:.3f}-{high:.3f})"
        rows.append([outcome.name, own, outcome.aggregation, *others, f"{outcome.seconds:.0f}"])
    return text(rows)


if __name__ == "__main__":
    main()
