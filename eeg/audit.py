"""What else predicts the label: cues of how a recording was made, not of the brain."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from eeg.datasets import Entry
from eeg.evaluate import Estimate, auc
from eeg.splits import folds

CUES: Mapping[str, Callable[[Entry], Hashable | None]] = {
    "recording date alone": lambda e: e.recorded and e.recorded.date(),
    "hour of day alone": lambda e: e.recorded and e.recorded.hour,
}


def cue_scores(
    entries: Sequence[Entry], cue: Callable[[Entry], Hashable | None], k: int, seed: int
) -> np.ndarray:
    """Return each recording's score (n,) from a category alone.

    It is the share of epilepsy among the *training* subjects of its fold in the same category, drawn
    to the overall share by the weight of one subject.
    """
    score = dict.fromkeys(entries, 0.0)
    for train, test in folds(entries, k, seed):
        overall = float(np.mean([e.label for e in train]))
        for entry in test:
            same = [e.label for e in train if cue(e) == cue(entry)]
            score[entry] = (sum(x or 0 for x in same) + overall) / (len(same) + 1)
    return np.array([score[e] for e in entries])


def cue_aucs(entries: Sequence[Entry], k: int, seed: int = 0) -> dict[str, Estimate]:
    """Return the subject-wise cross-validated ROC-AUC of every cue that all recordings have."""
    if k < 2:  # too few subjects to say anything
        return {}
    labels = np.array([e.label for e in entries])
    subjects = np.array([e.subject for e in entries])
    return {
        name: auc(labels, cue_scores(entries, cue, k, seed), subjects)
        for name, cue in CUES.items()
        if all(cue(e) is not None for e in entries)
    }
