"""EEG windows as a data set for comparing learning rules: an entry point of the group hebbian.data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eeg.datasets import Corpus, Entry, open_corpus
from eeg.datasets.splits import hold_out
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.loading import load_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows, training_examples
from eeg.workflows.simulate import simulate
from trainers.data.batches import Split
from trainers.errors import DataError

_WINDOW = 2.0  # s
_HELD_OUT = 0.25


def discharges(folder: Path | None = None) -> Split:
    """Return windows of 2 s, (19, 256) each, with an annotated discharge (1) or without (0).

    A quarter of the subjects is held out for the test.  Both sides have equally many windows of each class,
    so chance is one half.  These windows compare learning rules; they say nothing about patients.

    Parameters
    ----------
    folder
        An annotated corpus; without one, 16 subjects of 2 minutes are simulated.

    Raises
    ------
    DataError
        The corpus cannot be used, or a side has no discharge.
    """
    if folder is not None:
        return _split(open_corpus(folder))
    with tempfile.TemporaryDirectory() as place:
        return _split(simulate(Path(place) / "cohort", subjects=16, minutes=2.0, progress=False))


def _split(corpus: Corpus) -> Split:
    loaded = load_windows(corpus, Preprocessing(TEN_TWENTY), _WINDOW, progress=False)
    train, test = hold_out(tuple(loaded), _HELD_OUT, seed=0)
    rng = np.random.default_rng(0)
    return Split(*_balanced(loaded, train, rng), *_balanced(loaded, test, rng))


def _balanced(
    loaded: dict[Entry, Windows], entries: Iterable[Entry], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return all windows with a discharge and equally many, drawn by ``rng``, without."""
    data, positive = zip(*(training_examples(loaded[entry]) for entry in entries), strict=True)
    x, y = np.concatenate([examples[:] for examples in data]), np.concatenate(positive)
    with_one, without = np.flatnonzero(y), np.flatnonzero(~y)
    if not 0 < len(with_one) <= len(without):
        raise DataError(
            f"{len(with_one)} windows with a discharge and {len(without)} without; "
            "expected at least one with, and as many without"
        )
    chosen = np.sort(np.concatenate([with_one, rng.choice(without, len(with_one), replace=False)]))
    return torch.from_numpy(x[chosen]), torch.from_numpy(y[chosen].astype(np.int64))
