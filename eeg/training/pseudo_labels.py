"""Finding discharges where only diagnoses are known: networks point them out to one another.

A diagnosis says that somewhere in a recording there are discharges, not where.  The subjects are split into
folds, and a network that learned from the others, each subject's windows as a bag (`eeg.training.bags`),
judges
those of each fold: what it knows by heart of its own subjects is of no use there, so those windows rank high
that patients have in common.  What counts is how far a window stands out of its own recording.  Those of a
patient count as discharges that stand out as hardly any window of the fold's controls does, and his lower
half as none; what lies between is left out.

This is one step of the mi-SVM of Andrews, Tsochantaridis & Hofmann 2003 with networks, with controls as the
measure of what is rare, and with cross-fitting, which keeps networks from finding again what they memorised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from eeg.datasets import Entry, splits
from eeg.preprocessing.windows import Windows
from trainers.errors import DataError

Judge = Callable[[np.ndarray], np.ndarray]
"""Windows (N, C, T) -> their logits (N,)."""

Learn = Callable[[Sequence[Entry]], Judge]
"""Recordings whose subjects have a diagnosis -> what has learned from them."""

FOLDS = 3
RARE = 0.02
"""Share of the controls' windows that stand out as much as the least discharge of a patient."""


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
        Makes a judge from recordings of other subjects than he judges.
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
            "or take --labels bag"
        )
    told = {e: annotated(loaded[e], np.zeros(len(loaded[e].data), bool)) for e in entries if e.label == 0}
    for train, test in splits.split_folds(entries, FOLDS, seed):
        judge = learn(train)
        height = {e: outstanding(judge(loaded[e].data)) for e in test}
        controls = np.concatenate([height[e] for e in test if e.label == 0])
        told |= {e: narrowed(loaded[e], height[e], controls) for e in test if e.label == 1}
    return [told[e] for e in entries]


def outstanding(logits: np.ndarray) -> np.ndarray:
    """Return how far each window's logit lies above the median of its recording, (N,)."""
    return logits - np.median(logits)


def narrowed(patient: Windows, height: np.ndarray, controls: np.ndarray) -> Windows:
    """Return a patient's recording in which only what is rare among controls counts as a discharge.

    Of the other windows his lower half stays.  One window counts in any case: he is a patient.

    Parameters
    ----------
    patient
        His recording.
    height
        How far each window stands out, (N,), in the eyes of somebody who did not learn from him.
    controls
        The same of controls' windows, (M,), in the same eyes, which did not learn from these either.
    """
    positive = height > np.quantile(controls, 1 - RARE)
    positive[height.argmax()] = True
    kept = positive | (height <= 0)
    part = replace(patient, data=patient.data[kept], onset=patient.onset[kept])
    return annotated(part, positive[kept])


def annotated(windows: Windows, positive: np.ndarray) -> Windows:
    """Return a recording with a discharge in the middle half of each ``positive`` (N,) window.

    So the window holds all of it, its neighbours nothing, and one that is shifted by half its length a part.
    """
    starts = windows.onset[positive] + windows.length / 4
    return replace(windows, events=(starts, np.full(len(starts), windows.length / 2)))
