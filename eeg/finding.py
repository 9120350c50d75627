"""Finding discharges where only diagnoses are known: networks point them out to one another.

A diagnosis says that somewhere in a recording there are discharges, not where.  To begin with all windows of
a patient count as such.  Then the subjects are split into folds, and a network that learned from the other
folds judges the windows of each: what it knows by heart of its own subjects is of no use there, so those
windows rank high that patients have in common.  From then on a patient's highest windows count as discharges
and his lower half as none; what lies between is left out.  Each round learns from fewer, truer examples.

This is the mi-SVM of Andrews, Tsochantaridis & Hofmann 2003 with networks, and with the cross-fitting that
keeps these from finding again what they memorised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from eeg import splits
from eeg.datasets import Entry
from eeg.windows import Windows
from trainers.errors import DataError

Judge = Callable[[np.ndarray], np.ndarray]
"""Windows (N, C, T) -> their logits (N,)."""

Learn = Callable[[Sequence[Windows]], Judge]
"""Recordings with annotated discharges -> what has learned from them."""

FOLDS, ROUNDS = 3, 3
SHARE = 0.1
"""Of a patient's windows, those that count as discharges: about 4 a minute of windows of 2 s."""

REST = 0.5
"""Of a patient's windows, those that count as free of discharges."""


def found(
    loaded: Mapping[Entry, Windows], entries: Sequence[Entry], learn: Learn, seed: int
) -> list[Windows]:
    """Return the recordings in ``entries`` with the discharges that were found, and without unclear windows.

    Parameters
    ----------
    loaded
        The windows of each recording; of their annotations nothing is looked at.
    entries
        Recordings whose subjects have a diagnosis.
    learn
        Makes a judge from recordings as this function returns them.
    seed
        Draws the folds.

    Raises
    ------
    DataError
        If a class has fewer subjects than there are folds.
    """
    labels = list(splits.subjects_of(entries).values())
    rarest = min(labels.count(c) for c in (0, 1))
    if rarest < FOLDS:
        raise DataError(
            f"{rarest} training subject(s) of one class; finding discharges needs {FOLDS} of each, "
            "or take --labels recording"
        )
    parts = splits.folds(entries, FOLDS, seed)
    told = {e: annotated(loaded[e], np.full(len(loaded[e].data), e.label == 1)) for e in entries}
    for _ in range(ROUNDS):
        judges = [learn([told[e] for e in train]) for train, _ in parts]
        told = {
            e: narrowed(loaded[e], judge(loaded[e].data))
            for judge, (_, test) in zip(judges, parts, strict=True)
            for e in test
        }
    return [told[e] for e in entries]


def narrowed(windows: Windows, logits: np.ndarray) -> Windows:
    """Return a recording in which the highest `SHARE` of a patient's windows count as discharges.

    Of the others his lowest `REST` stay.  A control keeps all windows, and has no discharge.

    Parameters
    ----------
    windows
        The recording.
    logits
        (N,), by somebody who did not learn from its subject.
    """
    positive = np.zeros(len(logits), bool)
    if windows.label != 1:
        return annotated(windows, positive)
    order = np.argsort(-logits, kind="stable")
    positive[order[: max(1, round(SHARE * len(order)))]] = True
    kept = positive.copy()
    kept[order[len(order) - int(REST * len(order)) :]] = True
    part = replace(windows, data=windows.data[kept], onset=windows.onset[kept])
    return annotated(part, positive[kept])


def annotated(windows: Windows, positive: np.ndarray) -> Windows:
    """Return a recording with a discharge in the middle half of each ``positive`` (N,) window.

    So the window holds all of it, its neighbours nothing, and one that is shifted by half its length a part.
    """
    starts = windows.onset[positive] + windows.length / 4
    return replace(windows, events=(starts, np.full(len(starts), windows.length / 2)))
