"""Write docs/eeg_models.md from what benchmarks/eeg_models.py and its neighbours left: `make docs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eeg.evaluation.metrics import Estimate
from eeg.evaluation.significance import delong
from trainers.comparison.table import markdown, t_interval

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import bonn  # noqa: E402
import eeg_models  # noqa: E402
import label_efficiency  # noqa: E402
from subject_scores import Scores, read  # noqa: E402

PAGE = ROOT / "docs" / "eeg_models.md"
FIRST = "tangent-bands"
"""What the others are tested against on Guinea-Bissau."""
NETWORK = "tvgg-gap by backprop"

Runs = Mapping[str, Sequence[Scores]]

_TEXT = """\
# What detects epilepsy-like EEG, and what only seems to

Generated from `benchmarks/results`: do not edit this page, run `make docs`.  Research use only.  Figures
are ROC-AUCs of subjects whom no part of a model had seen, with 95 % intervals (1,000 bootstrap draws of
subjects).

## A simulated cohort

```console
$ python benchmarks/eeg_models.py simulated --data FOLDER
```

200 subjects of 5 minutes, seed 0, windows of 2 s at 128 Hz: 120 to train, 40 to choose how windows are put
together, {judged} to judge, once.  The models of Uyttenhove et al. 2020, whose nets were told the
diagnosis of every window; beside it the same nets told where the discharges are.  Half of the subjects have
discharges, and nothing else tells the groups apart: band powers cannot.  Always the same answer has 0.5.
Feature models, which choose by inner folds, and amplitude learn from all 160 who are not judged.

{simulated}

What a net that is told only diagnoses needs to do better is measured on [a page of its
own](recording_labels.md).

## Guinea-Bissau

```console
$ python benchmarks/eeg_models.py guinea-bissau --data FOLDER
```

{subjects} subjects, {epilepsy} of them with epilepsy, 14 channels, windows of 10 s that are clean EEG;
five folds by subject.  The regularisation of feature models is chosen in inner folds; which windows the
tangent spaces leave out, and by how much they shrink, was once chosen on these very subjects, so that their
figures are a little too good.  Networks train for a fixed length, with nothing to choose, and a recording
has the mean of its windows; "stopped early" keeps the best epoch and aggregation for a quarter of the
training subjects, set aside.  Of several seeds (of folds, weights and order) the value and the interval's
ends are means.  The last columns compare the first seed with that of {first}.

{guinea_bissau}

What needs no EEG, cross-validated by subject, and p from labels shuffled:

{cues}

- The day on which a *control* was recorded, the first days against the last, told from his EEG by {first}:
  {day}.
- {first} on diagnoses dealt out anew, {shuffles} times, the whole way: {null}.

**What can be concluded.**  The EEG of this set tells its two groups apart: {first} has {best},
and chance where the diagnoses are dealt out anew.  No network here does better than this logistic
regression on the covariances of five bands; t-VGG GAP by backprop has {net},
and local rules stay below it, some below random features.

**What cannot.**  The calendar alone does better: {date}, and {date_closed}
among those whose eyes were closed first.  From a control's EEG the time of his recording can be read, so
there is something of the day in the signal, be it the room, the cap or the person who put it on.  Only 12
controls were recorded on a day on which a patient was: too few to tell epilepsy from that day.  No figure
of this section is evidence that any of these models detects epilepsy.

## How many labels

```console
$ python benchmarks/label_efficiency.py simulated --data FOLDER
$ python benchmarks/label_efficiency.py guinea-bissau --data FOLDER
```

t-VGG GAP with few labelled subjects: mean of {draws} draws of the labelled and of the kept third, ± half
the 95 % t-interval; a dash is not measured yet.  "SoftHebb first" learns features without labels from all
training subjects, then everything by backprop from the labelled ones.  Simulated: labelled discharges;
Guinea-Bissau: diagnoses.

{labels}

Nowhere here does it help to learn features by SoftHebb first: from scratch the mean is higher at every
number of labels.  SoftHebb has the settings of the digits benchmark, which were not tuned for EEG.

## Bonn

```console
$ python benchmarks/bonn.py --data FOLDER
```

The random forest of Buettner et al. 2019 on single channels of 23.6 s, {folds} folds of segments, balanced
accuracy, mean of {seeds} seeds:

{bonn}

