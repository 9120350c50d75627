"""The generated parts of the pages: tables of the registered rules and of the stored benchmark results.

The directive ``results`` of conf.py inserts them by their names in `TABLES`. Only means and intervals are
computed here; the commands that wrote the results are on the pages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eeg.detector.results import Estimate
from eeg.evaluation.significance import delong
from hebbian.registry import find_rule, list_modules, list_rules
from hebbian.rule_info import ModuleInfo
from trainers.comparison.results import read_run_results
from trainers.comparison.table import HEAD, format_cells, markdown, summarise, t_interval
from trainers.provenance import read_record

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import archive  # noqa: E402
import journal  # noqa: E402
import kills  # noqa: E402
import published as board  # noqa: E402
import subject_scores  # noqa: E402
import timing  # noqa: E402
from rules import own_net  # noqa: E402

from tests.test_hebbian.oracles import oracle_tests  # noqa: E402

NETS = {"mlp": "784-500-500-10", "conv": "two convolutions"}
DRAWS = 2000
"""Bootstrap draws of subjects."""


def _json(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RESULTS / name).read_text(encoding="utf-8").splitlines()]


# The rules: rules.jsonl, recurrent.jsonl, published/*.json, reasons.json


def rules() -> str:
    """Return every rule with its facts and its accuracy on both nets."""
    runs = journal.read(journal.RULES)
    measured = journal.summarise(runs)
    columns = ("%", "gain", "moved, °")
    head = ("rule", "family", "source", "labels", "traits", "one graph")
    rows = [
        (
            f"[{rule.name}](#{rule.name})",
            rule.family,
            rule.source,
            "yes" if rule.supervised else "no",
            ", ".join(sorted(rule.traits - {"graph breaks"})) or "–",
            "no" if "graph breaks" in rule.traits else "yes",
            *(
                cell
                for net in NETS
                for cell in _rule_on(measured.get((rule.name, net)), runs, rule.name, net)
            ),
        )
        for rule in list_rules().values()
    ]
    return markdown([(*head, *(f"{net}: {column}" for net in ("MLP", "conv") for column in columns)), *rows])


def _rule_on(
    summary: journal.Summary | None, runs: Sequence[journal.Run], rule: str, net: str
) -> tuple[str, str, str]:
    """Return the accuracy, the gain and the movement of a rule on a net."""
    moved = "–" if summary is None or summary.moved is None else f"{summary.moved:.0f}"
    difference = gain(runs, rule, net)
    text = "–" if difference is None else f"{difference[0]:+.1f} ± {difference[1]:.1f}"
    return journal.cell(summary).split(":")[0], text, moved


def gain(runs: Sequence[journal.Run], rule: str, net: str) -> tuple[float, float] | None:
    """Return by how much a rule exceeds random features on its own net, and the half-width of the interval.

    In points, paired by seed; None if there are less than two pairs.
    """
    own, control = (
        {run.seed: run for run in runs if (run.rule, run.net) == key}
        for key in ((rule, net), ("frozen", own_net(rule, net)))
    )
    differences = [
        100 * (run.accuracy - control[seed].accuracy)
        for seed, run in own.items()
        if seed in control and run.accuracy is not None and control[seed].accuracy is not None
    ]
    return None if rule == "frozen" or len(differences) < 2 else t_interval(differences)


def rule_controls() -> str:
    """Return the controls on nets with centred inputs."""
    measured = journal.summarise(journal.read(journal.RULES))
    rows = [
        (rule, *(journal.cell(measured[rule, net + journal.CENTRED]) for net in NETS))
        for rule in ("backprop", "frozen")
    ]
    return markdown([("control", "MLP, %", "conv, %"), *rows])


def rule_sections() -> str:
    """Return one section for each rule: equation, source, requirements, verification and results."""
    measured = journal.summarise(journal.read(journal.RULES))
    why = reasons()
    sections = []
    for rule in list_rules().values():
        lines = [_section(rule)]
        for net, title in NETS.items():
            if summary := measured.get((rule.name, net)):
                lines.append(f"- On {title}: {_measured(summary)}")
        if rule.name in why:
            lines.append(f"- Why it stays behind random features: {why[rule.name]}.")
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def memories() -> str:
    """Return one section for each registered module that is not a `Rule`."""
    return "\n\n".join(map(_section, list_modules().values()))


def _section(info: ModuleInfo) -> str:
    lines = [f"## {info.name}", "", f"    {info.equation}", "", f"- Source: {info.source}"]
    tests = (f"- Verified by: `{test}`" for test in oracle_tests()[info.name])
    return "\n".join([*lines, f"- Needs: {info.needs}", *tests])


def _measured(summary: journal.Summary) -> str:
    if summary.accuracy is None:
        return journal.cell(summary)
    seeds = f"{summary.seeds} seed{'s' * (summary.seeds > 1)}"
    return f"{journal.cell(summary)} %, {seeds}, {summary.seconds:.0f} s ({summary.settings})"


def reasons() -> dict[str, str]:
    """Return why a rule stays behind random features, measured by benchmarks/reasons.py."""
    return _json("reasons.json")


def behind_random_features() -> set[str]:
    """Return the rules that are clearly behind random features on their own net, one of the two."""
    runs = journal.read(journal.RULES)
    gains = {rule: [gain(runs, rule, net) for net in NETS] for rule in list_rules()}
    return {rule for rule, found in gains.items() if any(g and g[0] + g[1] < 0 for g in found)}


def published() -> str:
    """Return published recipes at their length, beside controls on the same nets."""
    head = (
        "rule",
        "data, net",
        "epochs",
        "accuracy, %",
        "backprop",
        "random features",
        "published",
        "difference",
    )
    rows = []
    for cell in board.CELLS:
        runs = board.stored(cell)
        if cell.published is None or not runs:
            continue
        setup = board.SETUPS[cell.setup]
        controls = {c.rule: board.stored(c) for c in board.CELLS if c.setup == cell.setup}
        recipe, mean = cell.recipe, 100 * np.mean([run["accuracy"] for run in runs.values()])
        readout = "" if find_rule(cell.rule).supervised else f" + {recipe.readout.epochs}"
        rows.append(
            (
                cell.rule,
                f"{setup.data}, {setup.shape}",
                f"{recipe.learn.epochs}{readout}",
                *(_of_seeds(r) for r in (runs, controls.get("backprop", {}), controls.get("frozen", {}))),
                f"{cell.published:.2f}, {cell.source}",
                f"{mean - cell.published:+.2f}",
            )
        )
    return markdown([head, *rows])


def published_costs() -> str:
    """Return what the runs took, and the angle of their updates to backprop's gradient."""
    rows = []
    for cell in board.CELLS:
        if runs := list(board.stored(cell).values()):
            seconds = np.mean([run["seconds"] for run in runs])
            megabytes = [f"{run['megabytes']}" for run in runs if "megabytes" in run]
            angles = np.mean([run["angles"] for run in runs], axis=0) if "angles" in runs[0] else ()
            degrees = ", ".join(f"{angle:.0f}°" for angle in angles) or "–"
            rows.append(
                (cell.rule, cell.setup, f"{seconds:.0f}", max(megabytes, key=int, default="–"), degrees)
            )
    return markdown([("rule", "set-up", "seconds", "MB", "angles"), *rows])


