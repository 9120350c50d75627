"""Write docs/rules.md from the registry and from what the benchmarks measured: python docs/make_rules.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hebbian.registry import BUILT_IN, MODULES, Card, Entry

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import journal  # noqa: E402
from journal import CENTRED, NETS, Summary, cell  # noqa: E402

PAGE = ROOT / "docs" / "rules.md"
Measured = Mapping[tuple[str, str], Summary]

REASONS = json.loads(journal.REASONS.read_text(encoding="utf-8"))
"""Why a rule stays behind random features, where it does: measured by benchmarks/reasons.py."""

SHORTFALLS = {
    "fa": "the convolutions have not aligned with their random feedback",
    "dfa": "the second convolution has hardly aligned with its random feedback",
    "usf": "13 of 10,000 images, which one seed does not tell from chance",
    "pc": "20 steps of 0.05 end one time constant into the settling",
    "predsim": "three of a hundred epochs do not tell whether it passes backprop, as published",
    "forward-forward": "a tenth of the published length, at whose end its error is said to be 1.36 %",
}
"""What may stand behind a published recipe's distance to backprop at this length, beside what is measured."""


def page(
    entries: Sequence[Entry],
    modules: Sequence[Card],
    measured: Measured,
    published: Sequence[Mapping[str, Any]],
    sequences: Measured,
) -> str:
    """Return the whole page as Markdown."""
    blocks = [
        "# The rules",
        "Generated from the registry and from `benchmarks/results`: do not edit this page, run `make docs`.",
        _OF_ALL,
        _table(entries, measured),
        _centred(measured),
        _PUBLISHED,
        "\n".join(_published_table(published)),
        "\n".join(_shortfalls(published)),
        _sequences(sequences),
        *(_section(entry, measured) for entry in entries),
        _MODULES,
        *("\n".join(_card(card)) for card in modules),
    ]
    return "\n\n".join(blocks) + "\n"


_OF_ALL = """\
## All of them

Accuracy is in per cent on the 10,000 test images of MNIST after training on the first 10,000 training
images: the mean over seeds with its 95 % t-interval. Nets: 784-500-10, and two convolutions of 16 and 32
kernels with pooling. Every rule has the same batches and the same few epochs (`benchmarks/rules.py`), but
for those that learn from one number a trial, which have four times as many: the figures compare rules, they
are not the best that each can do. Settings were chosen on held-out training images. Seconds are those of
one processor core. Rules without labels are followed by a readout that learns by backprop, as is the
control, `frozen` random features. `frozen` and `backprop` run on nets of their own, ReLU on inputs as they
are; a rule's line below tells where its net is another. "One graph" tells whether `torch.compile` takes the
rule whole (`fullgraph=True`).
`tests/test_rules.py` holds every rule to its traits, and to their absence."""

_CENTRED = """\
Some rules want centred inputs; their settings below say so. They are to be held against the controls on
such nets:"""

_SEQUENCES = """\
## Sequences

Digits row after row into a `LeakyRNN`, three rules from the same weights (`benchmarks/recurrent.py`):
accuracy in per cent on 360 test images, the mean over seeds with its 95 % t-interval. `backprop` goes
through time, `frozen` is a reservoir."""

_MODULES = """\
## Beside the rules

What learns locally, or is learned, and is used by itself: no model is trained by naming it."""

_PUBLISHED = """\
## Published recipes

Each on its own net (`benchmarks/published.py`), all of MNIST, one seed. A run that is shorter than the
published one is to be held against backprop on the same net at the same length, which stands beside it,
and not against the published figure."""


def _centred(measured: Measured) -> str:
    rows = [
        (rule, *(_short(measured.get((rule, net + CENTRED))) for net in NETS))
        for rule in ("backprop", "frozen")
    ]
    return "\n".join((_CENTRED, "", *_rows(("control", "MLP, %", "conv, %"), rows)))


def _sequences(sequences: Measured) -> str:
    rows = [(rule, cell(summary), f"{summary.seconds:.0f}") for (rule, _), summary in sequences.items()]
    return "\n".join((_SEQUENCES, "", *_rows(("rule", "accuracy, %", "seconds"), rows)))


