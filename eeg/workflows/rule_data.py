"""EEG windows as a data set that `hebbian` compares rules on: the entry points of the group hebbian.data."""

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
from eeg.preprocessing.loading import load
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows, examples
from eeg.simulation.write_bids import write_cohort
from trainers.data.batches import Split
from trainers.errors import DataError

_WINDOW = 2.0  # s
_HELD = 0.25
_SUBJECTS, _MINUTES = 16, 2.0


def discharges(folder: Path | None = None) -> Split:
    """Return windows of 2 s, (19, 256) each, with an annotated discharge (1) or without (0).

    A quarter of the subjects is held out for the test.  On both sides there are as many windows of either
    class, so that chance is a half.  These windows compare learning rules; they say nothing of patients.

    Parameters
    ----------
    folder
        An annotated corpus; without one, 16 subjects of 2 minutes are simulated.

    Raises
    ------
    DataError
        If the corpus cannot be used, or a side has no discharge.
    """
    if folder is not None:
        return _split(open_corpus(folder))
    with tempfile.TemporaryDirectory() as place:
        cohort = write_cohort(
            Path(place) / "cohort", subjects=_SUBJECTS, minutes=_MINUTES, seed=0, progress=False
        )
        return _split(open_corpus(cohort))


def _split(corpus: Corpus) -> Split:
    loaded = load(corpus, Preprocessing(TEN_TWENTY), _WINDOW, progress=False)
    train, test = hold_out(tuple(loaded), _HELD, seed=0)
    rng = np.random.default_rng(0)
    return Split(*_balanced(loaded, train, rng), *_balanced(loaded, test, rng))


def _balanced(
    loaded: dict[Entry, Windows], entries: Iterable[Entry], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return all windows with a discharge and as many, drawn by ``rng``, without."""
    data, positive = zip(*(examples(loaded[entry]) for entry in entries), strict=True)
    x, y = np.concatenate(data), np.concatenate(positive)
    with_one, without = np.flatnonzero(y), np.flatnonzero(~y)
    if not 0 < len(with_one) <= len(without):
        raise DataError(
            f"{len(with_one)} windows with a discharge, {len(without)} without; expected some, and no more"
        )
    chosen = np.sort(np.concatenate([with_one, rng.choice(without, len(with_one), replace=False)]))
    return torch.from_numpy(x[chosen]), torch.from_numpy(y[chosen].astype(np.int64))