def _of_seeds(runs: Mapping[int, Mapping[str, Any]]) -> str:
    """Return mean, half width of the 95 % t-interval and number of the runs of some seeds."""
    if not runs:
        return "not run"
    mean, half_width = t_interval([100 * run["accuracy"] for run in runs.values()])
    return f"{mean:.2f} (1)" if len(runs) == 1 else f"{mean:.2f} ± {half_width:.2f} ({len(runs)})"


def any_net() -> str:
    """Return every rule on five nets, or the number of the message by which it refuses one."""
    measured = journal.summarise(journal.read(journal.ANY_NET))
    numbers = {message: i for i, message in enumerate(_refusals(), start=1)}

    def cell(rule: str, net: str) -> str:
        summary = measured.get((rule, net))
        return f"refused ({numbers[summary.reason]})" if summary and summary.reason else journal.cell(summary)

    rows = [(rule, *(cell(rule, net) for net in journal.ANY_NETS)) for rule in list_rules()]
    return markdown([("rule", *journal.ANY_NETS), *rows])


def refusals() -> str:
    """Return the messages by which rules refuse one of the five nets."""
    return "\n".join(f"{i}. {message}" for i, message in enumerate(_refusals(), start=1))


def _refusals() -> list[str]:
    runs = [run for run in journal.read(journal.ANY_NET) if run.rule in list_rules()]
    return list(dict.fromkeys(run.reason for run in runs if run.reason))


