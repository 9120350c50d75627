"""Write docs/recording_labels.md from benchmarks/results/recording_labels.jsonl: `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eeg.training.bags import Bags
from eeg.training.pseudo_labels import FOLDS, RARE
from trainers.comparison.table import markdown, t_interval

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import recording_labels  # noqa: E402

PAGE = ROOT / "docs" / "recording_labels.md"

Outcome = Mapping[str, Any]

_SHOWN = ("mean", "top", "peak", "noisy-or")
_TEXT = """\
# Learning from diagnoses alone

Generated from `benchmarks/results/recording_labels.jsonl`: do not edit this page, run `make docs`.

A hospital's archive tells who has epilepsy, not where the discharges are.  With the diagnosis copied to every
window a network must call a patient's silent windows epilepsy, which it can by knowing whose they are: it
learns its subjects by heart.  What helps?

- `--labels recording`, the diagnosis on every window, and `--augment` to hide whose EEG it is.
- `--labels bag`: the windows of a subject are pooled to one logit, and the loss sees that one
  (`--aggregation` names the pooling).  A bag holds up to {windows} windows: a small one often holds no
  discharge.
- `--labels pseudo`: networks find the discharges.  The training subjects are split into {folds} folds, and
  each fold is judged by a network that learned the others by bags: what it knows by heart of these is of no
  use here.  Those windows of a patient count as discharges that stand out of his recording as only {rare:.0%}
  of the controls' windows do, and his lower half as none; what lies between is left out.  The network that
  is kept learns from what was found, as if it were annotated, and then the diagnoses by bags.  It takes
  {networks} trainings instead of one.

```console
$ eeg train DATA --labels pseudo --out OUT
```

## Measured

```console
$ python benchmarks/recording_labels.py --work FOLDER --seed SEED
```

200 simulated subjects of 5 minutes, t-VGG GAP on windows of 2 s, one thread.  120 subjects to train, each
ingredient alone, and 80 to judge: ROC-AUC of these by the aggregation that was named before, its 95 %
interval over subjects, and beside it what other aggregations of the same windows give.  A seed draws the
cohort, the split and the training.  Settings were tried on the cohorts of seeds 101 and 102 only.  Simulated
patients differ from controls by their discharges and by nothing else; of people's recordings these figures
say nothing.  Research use only.

Mean over seeds, ± half the 95 % t-interval:

{means}

{sections}"""


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the page that these outcomes make, the last one of each ingredient and seed."""
    seeds = sorted({outcome["seed"] for outcome in outcomes})
    place = {name: i for i, name in enumerate(recording_labels.INGREDIENTS)}
    ordered = sorted(outcomes, key=lambda outcome: place[outcome["name"]])
    last = {(outcome["name"], outcome["seed"]): outcome for outcome in ordered}
    return _TEXT.format(
        folds=FOLDS,
        rare=RARE,
        networks=FOLDS + 2,
        windows=Bags.windows,
        means=_means(list(last.values())),
        sections="\n".join(_section(seed, list(last.values())) for seed in seeds),
    )


def _means(outcomes: Sequence[Outcome]) -> str:
    """Return what was learned with three seeds and more."""
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        found.setdefault(outcome["name"], []).append(outcome["scores"][outcome["aggregation"]][0])
    rows = [("learned from", "seeds", "ROC-AUC")]
    for name, values in found.items():
        if len(values) >= 3:
            mean, half = t_interval(values)
            rows.append((name, str(len(values)), f"{mean:.3f} ± {half:.3f}"))
    return markdown(rows)


def _section(seed: int, outcomes: Sequence[Outcome]) -> str:
    rows = [("learned from", "ROC-AUC", "by", *(f"by {name}" for name in _SHOWN))]
    of_seed = [outcome for outcome in outcomes if outcome["seed"] == seed]
    return f"### Seed {seed}\n\n{markdown([*rows, *map(_row, of_seed)])}\n"


def _row(outcome: Outcome) -> tuple[str, ...]:
    value, low, high = outcome["scores"][outcome["aggregation"]]
    return (
        outcome["name"],
        f"{value:.3f} ({low:.3f}–{high:.3f})",
        outcome["aggregation"],
        *(f"{outcome['scores'][name][0]:.3f}" for name in _SHOWN),
    )


def current() -> str:
    """Return the page as it is to be today."""
    return page(
        [json.loads(line) for line in recording_labels.JOURNAL.read_text(encoding="utf-8").splitlines()]
    )


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
