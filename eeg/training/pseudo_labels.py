"""Pseudo-labels: locate discharges where only the diagnosis of each subject is known.

A diagnosis indicates that a recording contains discharges, not where.  The subjects are split into folds; a
network trained on the bags (`eeg.training.bags`) of the other folds scores the windows of each fold, so that
what it memorises of its training subjects does not help.  Scores are centred on the median of each recording.
Windows of a patient above nearly all windows of the fold's controls become positive, those below the median
negative, and the others are dropped.

This is one step of mi-SVM (Andrews, Tsochantaridis & Hofmann 2003) with networks, with the controls as the
threshold and with cross-fitting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from eeg.datasets import Entry, splits
from eeg.preprocessing.windows import Windows
from trainers.errors import DataError

Scorer = Callable[[np.ndarray], np.ndarray]
"""Windows (N, C, T) -> their logits (N,)."""

FitScorer = Callable[[Sequence[Entry]], Scorer]
"""Recordings of subjects with a diagnosis -> a scorer trained on them."""

CROSS_FIT_FOLDS = 3
RARE = 0.02
"""Fraction of the controls' windows at or above the threshold."""


def make_pseudo_labels(
    loaded: Mapping[Entry, Windows], entries: Sequence[Entry], fit: FitScorer, seed: int
) -> list[Windows]:
    """Return the recordings in ``entries`` with located discharges, without the unclear windows.

    Parameters
    ----------
    loaded
        The windows of each recording; their annotations are not used.
    entries
        Recordings of subjects with a diagnosis.
    fit
        Trains a scorer on recordings of other subjects than those it scores.
    seed
        Seed of the folds.

    Raises
    ------
    DataError
        If a class has fewer subjects than there are folds.
    """
    labels = list(splits.subjects_of(entries).values())
    rarest = min(labels.count(c) for c in (0, 1))
    if rarest < CROSS_FIT_FOLDS:
        raise DataError(
            f"--labels pseudo: expected {CROSS_FIT_FOLDS} training subjects of each class, found {rarest} of "
            "one; add subjects or use --labels bag"
        )
    located = {e: annotate(loaded[e], np.zeros(len(loaded[e].data), bool)) for e in entries if e.label == 0}
    for train, test in splits.split_folds(entries, CROSS_FIT_FOLDS, seed):
        scorer = fit(train)
        height = {e: center_logits(scorer(loaded[e].data)) for e in test}
        controls = np.concatenate([height[e] for e in test if e.label == 0])
        located |= {e: select_windows(loaded[e], height[e], controls) for e in test if e.label == 1}
    return [located[e] for e in entries]


def center_logits(logits: np.ndarray) -> np.ndarray:
    """Return the logits (N,) of a recording minus their median."""
    return logits - np.median(logits)


def select_windows(patient: Windows, height: np.ndarray, controls: np.ndarray) -> Windows:
    """Return a patient's recording with the windows above the threshold positive.

    Of the other windows those up to the median remain, as negative.  At least one window is positive.

    Parameters
    ----------
    patient
        The recording.
    height
        Out-of-fold logits of its windows minus their median, (N,).
    controls
        The same of controls' windows, (M,).
    """
    positive = height > np.quantile(controls, 1 - RARE)
    positive[height.argmax()] = True
    clear = positive | (height <= 0)
    part = replace(patient, data=patient.data[clear], onset=patient.onset[clear])
    return annotate(part, positive[clear])


def annotate(windows: Windows, positive: np.ndarray) -> Windows:
    """Return a recording with a discharge in the middle half of each ``positive`` (N,) window.

    The window contains all of it, its neighbours nothing, and a window shifted by half its length a part.
    """
    starts = windows.onset[positive] + windows.length / 4
    return replace(windows, events=(starts, np.full(len(starts), windows.length / 2)))
