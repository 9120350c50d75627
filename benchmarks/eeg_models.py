"""Every model of `eeg` on the same subjects: the table of Uyttenhove et al. 2020 repeated.

    python benchmarks/eeg_models.py simulated --data FOLDER [--budget-minutes N]
    python benchmarks/eeg_models.py guinea-bissau --data FOLDER [--budget-minutes N]

``simulated``: 200 subjects of 5 minutes, stored in FOLDER, in windows of 2 s; one split by subject, 60 % to
train, 20 % for choices, 20 % for testing.  ``guinea-bissau``: windows of 10 s; five folds by subject, choices
made among the training subjects of each.  One thread.  Finished runs are stored in results/eeg_models_*.jsonl
and not repeated.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from journal import RESULTS
from sklearn.metrics import roc_auc_score
from subject_scores import Scores, append, read
from torch.nn import functional as F

from eeg.datasets import Entry, open_corpus, splits
from eeg.evaluation.recording_metadata import audit_recordings, read_confounds
from eeg.io.tables import read_table
from eeg.models import amplitude
from eeg.models.features import FEATURES
from eeg.preprocessing.pipeline import Preprocessing
from eeg.simulation.write_bids import write_cohort
from eeg.training import cross_validation, fit
from eeg.training.cross_validation import Scored
from eeg.training.fit import Loaded
from eeg.training.plan import Plan, describe_model
from eeg.workflows.corpus import default_channels, load_corpus
from trainers.comparison.table import text
from trainers.prediction import predict
from trainers.trainer import Trainer

SUBJECTS, FOLDS, INNER, VALIDATION, SHUFFLES = 200, 5, 4, 0.25, 20
RATE = 128.0  # Hz, of both corpora
PATHS = {name: RESULTS / f"eeg_models_{name}.jsonl" for name in ("simulated", "guinea-bissau")}
CLOSED = "subjects whose eyes were closed first"
CONFOUNDS, CONFOUNDS_CLOSED = "confounds", "confounds, eyes closed first"
DAY = "tangent-bands, the day of a control"
SHUFFLED = "tangent-bands, permuted diagnoses"

NETWORKS = ("tvgg", "eegnet", "deep4", "shallow")
RULES = ("backprop", "frozen", "predsim", "dfa", "softhebb")
"""That t-VGG GAP learns by."""

SETTINGS: Mapping[str, Sequence[Mapping[str, float]]] = {
    "svm": [{"linearsvc__C": c} for c in (0.01, 0.1, 1.0)],
    "rf": [{"randomforestclassifier__min_samples_leaf": n} for n in (5, 20)],
    "tangent": [{"logisticregression__C": c} for c in (0.001, 0.01, 0.1, 1.0)],
    "tangent-bands": [{"logisticregression__C": c} for c in (0.001, 0.01, 0.1, 1.0)],
}
"""What is chosen of a feature model, by inner folds."""

Parts = Sequence[splits.SubjectSplit]
Outcome = tuple[Mapping[str, float], dict[str, Any]]
"""A score of each subject, and further results."""
Task = Callable[[Loaded, Parts, int], Outcome]
"""Recordings, their splits and a seed -> what was found."""


def main() -> None:
    """Do what is not done yet, and show all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("corpus", choices=PATHS)
    parser.add_argument("--data", type=Path, required=True, help="corpus folder; created for `simulated`")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="of the table's first column")
    parser.add_argument("--budget-minutes", type=float, default=60.0, help="begin no training after that")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, path = time.monotonic(), PATHS[args.corpus]
    settings, loaded = load(args.corpus, args.data)
    if args.corpus == "simulated":
        tasks, divide = simulated(settings), one_split
    else:
        tasks, divide = guinea_bissau(settings, args.data), five_folds
    for name, seed, task in tasks:
        if (name, seed) in read(path) or (args.only and name not in args.only):
            continue
        if time.monotonic() - start > 60 * args.budget_minutes:
            break
        append(path, found := measured(name, seed, task, loaded, divide(list(loaded), seed)))
        print(*row(found), sep="  ", flush=True)
    print(text([row(found) for found in read(path).values()]))


def load(corpus: str, folder: Path) -> tuple[Preprocessing, Loaded]:
    """Return how the corpus is prepared, and its windows."""
    if corpus == "simulated" and not folder.exists():
        write_cohort(folder, subjects=SUBJECTS, seed=0)
    opened = open_corpus(folder)
    settings = Preprocessing(default_channels(opened))
    return settings, load_corpus(
        opened, Plan(settings, "recording", 2.0 if corpus == "simulated" else 10.0, "mean")
    )


