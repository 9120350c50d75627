"""Tables of results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trainers.comparison.experiment import Result


@dataclass(frozen=True)
class Summary:
    """Results of a rule over all its seeds.

    Parameters
    ----------
    rule
        Name of the rule.
    runs, failed
        Number of runs, and of failed runs.
    accuracy
        Mean over the runs that did not fail; None if all failed.
    half_width
        Half the width of the 95 % t-interval of that mean; infinite for one seed.
    seconds, memory
        Mean seconds, and peak MiB.
    updated
        Number of parameters that changed.
    reason
        Why the first failed run failed.
    forgetting
        Mean and half the width of its interval, of several tasks.
    """

    rule: str
    runs: int
    failed: int
    accuracy: float | None = None
    half_width: float | None = None
    seconds: float | None = None
    memory: float | None = None
    updated: int | None = None
    reason: str = ""
    forgetting: tuple[float, float] | None = None


HEAD = ("rule", "accuracy, %", "seconds", "peak MiB", "parameters updated", "seeds", "failed")


def summarise(results: Iterable[Result]) -> list[Summary]:
    """Return one summary a rule, the best first and those without an accuracy last."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.rule, []).append(result)
    return sorted(map(_summary, groups.values()), key=lambda s: (s.accuracy is None, -(s.accuracy or 0)))


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of ``values`` and half the width of its 95 % t-interval."""
    from scipy.stats import t

    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return mean, math.inf
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(t.ppf(0.975, n - 1)) * math.sqrt(variance / n)


def format_cells(summary: Summary) -> tuple[str, ...]:
    """Return the cells of a row under `HEAD`."""
    done = summary.runs - summary.failed
    failed = f"{summary.failed}: {summary.reason}" if summary.failed else ""
    if summary.accuracy is None or summary.half_width is None:
        return summary.rule, "", "", "", "", str(done), failed
    return (
        summary.rule,
        format_percent((summary.accuracy, summary.half_width)),
        f"{summary.seconds:.1f}",
        "" if summary.memory is None else f"{summary.memory:.0f}",
        f"{summary.updated:,}",
        str(done),
        failed,
    )


def format_percent(interval: tuple[float | None, float | None] | None) -> str:
    """Return a mean and half the width of its interval in per cent; empty if there is none."""
    mean, half_width = interval or (None, None)
    if mean is None or half_width is None:
        return ""
    return f"{100 * mean:.2f}" + (f" ± {100 * half_width:.2f}" if math.isfinite(half_width) else "")


def format_comparison(results: Sequence[Result], missing: int) -> str:
    """Return the table of `hebbian compare`, and how many runs are ``missing``."""
    summaries = summarise(results)
    rows = [HEAD, *map(format_cells, summaries)]
    if any(summary.forgetting for summary in summaries):
        column = ("forgetting, points", *(format_percent(summary.forgetting) for summary in summaries))
        rows = [(*row[:2], cell, *row[2:]) for row, cell in zip(rows, column, strict=True)]
    table = [text(rows)] if results else []
    note = [f"{missing} runs are missing; the same command resumes them."] if missing else []
    return "\n".join(table + note)


def format_results(results: Sequence[Result], n: int) -> str:
    """Return the table of `hebbian train`, tested on ``n`` samples."""
    rows = [
        (r.rule, f"{r.accuracy:.2%}", f"{r.low:.2%} to {r.high:.2%}", f"{r.seconds:.1f}", f"{r.seed}")
        for r in results
    ]
    return text([("rule", f"accuracy on {n} test samples", "95% interval", "seconds", "seed"), *rows])


def text(rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first row is its head."""
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])
    )


def _summary(results: Sequence[Result]) -> Summary:
    done = [r for r in results if not r.reason]
    reason = next((r.reason for r in results if r.reason), "")
    count = Summary(results[0].rule, len(results), len(results) - len(done), reason=reason)
    if not done:
        return count
    mean, half_width = t_interval([r.accuracy for r in done if r.accuracy is not None])
    forgotten = [r.forgetting for r in done if r.forgetting is not None]
    memory = [r.memory for r in done if r.memory is not None]
    return replace(
        count,
        accuracy=mean,
        half_width=half_width,
        seconds=sum(r.seconds or 0 for r in done) / len(done),
        memory=max(memory, default=None),
        updated=max(r.updated or 0 for r in done),
        forgetting=t_interval(forgotten) if forgotten else None,
    )
