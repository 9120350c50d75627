"""Write docs/explanations.md from benchmarks/results/explanations.jsonl: `make docs`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eeg.explanation.attribution import DEFAULT
from trainers.comparison.table import markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "explanations.jsonl"
SPEED = RESULTS.with_name("explanations_speed.json")
PAGE = ROOT / "docs" / "explanations.md"

Line = Mapping[str, float]

_DRAWS = 2000
_PRODUCT, _WINDOWS = "eeg explain", "highest windows"
_FOUND = {
    "pointing": "pointing game",
    "precision": "precision at R",
    "recall": "recall at 10",
    "channel": "channel",
    "peak_error": "peak error, ms",
    "auroc": "AUROC of samples",
    "chance": "chance",
}
_TRUE = {
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "infidelity": "infidelity ↓",
    "sensitivity": "max-sensitivity ↓",
    "baselines": "other baselines ↑",
    "default": "occlusion",
}
_FORGOTTEN = {
    "labels": "labels shuffled",
    "weights": "weights shuffled",
    "depth 1": "magnitude: readout",
    **{f"depth {depth}": f"{depth} layers" for depth in range(2, 7)},
    "depth 7": "all 7",
}
_MEASURES = {"found": _FOUND, "faithful": _TRUE, "forgotten": _FORGOTTEN}
_SCALE = {"peak_error": 1000.0}

_TEXT = """\
# Are explanations true?

Generated from `benchmarks/results/explanations.jsonl`: do not edit this page, run `make docs`.

```console
$ python benchmarks/explanations.py --work FOLDER
```

t-VGG GAP on the simulated cohort of `eeg demo` (seed 0), trained on 48 of its 80 subjects.  Unseen are the 16
others with discharges and, of the same simulation, those among 120 more subjects.  Each row tells of how many
unseen subjects (n) it is the mean, with 95 % intervals (2,000 bootstrap draws of subjects).  `amplitude`
explains by the size of the signal and `random` by chance: neither knows the network.  Simulated
discharges are known; of people's recordings these figures say nothing.  Research use only.

**Found discharges.**  Evidence summed over channels and 125 ms becomes segments of at most 1 s around its
highest peaks; a hit overlaps a true discharge widened by 100 ms.

- Pointing game: the first segment is a hit.
- Precision at R: of the first R = min(10, discharges).  Recall at 10: of all discharges; of more than ten
  it cannot reach 1.
- Channel: of the hits, those whose strongest channel sees the discharge (at least half of its largest peak).
- Peak error: median distance to the discharge's largest deflection.
- Chance: that a segment as long as the first one, placed anywhere, is a hit.

`eeg explain` is what the command shows: peaks of {default}, ranked by what the logit loses without each.
It refused {refused} of its {explained} explanations here.  `highest windows` are no explanation: they are the
2 s to which the network itself gives the highest logits, in the place of segments.  Of the {missed}
recordings whose first segment misses, {erred} hold no discharge in the highest window either: there the
network errs, and the segment shows what it fired at.  Rows with 120 to learn from are of another network,
taught by 72 subjects more.

**True to the network**, on the eight windows of the highest logits of each subject.

- Deletion and insertion: area under the probability while cells of 125 ms are taken out or put in, the
  strongest first.
- Infidelity: share of what random stretches of 250 ms take from the logit that the evidence, scaled as fits
  best, does not foretell.
- Max-sensitivity: largest relative change under noise of a tenth of the median amplitude.
- The others are mean rank correlations of the evidence over cells: with that from the mean and the
  phase-randomised baseline instead of zero, and with occlusion.

**Forgotten with the network**, on the same windows: what stays the same does not explain the network.

- Mean rank correlation over cells with the evidence of a network trained on labels shuffled over subjects,
  and of one whose learned numbers are shuffled.
- Cascading randomisation (Adebayo et al. 2018): the same of the magnitude of evidence while the readout is
  shuffled, then the layer below as well, and so on until all are.  A method that multiplies by the signal
  keeps a share of its magnitude, as `amplitude` does wholly.

**The default is {default}**, chosen by these tables: no method finds discharges better by more than chance
allows.  Of those that place a peak as closely it changes least with noise and with the baseline, and keeps
least when the network is shuffled.  And it asks a network for nothing but its answers, so that it explains
models too that read out by a local rule.  Integrated gradients foretell the logit better (infidelity) and
tell channels apart.

{sections}\
**How long it takes** (19 channels, windows of 2 s, one thread, `--speed`, processor time): {speed}.

Ablations and occlusion take parts out one at a time: their values do not add up to the logit.  Grad-CAM and
occlusion do not tell channels apart (`eeg explain` takes a segment's channels out one by one instead),
regions do so coarsely, and Shapley's half seconds blur the moment.  Grad-CAM knows no baseline.
"""


def page(lines: Sequence[Line]) -> str:
    """Return the page that these results make."""
    shown = [line for line in lines if line["method"] == _PRODUCT]
    highest = {
        (line["rule"], line["subject"]): line["pointing"] for line in lines if line["method"] == _WINDOWS
    }
    seen = [(line["rule"], line["subject"]) for line in shown if line["pointing"] == 0]
    missed = [highest[recording] for recording in seen if recording in highest]
    return _TEXT.format(
        sections="".join(_section(rule, lines) for rule in dict.fromkeys(line["rule"] for line in lines)),
        default=DEFAULT,
        refused=round(sum(line["refused"] for line in shown)),
        explained=len(shown),
        missed=len(missed),
        erred=missed.count(0.0),
        speed="; ".join(
            f"{of}: " + ", ".join(f"{name} {value:g}" for name, value in times.items())
            for of, times in json.loads(SPEED.read_text()).items()
        ),
    )


def _section(rule: object, lines: Sequence[Line]) -> str:
    tables = []
    for measure, columns in _MEASURES.items():
        chosen = [line for line in lines if line["rule"] == rule and line["measure"] == measure]
        if chosen:
            tables.append(_table(chosen, columns))
    return f"## {rule}\n\n" + "\n\n".join(tables) + "\n\n"


def _table(lines: Sequence[Line], columns: Mapping[str, str]) -> str:
    methods = {
        method: [line for line in lines if line["method"] == method]
        for method in dict.fromkeys(line["method"] for line in lines)
    }
    rows = [
        (
            str(method),
            str(len(found)),
            *(_cell([line.get(key) for line in found], _SCALE.get(key, 1.0)) for key in columns),
        )
        for method, found in methods.items()
    ]
    return markdown([("method", "n", *columns.values()), *rows])


def _cell(values: Sequence[float | None], scale: float) -> str:
    """Return a mean and its interval, without the subjects of whom nothing can be said."""
    x = scale * np.array([value for value in values if value is not None and np.isfinite(value)])
    if len(x) == 0:
        return "–"
    digits = 0 if scale > 1 else 2
    drawn = np.random.default_rng(0).choice(x, (_DRAWS, len(x))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{x.mean():.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def current() -> str:
    """Return the page as it is to be today."""
    return page([json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
