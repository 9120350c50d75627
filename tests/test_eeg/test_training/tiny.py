"""A corpus of noise, in which the windows of one class hold a bump, and a plan for it."""

from pathlib import Path

import numpy as np

from eeg.datasets import Entry
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.training.cross_validation import Scored
from eeg.training.fit import Loaded
from eeg.training.plan import Plan

CHANNELS = ("Fp1", "T7", "Cz", "O2")
PLAN = Plan(Preprocessing(CHANNELS), "events", 1.0, "top", epochs=1)
EVENTS = (np.array([0.2, 2.2]), np.array([0.1, 0.1]))
NOTHING = (np.array([]), np.array([]))


def windows_of(label: int, seed: int, number: int = 6) -> Windows:
    """Noise, in which two windows of those with label 1 hold a bump."""
    x = np.random.default_rng(seed).normal(size=(number, 4, 128)).astype(np.float32)
    if label:
        x[[0, 2], :, 26:39] += 4
    return Windows(x, np.arange(number, dtype=float), 1.0, label, EVENTS if label else NOTHING)


def tiny(subjects: int = 8, recordings: int = 1) -> Loaded:
    return {
        Entry(Path(f"{s}-{r}.edf"), f"s{s}", s % 2): windows_of(s % 2, 10 * s + r)
        for s in range(subjects)
        for r in range(recordings)
    }


def made_up(recordings: int = 2) -> list[Scored]:
    """Made-up logits, higher for the windows of label 1."""
    rng = np.random.default_rng(0)
    return [
        Scored(
            e, f"fold {1 + int(e.subject[1:]) // 4}", w, (e.label or 0) + rng.normal(size=len(w.data)), "top"
        )
        for e, w in tiny(8, recordings).items()
    ]