def sequences() -> str:
    """Return results on digits read row by row into a recurrent net."""
    measured = journal.summarise(journal.read(journal.RECURRENT))
    rows = [(s.settings, rule, journal.cell(s), f"{s.seconds:.0f}") for (rule, _), s in measured.items()]
    return markdown([("net", "rule", "accuracy, %", "seconds"), *rows])


# All rules on digits: digits/


def digits() -> str:
    """Return every rule on digits, best first."""
    folder = RESULTS / "digits"
    recipes = read_record(folder / "run.json")["recipes"]
    rows = [
        (
            *format_cells(summary)[:5],
            recipes[summary.rule]["recipe"]["initialise"].rpartition(".")[2],
            "yes" if find_rule(summary.rule).supervised else "readout",
            *format_cells(summary)[5:],
        )
        for summary in summarise(read_run_results(folder))
    ]
    return markdown([(*HEAD[:5], "initial weights", "labels", *HEAD[5:]), *rows])


def digits_versions() -> str:
    """Return what the comparison on digits ran with."""
    run = read_record(RESULTS / "digits" / "run.json")
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return f"Versions: {versions}. Data: SHA-256 `{run['data'][:16]}`."


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
    rows = [(name, f"{np.mean(values):.3f}") for name, values in _json("bonn.json").items()]
    return markdown([("classes or feature", "balanced accuracy"), *rows])


# Learning from diagnoses: recording_labels.jsonl


def _recording_labels() -> list[dict[str, Any]]:
    """Return the last outcome of each ingredient and seed."""
    return list({(o["name"], o["seed"]): o for o in _lines("recording_labels.jsonl")}.values())


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
    lines = [line for line in _lines("explanations.jsonl") if line["measure"] == measure]
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
    lines = [line for line in _lines("explanations.jsonl") if line["measure"] == "found"]
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
    for of, times in _json("explanations_speed.json").items():
        rows = [(name, f"{value:g}") for name, value in times.items()]
        blocks.append(markdown([(f"for {of.rpartition(', ')[0]}", of.rpartition(", ")[2]), *rows]))
    return "\n\n".join(blocks)


# Robustness: robustness.jsonl


def robustness() -> str:
    """Return how much each change of a recording changes its score and its answer, before and now."""
    runs: dict[str, list[dict[str, Any]]] = {"before": [], "now": []}
    for line in _lines("robustness.jsonl"):
        runs[line["run"]].append(line["found"])
    head = ("change", *(f"{what}, {run}" for what in ("score", "answers", "refused") for run in runs))
    rows = [head]
    for name in runs["now"][0]:
        if name:
            cells = zip(*(_changed(found, name) for found in runs.values()), strict=True)
            rows.append((name, *(cell for pair in cells for cell in pair)))
    return markdown(rows)