def simulated(settings: Preprocessing) -> Iterator[tuple[str, int, Task]]:
    """Yield the runs on the simulated cohort: name, seed and task."""
    yield "amplitude", 0, loudest
    yield from ((name, 0, partial(nested, name)) for name in SETTINGS)
    plan_by_diagnosis = Plan(settings, "recording", 2.0, "chosen")
    gap = [replace(plan_by_diagnosis, rule=rule) for rule in RULES]
    for plan in [*gap, *(replace(plan_by_diagnosis, model=model) for model in NETWORKS)]:
        yield f"{describe_model(plan)}, diagnoses", 0, partial(chosen, plan)
    for plan in gap:
        yield f"{describe_model(plan)}, discharges", 0, partial(chosen, replace(plan, labels="events"))


def guinea_bissau(settings: Preprocessing, folder: Path) -> Iterator[tuple[str, int, Task]]:
    """Yield the runs on Guinea-Bissau: name, seed and task."""
    plan = Plan(settings, "recording", 10.0, "mean")
    first = closed_first(folder)
    yield CLOSED, 0, lambda *_: (first, {})
    yield CONFOUNDS, 0, partial(confounds, set(first))
    yield CONFOUNDS_CLOSED, 0, partial(confounds, {name for name, closed in first.items() if closed})
    for seed in range(3):
        yield "amplitude", seed, loudest
        yield from ((name, seed, partial(nested, name)) for name in SETTINGS)
    yield DAY, 0, partial(day, "tangent-bands")
    for seed in range(SHUFFLES):
        yield SHUFFLED, seed, partial(shuffled, "tangent-bands")
    by_rule = [replace(plan, rule=rule) for rule in RULES]
    yield from ((describe_model(found), 0, partial(plain, found)) for found in by_rule)
    tuned = replace(plan, rule="softhebb", finetune=True)
    yield describe_model(tuned), 0, partial(plain, tuned)
    yield from (
        (describe_model(found), seed, partial(plain, found)) for found in by_rule[:2] for seed in (1, 2)
    )
    early = replace(plan, aggregation="chosen")
    yield f"{describe_model(early)}, stopped early", 0, partial(chosen, early, early=True)
    yield from (
        (describe_model(found), 0, partial(plain, found))
        for found in (replace(plan, model=n) for n in NETWORKS)
    )


def one_split(entries: Sequence[Entry], seed: int) -> Parts:
    """Hold out a fifth of the subjects."""
    return [splits.hold_out(entries, 0.2, seed)]


def five_folds(entries: Sequence[Entry], seed: int) -> Parts:
    """Hold out every subject once."""
    return splits.split_folds(entries, FOLDS, seed)


def measured(name: str, seed: int, task: Task, loaded: Loaded, parts: Parts) -> Scores:
    """Do a task on its splits."""
    start = time.monotonic()
    scores, facts = task(loaded, parts, seed)
    labels = facts.pop("labels", None) or splits.subjects_of(loaded)  # some ask a question of their own
    names = sorted(scores)
    seconds = time.monotonic() - start
    return Scores(name, seed, [labels[n] for n in names], [float(scores[n]) for n in names], seconds, facts)


