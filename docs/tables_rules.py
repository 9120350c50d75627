"""Tables of the registered rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import journal
import numpy as np
import published as board
from rules import own_net
from stored import RESULTS, read_json

from hebbian.registry import find_rule, list_modules, list_rules
from hebbian.rule_info import ModuleInfo
from tests.test_hebbian.oracles import oracle_tests
from trainers.comparison.results import read_run_results
from trainers.comparison.table import HEAD, format_cells, format_percent, markdown, summarise, t_interval
from trainers.provenance import read_record

NETS = {"mlp": "784-500-500-10", "conv": "two convolutions"}


# The rules: rules.jsonl, recurrent.jsonl, published/*.json, reasons.json


def rules() -> str:
    """Return every rule with its facts and its accuracy on both nets."""
    runs = journal.read(journal.RULES)
    measured = journal.summarise(runs)
    columns = ("%", "gain", "moved, °")
    head = ("rule", "family", "labels", "traits", "one graph")
    rows = [
        (
            f"[{rule.name}](#{rule.name})",
            rule.family,
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
    return read_json("reasons.json")


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
        if not cell.source or not runs:
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
                *(
                    (cell.source, "–")
                    if cell.published is None
                    else (f"{cell.published:.2f}, {cell.source}", f"{mean - cell.published:+.2f}")
                ),
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


# All rules by one command, and continual learning: comparison/, continual_split/, continual_permuted/


def comparison() -> str:
    """Return every rule on MNIST by `hebbian compare`, best first."""
    folder = RESULTS / "comparison"
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


def continual(protocol: str) -> str:
    """Return what rules reach and forget in a protocol of continual learning, best first."""
    summaries = summarise(read_run_results(RESULTS / f"continual_{protocol}"))
    rows = [
        (s.rule, format_percent((s.accuracy, s.half_width)), format_percent(s.forgetting)) for s in summaries
    ]
    return markdown([("rule", "accuracy on all tasks, %", "forgetting, points"), *rows])


def comparison_versions() -> str:
    """Return what the comparison ran with."""
    run = read_record(RESULTS / "comparison" / "run.json")
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return f"Versions: {versions}. Data: SHA-256 `{run['data'][:16]}`."