def _changed(found: list[dict[str, Any]], name: str) -> tuple[str, str, str]:
    """Return the mean and the largest change of the score, the changed answers and the refusals."""
    scored = [f for f in found if f[name][1] != "refused"]
    apart = [abs(f[name][0] - f[""][0]) for f in scored]
    score = f"{np.mean(apart):.3f} ({max(apart):.2f})" if apart else "–"
    return score, str(sum(f[name][1] != f[""][1] for f in scored)), str(len(found) - len(scored))


# Killed commands: kills.jsonl


def killed_commands() -> str:
    """Return how often each command was killed, and what running it again gave."""
    return markdown(kills.rows())


# Detection in archives: archive.jsonl


def archives() -> str:
    """Return time and memory of `eeg detect` for long recordings and for many."""
    return markdown(archive.rows())


def plan(count: int = 100_000, per_hour: float = 0.05, per_gigabyte: float = 0.02) -> str:
    """Return what many routine recordings of 20 minutes need, by the machine that measured 20 of them.

    Parameters
    ----------
    count
        Recordings.
    per_hour
        Price of a processor core for an hour.
    per_gigabyte
        Price of a gigabyte for a month.
    """
    rows = [("machine", "core hours", "16 cores, days", "cost", "recordings, GB", "results, GB", "a month")]
    for run in archive.read():
        if run.name.startswith("20 of 20"):
            hours, results = (run.processor / 3600, run.written / 1000)
            times = count / (run.results + run.errors)
            stored = count * 20 * 60 * 256 * 21 * 2 / 1e9
            cells = (hours * times, hours * times / 16 / 24, hours * times * per_hour, stored)
            cells += (results * times, (stored + results * times) * per_gigabyte)
            rows.append((run.machine, *(f"{cell:,.1f}" if cell < 10 else f"{cell:,.0f}" for cell in cells)))
    return markdown(rows)


# Speed: speed.jsonl


def speed() -> str:
    """Return the last measurement of every row on every machine, by table."""
    blocks: dict[tuple[str, str], list[timing.Ratio]] = {}
    for row in timing.read():
        blocks.setdefault((row.machine, row.table), []).append(row)
    parts = []
    for machine in dict.fromkeys(machine for machine, _ in blocks):
        parts.append(f"## {machine}")
        for (on, table), found in blocks.items():
            if on == machine:
                parts += [f"### {table}", _ratios(found)]
    return "\n\n".join(parts or ["No measurement is stored."])


def depth_memory() -> str:
    """Return the peak memory of a training step against depth."""
    found = _json("depth_memory.json")["megabytes"]
    depths = list(next(iter(found.values())))
    rows = [
        (name, *map(str, sizes.values()), f"{sizes[depths[-1]] / sizes[depths[0]]:.2f}")
        for name, sizes in found.items()
    ]
    return markdown([("rule", *(f"{depth} layers, MB" for depth in depths), "last / first"), *rows])


def _ratios(found: Sequence[timing.Ratio]) -> str:
    head = ("what", "baseline", "baseline, s", "ours, s", "ratio (quartiles)", "predicted", "goal", "commit")
    rows = [
        (
            row.name,
            row.baseline,
            f"{row.baseline_seconds:.3g}",
            f"{row.seconds:.3g}",
            f"{row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})",
            "–" if row.predicted is None else f"{row.predicted:.2f}",
            "–" if row.goal is None else f"{row.goal:g}",
            row.commit,
        )
        for row in found
    ]
    return markdown([head, *rows])


TABLES: Mapping[str, Callable[..., str]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        rules,
        rule_controls,
        rule_sections,
        memories,
        published,
        published_costs,
        any_net,
        refusals,
        sequences,
        digits,
        digits_versions,
        eeg_simulated,
        eeg_guinea_bissau,
        eeg_confounds,
        label_efficiency,
        bonn,
        recording_label_means,
        recording_label_seeds,
        explanations,
        explanation_errors,
        explanation_speed,
        robustness,
        killed_commands,
        archives,
        plan,
        speed,
        depth_memory,
    )
}