def _table(entries: Sequence[Entry], measured: Measured) -> str:
    rows = [
        (
            f"[{e.name}](#{e.name})",
            e.family,
            e.source,
            e.needs,
            "yes" if e.supervised else "no",
            ", ".join(sorted(e.traits - {"graph breaks"})) or "–",
            "no" if "graph breaks" in e.traits else "yes",
            *(_short(measured.get((e.name, net))) for net in NETS),
        )
        for e in entries
    ]
    head = ("rule", "family", "source", "needs", "labels", "traits", "one graph", "MLP, %", "conv, %")
    return "\n".join(_rows(head, rows))


def _short(summary: Summary | None) -> str:
    text = cell(summary)
    return text if summary is None or summary.accuracy is not None else text.split(":")[0]


def _published_table(published: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = []
    for found in published:
        own, control = (found["curves"].get(name) for name in (found["rule"], "backprop"))
        rows.append(
            (
                found["rule"],
                found["recipe"]["shape"],
                f"{found['epochs']} of {found['recipe']['phase']['epochs']}",
                _final(own),
                _final(control),
                found["recipe"]["figure"],
            )
        )
    head = ("rule", "net", "epochs", "accuracy, % (seconds)", "backprop, % (seconds)", "published")
    return _rows(head, rows)


def _final(curve: Mapping[str, Any] | None) -> str:
    if curve is None:
        return "not run"
    return f"{100 * curve['accuracy'][-1]:.2f} ({curve['seconds'][-1]:.0f})"


def _shortfalls(published: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each rule that ends behind backprop what its curves tell of the reason."""
    for found in published:
        name = found["rule"]
        own, control = (found["curves"].get(curve) for curve in (name, "backprop"))
        if own and control and own["accuracy"][-1] < control["accuracy"][-1]:
            short = 100 * (control["accuracy"][-1] - own["accuracy"][-1])
            angles = ", ".join(f"{angle:.0f}°" for angle in own.get("angles", ()))
            told = (
                f"its update ends at {angles} to backprop's, first hidden layer to last; " if angles else ""
            )
            yield (
                f"- `{name}` ends {short:.2f} points behind: {told}at last it rises by {_slope(own):.2f} "
                f"points an epoch, backprop by {_slope(control):.2f}; {SHORTFALLS[name]}."
            )


def _slope(curve: Mapping[str, Any]) -> float:
    """Return the mean rise of the accuracy over up to three last epochs, in points an epoch."""
    last = curve["accuracy"][-4:]
    return 100 * (last[-1] - last[0]) / max(len(last) - 1, 1)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(text.replace("|", "\\|") for text in row) + " |"


def _card(card: Card) -> list[str]:
    return [
        f"## {card.name}",
        "",
        f"    {card.equation}",
        "",
        f"- Source: {card.source}",
        f"- Needs: {card.needs}",
        f"- Held against: {card.oracle}",
    ]


def _section(entry: Entry, measured: Measured) -> str:
    lines = _card(entry)
    for net, title in zip(NETS, ("784-500-10", "two convolutions"), strict=True):
        lines.append(f"- On {title}: {_told(measured.get((entry.name, net)))}")
    if behind(entry.name, measured):
        lines.append(f"- Behind random features: {REASONS[entry.name]}.")
    return "\n".join(lines)


def behind(name: str, measured: Measured) -> list[str]:
    """Return the nets on which a rule reaches less than frozen random features."""
    found = []
    for net in NETS:
        rule, control = measured.get((name, net)), measured.get(("frozen", net))
        if rule and control and rule.accuracy is not None and control.accuracy is not None:
            found += [net] if rule.accuracy < control.accuracy else []
    return found


def _told(summary: Summary | None) -> str:
    if summary is None or summary.accuracy is None:
        return cell(summary)
    seeds = f"{summary.seeds} seed{'s' * (summary.seeds > 1)}"
    return f"{cell(summary)} %, {seeds}, {summary.seconds:.0f} s ({summary.settings})"


def current() -> str:
    """Return the page as it is to be today."""
    published = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(journal.PUBLISHED.glob("*.json"))
    ]
    measured, sequences = (
        journal.summarise(journal.read(path)) for path in (journal.RULES, journal.RECURRENT)
    )
    return page(BUILT_IN, MODULES, measured, published, sequences)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