The high figure stands on three legs, none of which is epilepsy in scalp EEG.  The healthy were recorded
from the scalp and the patients from inside the skull: bone is a filter, and a forest on fine bands sees it.
Each set holds 100 segments of five people, and nobody knows whose a segment is, so folds of segments test
on the people they trained on.  And what separates patients from the healthy separates the healthy with open
eyes from the healthy with closed ones nearly as well.  Nothing of it can be asked of a routine recording.
"""


def page(
    simulated: Runs, guinea_bissau: Runs, labels: Mapping[str, Runs], found: Mapping[str, list[float]]
) -> str:
    """Return the page that these results make."""
    judged = next(iter(simulated.values()))[0]
    reference = guinea_bissau[FIRST][0]
    closed = [bool(x) for x in guinea_bissau[eeg_models.CLOSED][0].scores]
    _check(guinea_bissau)
    _check_labels(labels)
    null = [run.auc().value for run in guinea_bissau[eeg_models.SHUFFLED]]
    return _TEXT.format(
        judged=len(judged.labels),
        simulated=_simulated(simulated),
        subjects=len(reference.labels),
        epilepsy=sum(reference.labels),
        first=FIRST,
        guinea_bissau=_guinea_bissau(guinea_bissau, reference, closed),
        cues=_cues(guinea_bissau),
        day=guinea_bissau[eeg_models.DAY][0].auc(),
        shuffles=len(null),
        null=f"mean {np.mean(null):.2f}, from {min(null):.2f} to {max(null):.2f}",
        best=_mean(run.auc() for run in guinea_bissau[FIRST]),
        net=_mean(run.auc() for run in guinea_bissau[NETWORK]),
        date=_date(guinea_bissau[eeg_models.CUES][0]),
        date_closed=_date(guinea_bissau[eeg_models.CUES_CLOSED][0]),
        draws=label_efficiency.DRAWS,
        labels=_labels(labels),
        folds=bonn.FOLDS,
        seeds=bonn.SEEDS,
        bonn=markdown(
            [("question", "balanced accuracy"), *((q, f"{np.mean(a):.3f}") for q, a in found.items())]
        ),
    )


def _date(found: Scores) -> Estimate:
    """Return what the recording date tells without any EEG."""
    return Estimate(*found.facts["recording date"][:3])


def _check(runs: Runs) -> None:
    """Raise `ValueError` where the page's conclusions no longer follow from what was measured."""
    reached = {
        name: _mean(run.auc() for run in seeds).value for name, seeds in runs.items() if " by " in name
    }
    best = _mean(run.auc() for run in runs[FIRST]).value
    local = [value for name, value in reached.items() if " by backprop" not in name]
    if (
        max(reached.values()) >= best
        or max(local) >= reached[NETWORK]
        or best >= _date(runs[eeg_models.CUES][0]).value
    ):
        raise ValueError("what was measured on Guinea-Bissau has changed; write its conclusions anew")


def _simulated(runs: Runs) -> str:
    """Return models as rows, and what they were told as columns."""
    told = ("diagnoses", "discharges")
    rows: dict[str, dict[str, str]] = {}
    for name, (run, *_) in runs.items():
        model, _, by = name.partition(", ")
        rows.setdefault(model, {})[by or told[0]] = str(run.auc())
    body = [(model, *(cells.get(by, "–") for by in told)) for model, cells in rows.items()]
    return markdown([("model", *(f"told {by}" for by in told)), *body])


def _guinea_bissau(runs: Runs, reference: Scores, closed: Sequence[bool]) -> str:
    head = ("model", "seeds", "ROC-AUC", "eyes closed first", f"minus {FIRST}", "p (DeLong)")
    rows = []
    for name, seeds in runs.items():
        if not seeds[0].scores or name in (eeg_models.CLOSED, eeg_models.DAY, eeg_models.SHUFFLED):
            continue
        found = delong(*(np.array(x) for x in (reference.labels, seeds[0].scores, reference.scores)))
        tested = ("", "") if name == FIRST else (str(found.difference), f"{found.p:.2g}")
        values = (_mean(run.auc() for run in seeds), _mean(run.auc(closed) for run in seeds))
        rows.append((name, str(len(seeds)), *map(str, values), *tested))
    return markdown([head, *rows])


def _mean(found: Iterable[Estimate]) -> Estimate:
    """Return the mean of values and of the ends of their intervals."""
    return Estimate(*np.mean([(e.value, e.low, e.high) for e in found], axis=0).tolist())


def _cues(runs: Runs) -> str:
    """Return what tells the groups apart without EEG, of all and of those whose eyes were closed first."""
    every, closed = (runs[name][0].facts for name in (eeg_models.CUES, eeg_models.CUES_CLOSED))

    def cell(found: Sequence[float] | None) -> str:
        return "–" if found is None else f"{Estimate(*found[:3])}, p = {found[3]:.2g}"

    body = [(cue, cell(found), cell(closed.get(cue))) for cue, found in every.items()]
    return markdown([("cue alone", "ROC-AUC", "eyes closed first"), *body])


def _labels(corpora: Mapping[str, Runs]) -> str:
    counts = [str(n or "all") for n in label_efficiency.LABELLED]
    rows = [("corpus", "", *(f"{n} subjects" for n in counts))]
    for corpus, runs in corpora.items():
        for way in label_efficiency.WAYS:
            rows.append((corpus, way, *(_spread(runs.get(f"{way}, {n}", ())) for n in counts)))
    return markdown(rows)


def _check_labels(corpora: Mapping[str, Runs]) -> None:
    """Raise `ValueError` where SoftHebb first has a higher mean than learning from scratch."""
    scratch, _, first = label_efficiency.WAYS
    for corpus, runs in corpora.items():
        for n in (str(n or "all") for n in label_efficiency.LABELLED):
            one, other = (np.mean([r.auc().value for r in runs[f"{way}, {n}"]]) for way in (scratch, first))
            if other >= one:
                raise ValueError(f"{corpus}, {n} subjects: SoftHebb first helps; rewrite the sentence on it")


def _spread(runs: Sequence[Scores]) -> str:
    """Return mean and half width, or a dash where there are not two draws yet."""
    if len(runs) < 2:
        return "–"
    mean, half = t_interval([run.auc().value for run in runs])
    return f"{mean:.3f} ± {half:.3f}"


def _by_name(path: Path) -> Runs:
    """Return the runs of each name in the order of their seeds."""
    found: dict[str, list[Scores]] = {}
    for run in sorted(read(path).values(), key=lambda run: run.seed):
        found.setdefault(run.name, []).append(run)
    order = [name for name, _ in read(path)]
    return {name: found[name] for name in dict.fromkeys(order)}


def current() -> str:
    """Return the page as it is to be today."""
    return page(
        _by_name(eeg_models.PATHS["simulated"]),
        _by_name(eeg_models.PATHS["guinea-bissau"]),
        {corpus: _by_name(path) for corpus, path in label_efficiency.PATHS.items()},
        json.loads(bonn.PATH.read_text(encoding="utf-8")),
    )


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
