"""Write docs/comparison.md from benchmarks/results/digits: `make docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hebbian.registry import find
from trainers.comparison.results import read_results
from trainers.comparison.table import HEAD, format_cells, markdown, summarise
from trainers.provenance import read_record

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "digits"
PAGE = ROOT / "docs" / "comparison.md"

COMMAND = (
    "hebbian compare --rules all --data digits --seeds {seeds} --jobs 2 --budget-minutes 20 \\\n"
    "    --out benchmarks/results/digits"
)
_TEXT = """\
# All rules on digits

Generated from `benchmarks/results/digits`: do not edit this page, run `make docs`.

One command made it, within its budget on two processor cores; it goes on where it was interrupted:

```console
$ {command}
```

1437 images of 8 x 8 digits for training, 360 for the test (scikit-learn), the same ones for every rule; a
perceptron with 100 hidden units; each rule with the settings that `trainers.recommended` names for it,
nothing searched for. Rules with the same first weights start, seed by seed, from the very same. `frozen`
random features and `backprop` are the controls, each on a net of its own recipe: `frozen` features pass a
ReLU and are not centred, while many rules have another activation or centred inputs. What such a rule is
above `frozen` is thus owed to the rule and its net together.

Accuracy is the mean over {seeds} seeds with its 95 % t-interval: the spread of first weights and orders, not
of the draw of 360 images, which alone is about 1 % to either side. Each run had a process of its own, whose
seconds and peak of memory are given; none needs less than {least} MiB, most of it PyTorch itself.

{table}

Versions: {versions}. Data: SHA-256 `{data}`.
"""


def page(run: dict[str, Any], results: Path) -> str:
    """Return the page of the comparison that ``run`` notes."""
    summaries = summarise(read_results(results))
    rows = [
        (
            *format_cells(s)[:5],
            run["recipes"][s.rule]["recipe"]["initialise"].rpartition(".")[2],
            _labels(s.rule),
            *format_cells(s)[5:],
        )
        for s in summaries
    ]
    seeds = len(run["settings"]["seeds"])
    return _TEXT.format(
        command=COMMAND.format(seeds=seeds),
        seeds=seeds,
        least=f"{min(s.memory for s in summaries if s.memory is not None):.0f}",
        table=markdown([(*HEAD[:5], "first weights", "labels", *HEAD[5:]), *rows]),
        versions=", ".join(f"{name} {number}" for name, number in run["versions"].items()),
        data=run["data"][:16],
    )


def _labels(rule: str) -> str:
    return "yes" if find(rule).supervised else "readout"


def current() -> str:
    """Return the page as it is to be today."""
    return page(read_record(RESULTS / "run.json"), RESULTS)


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
