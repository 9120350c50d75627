"""Tables of EEG models and of explanations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import subject_scores
from stored import RESULTS, read_json, read_lines

from eeg.detector.results import Estimate
from eeg.evaluation.significance import delong
from trainers.comparison.table import markdown, t_interval

DRAWS = 2000
"""Bootstrap draws of subjects."""


# EEG models: eeg_models_*.jsonl, label_efficiency_*.jsonl, bonn.json

Runs = Mapping[str, Sequence[subject_scores.Scores]]
REFERENCE = "tangent-bands"
"""The model that the others are tested against on Guinea-Bissau."""


def runs(name: str) -> Runs:
    """Return the runs of a results file by name, each in the order of its seeds."""
    found: dict[str, list[subject_scores.Scores]] = {}
    for run in subject_scores.read(RESULTS / name).values():
        found.setdefault(run.name, []).append(run)
    return {name: sorted(seeds, key=lambda run: run.seed) for name, seeds in found.items()}


def eeg_simulated() -> str:
    """Return models of the simulated cohort as rows, the labels that they learn from as columns."""
    labels = ("diagnoses", "discharges")
    rows: dict[str, dict[str, str]] = {}
    for name, (run, *_) in runs("eeg_models_simulated.jsonl").items():
        model, _, column = name.partition(", ")
        rows.setdefault(model, {})[column or labels[0]] = str(run.auc())
    body = [(model, *(found.get(column, "–") for column in labels)) for model, found in rows.items()]
    return markdown([("model", *(f"trained on {column}" for column in labels)), *body])


def eeg_guinea_bissau() -> str:
    """Return models of Guinea-Bissau, and the test of each against the reference model."""
    every = runs("eeg_models_guinea-bissau.jsonl")
    reference = every[REFERENCE][0]
    closed = [bool(x) for x in every["subjects whose eyes were closed first"][0].scores]
    head = ("model", "seeds", "ROC-AUC", "eyes closed first", f"minus {REFERENCE}", "p (DeLong)")
    rows = []
    for name, seeds in every.items():
        if not seeds[0].scores or name.startswith(("subjects", f"{REFERENCE}, ")):
            continue
        test = delong(*(np.array(x) for x in (reference.labels, seeds[0].scores, reference.scores)))
        tested = ("", "") if name == REFERENCE else (str(test.difference), f"{test.p:.2g}")
        values = (mean_auc(seeds), mean_auc(seeds, closed))
        rows.append((name, str(len(seeds)), *map(str, values), *tested))
    return markdown([head, *rows])


def mean_auc(seeds: Sequence[subject_scores.Scores], among: Sequence[bool] | None = None) -> Estimate:
    """Return the mean over seeds of the ROC-AUC and of the ends of its intervals."""
    values = [run.auc(among) for run in seeds]
    return Estimate(*np.mean([(e.value, e.low, e.high) for e in values], axis=0).tolist())


def eeg_confounds() -> str:
    """Return what separates the groups of Guinea-Bissau without any EEG, and two controls with it."""
    every = runs("eeg_models_guinea-bissau.jsonl")
    all_subjects, closed = (every[name][0].facts for name in ("confounds", "confounds, eyes closed first"))

    def cell(found: Any) -> str:
        return "–" if found is None else f"{Estimate(*found[:3])}, p = {found[3]:.2g}"

    body = [(name, cell(found), cell(closed.get(name))) for name, found in all_subjects.items()]
    day = every[f"{REFERENCE}, the day of a control"][0].auc()
    null = [run.auc().value for run in every[f"{REFERENCE}, permuted diagnoses"]]
    spread = f"mean {np.mean(null):.2f}, from {min(null):.2f} to {max(null):.2f}"
    return "\n\n".join(
        (
            markdown([("confound alone", "ROC-AUC", "eyes closed first"), *body]),
            f"- Recording day of a *control* (first days against last), predicted by {REFERENCE}: {day}.\n"
            f"- {REFERENCE}, whole procedure on {len(null)} permutations of the diagnoses: {spread}.",
        )
    )


LABELLED = ("5", "10", "20", "all")
INITIALISATIONS = ("from scratch", "random features", "SoftHebb first")


def label_efficiency() -> str:
    """Return t-VGG GAP by the number of labelled subjects, mean and half the t-interval over draws."""
    rows = [("corpus", "", *(f"{n} subjects" for n in LABELLED))]
    for corpus in ("simulated", "guinea-bissau"):
        every = runs(f"label_efficiency_{corpus}.jsonl")
        for way in INITIALISATIONS:
            rows.append((corpus, way, *(_spread(every.get(f"{way}, {n}", ())) for n in LABELLED)))
    return markdown(rows)


def _spread(draws: Sequence[subject_scores.Scores]) -> str:
    """Return mean and half width, or a dash where there are fewer than two draws."""
    if len(draws) < 2:
        return "–"
    mean, half = t_interval([run.auc().value for run in draws])
    return f"{mean:.3f} ± {half:.3f}"


def bonn() -> str:
    """Return balanced accuracies of the random forest on the Bonn set."""
    rows = [(name, f"{np.mean(values):.3f}") for name, values in read_json("bonn.json").items()]
    return markdown([("classes or feature", "balanced accuracy"), *rows])


# Learning from diagnoses: recording_labels.jsonl


def _recording_labels() -> list[dict[str, Any]]:
    """Return the last outcome of each ingredient and seed."""
    return list({(o["name"], o["seed"]): o for o in read_lines("recording_labels.jsonl")}.values())


def recording_label_means() -> str:
    """Return ingredients that were measured with three seeds or more."""
    values: dict[str, list[float]] = {}
    for outcome in _recording_labels():
        values.setdefault(outcome["name"], []).append(outcome["scores"][outcome["aggregation"]][0])
    rows = [("trained on", "seeds", "ROC-AUC")]
    for name, found in values.items():
        if len(found) >= 3:
            mean, half = t_interval(found)
            rows.append((name, str(len(found)), f"{mean:.3f} ± {half:.3f}"))
    return markdown(rows)


def recording_label_seeds() -> str:
    """Return one table for each seed."""
    shown = ("mean", "top", "peak", "noisy-or")
    outcomes = _recording_labels()
    blocks = []
    for seed in sorted({outcome["seed"] for outcome in outcomes}):
        rows = [("trained on", "ROC-AUC", "by", *(f"by {name}" for name in shown))]
        for outcome in (o for o in outcomes if o["seed"] == seed):
            scores, name = outcome["scores"], outcome["aggregation"]
            own = "{:.3f} ({:.3f}–{:.3f})".format(*scores[name])
            rows.append((outcome["name"], own, name, *(f"{scores[other][0]:.3f}" for other in shown)))
        blocks.append(f"## Seed {seed}\n\n{markdown(rows)}")
    return "\n\n".join(blocks)


# Explanations: explanations.jsonl, explanations_speed.json

MEASURES = {
    "found": {
        "pointing": "pointing game",
        "precision": "precision at R",
        "recall": "recall at 10",
        "channel": "channel",
        "peak_error": "peak error, ms",
        "auroc": "AUROC of samples",
        "chance": "chance",
    },
    "faithful": {
        "deletion": "deletion ↓",
        "insertion": "insertion ↑",
        "infidelity": "infidelity ↓",
        "sensitivity": "max-sensitivity ↓",
        "baselines": "other baselines ↑",
        "default": "occlusion",
    },
    "randomised": {
        "labels": "labels permuted",
        "weights": "weights permuted",
        "depth 1": "magnitude: readout",
        **{f"depth {depth}": f"{depth} layers" for depth in range(2, 7)},
        "depth 7": "all 7",
    },
}


def explanations(measure: str) -> str:
    """Return every method by one group of measures, a table for each rule that trained the network."""
    columns = MEASURES[measure]
    lines = [line for line in read_lines("explanations.jsonl") if line["measure"] == measure]
    blocks = []
    for rule in dict.fromkeys(line["rule"] for line in lines):
        methods: dict[str, list[dict[str, Any]]] = {}
        for line in lines:
            if line["rule"] == rule:
                methods.setdefault(line["method"], []).append(line)
        rows = [
            (method, str(len(of)), *(_bootstrap([line.get(c) for line in of], c) for c in columns))
            for method, of in methods.items()
        ]
        blocks.append(f"Trained by {rule}:\n\n{markdown([('method', 'n', *columns.values()), *rows])}")
    return "\n\n".join(blocks)


def _bootstrap(values: Iterable[float | None], column: str) -> str:
    """Return the mean over subjects with its interval, without those for whom it is undefined."""
    scale, digits = (1000.0, 0) if column == "peak_error" else (1.0, 2)
    x = scale * np.array([value for value in values if value is not None and np.isfinite(value)])
    if len(x) == 0:
        return "–"
    means = np.random.default_rng(0).choice(x, (DRAWS, len(x))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{x.mean():.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def explanation_errors() -> str:
    """Return how many explanations were refused, and where a wrong first segment is the network's error."""
    lines = [line for line in read_lines("explanations.jsonl") if line["measure"] == "found"]
    shown = [line for line in lines if line["method"] == "eeg explain"]
    highest = {(r["rule"], r["subject"]): r["pointing"] for r in lines if r["method"] == "highest windows"}
    missed = [highest.get((r["rule"], r["subject"])) for r in shown if r["pointing"] == 0]
    rows = [
        ("explanations by `eeg explain`", len(shown)),
        ("of these refused by their own check", round(sum(line["refused"] for line in shown))),
        ("first segment without a discharge", sum(p is not None for p in missed)),
        ("of these, highest window without a discharge either", missed.count(0.0)),
    ]
    return markdown([("", "recordings"), *((name, str(count)) for name, count in rows)])


def explanation_speed() -> str:
    """Return the processor time of each method."""
    blocks = []
    for of, times in read_json("explanations_speed.json").items():
        rows = [(name, f"{value:g}") for name, value in times.items()]
        blocks.append(markdown([(f"for {of.rpartition(', ')[0]}", of.rpartition(", ")[2]), *rows]))
    return "\n\n".join(blocks)