def loudest(loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Score subjects by the statistic of amplitude that is best among the training subjects."""
    values = {e: amplitude.amplitude_scores(windows) for e, windows in loaded.items()}
    found: dict[str, float] = {}
    taken = []
    for train, test in parts:
        best = max(
            amplitude.AMPLITUDE_STATISTICS, key=lambda name: ranked({e: values[e][name] for e in train})
        )
        taken.append(best)
        found |= by_subject({e: values[e][best] for e in test})
    return found, {"chosen": taken}


def nested(model: str, loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Let a feature model score subjects, with the settings that are best in folds of the training ones."""
    features = FEATURES[model](RATE, seed).features
    rows = {e: features(windows.data) for e, windows in loaded.items()}
    found: dict[str, float] = {}
    taken = []
    for train, test in parts:
        inner = splits.split_folds(train, INNER, seed)
        best = max(
            SETTINGS[model],
            key=lambda setting: ranked(
                {
                    e: z
                    for most, kept in inner
                    for e, z in scored(model, setting, seed, rows, most, kept).items()
                }
            ),
        )
        taken.append(best)
        found |= by_subject(scored(model, best, seed, rows, train, test))
    return found, {"chosen": taken}


def scored(
    model: str,
    setting: Mapping[str, float],
    seed: int,
    rows: Mapping[Entry, np.ndarray],
    train: Sequence[Entry],
    test: Sequence[Entry],
) -> dict[Entry, float]:
    """Fit a feature model to the features of recordings, and score others."""
    fresh = replace(FEATURES[model](RATE, seed), features=lambda known: known)
    fresh.classifier.set_params(**setting)
    fresh.fit([rows[e] for e in train], np.array([e.label for e in train]))
    return {e: fresh(rows[e]) for e in test}


def ranked(scores: Mapping[Entry, float]) -> float:
    """Return the ROC-AUC of recordings."""
    return float(roc_auc_score([e.label for e in scores], list(scores.values())))


def by_subject(scores: Mapping[Entry, float]) -> dict[str, float]:
    """Return each subject's mean over the recordings."""
    found: dict[str, list[float]] = {}
    for entry, score in scores.items():
        found.setdefault(entry.subject, []).append(score)
    return {name: float(np.mean(values)) for name, values in found.items()}


def plain(plan: Plan, loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Let a network score subjects: a fixed length, all training subjects, nothing to choose."""
    return means(cross_validation.cross_validate(replace(plan, seed=seed), loaded, parts)), {}


def chosen(plan: Plan, loaded: Loaded, parts: Parts, seed: int, early: bool = False) -> Outcome:
    """Let a network score subjects, with the aggregation that is best for subjects set aside.

    ``early``: as the network was after the epoch that was best for these.
    """
    plan = replace(plan, seed=seed)
    found: dict[str, float] = {}
    taken = []
    for train, test in parts:
        most, kept = splits.hold_out(train, VALIDATION, seed)
        best = Best(loaded, kept)
        network = fit.train_network(plan, loaded, most, [best] if early else [])
        if early:
            network.load_state_dict(best.state)
        how = cross_validation.choose_aggregation(
            cross_validation.score_recordings(network, loaded, kept, "kept", plan.aggregation)
        )
        taken.append([how, best.epoch] if early else how)
        found |= means(cross_validation.score_recordings(network, loaded, test, "test", how))
    return found, {"chosen": taken}


def means(found: Sequence[Scored]) -> dict[str, float]:
    """Return each subject's score."""
    scores, _, names = cross_validation.subject_scores(found)
    return dict(zip(names, scores.tolist(), strict=True))


class Best:
    """Keep a network as it was when the windows of subjects set aside had their lowest loss."""

    def __init__(self, loaded: Loaded, kept: Sequence[Entry]) -> None:
        self.x = torch.from_numpy(np.concatenate([loaded[e].data for e in kept]))
        self.y = torch.cat([torch.full((len(loaded[e].data), 1), float(e.label or 0)) for e in kept])
        self.loss = float("inf")
        self.epoch = 0
        self.state: dict[str, torch.Tensor] = {}

    def on_epoch(self, trainer: Trainer) -> None:
        """Compare."""
        scores = predict(trainer.rule, self.x)
        loss = float(F.binary_cross_entropy_with_logits(scores, self.y))
        if loss < self.loss:
            self.loss, self.epoch = loss, trainer.epoch
            self.state = {k: v.clone() for k, v in trainer.rule.model.state_dict().items()}


def closed_first(folder: Path) -> dict[str, float]:
    """Return for each subject 1 if the eyes were closed first, 0 if they were open."""
    rows = read_table(folder / "metadata_guineabissau.csv", {"subject.id", "Eyes.condition"}, delimiter=",")
    return {row["subject.id"]: float(row["Eyes.condition"].startswith("closed")) for row in rows}


def confounds(subjects: Collection[str], loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Audit the confounds of ``subjects``."""
    known = read_confounds(e for e in loaded if e.subject in subjects)
    audit = audit_recordings(known, folds=FOLDS, seed=seed)
    return {}, {f.confound: [f.auc.value, f.auc.low, f.auc.high, f.p] for f in audit.findings}


def day(model: str, loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Separate controls of the first days from those of the last, split at a day as evenly as possible."""
    dates = {e: e.recorded.date() for e in loaded if e.label == 0 and e.recorded}
    days = np.array(list(dates.values()))
    middle = min(days, key=lambda first: abs(np.mean(days >= first) - 0.5))
    asked = {replace(e, label=int(date >= middle)): loaded[e] for e, date in dates.items()}
    found, _ = nested(model, asked, splits.split_folds(list(asked), FOLDS, seed), seed)
    return found, {"labels": splits.subjects_of(asked)}


def shuffled(model: str, loaded: Loaded, parts: Parts, seed: int) -> Outcome:
    """Evaluate a feature model on permuted diagnoses: chance is expected."""
    permuted = dict(zip(splits.permute_labels(list(loaded), seed), loaded.values(), strict=True))
    found, _ = nested(model, permuted, splits.split_folds(list(permuted), FOLDS, seed), seed)
    return found, {"labels": splits.subjects_of(permuted)}


def row(found: Scores) -> tuple[str, ...]:
    """Return a row of the table."""
    value = str(found.auc()) if found.scores else str(found.facts)
    return found.name, str(found.seed), value, f"{found.seconds:.0f} s"


if __name__ == "__main__":
    main()
