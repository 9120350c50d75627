"""What is done with each mutated file: read it, compare it with MNE, score it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import mne
import numpy as np
import torch

from eeg.datasets import open_corpus
from eeg.detector.detector import Detector
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.gaps import gaps
from eeg.io.reader import read_with_header
from eeg.models.registry import build_model
from eeg.preprocessing.loading import load_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.workflows.inspect import inspect_corpus


@cache
def detector() -> Detector:
    """Return an untrained detector of windows of 2 s."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_model("tvgg-gap", len(TEN_TWENTY), 256).eval()
    return Detector.from_network(network, preprocessing=Preprocessing(TEN_TWENTY), window=2.0)


def read_and_score(path: Path) -> float:
    """Return the score of a recording, which must be what MNE reads, unless a note says otherwise."""
    prepared = detector().prepare(detector().open(path))
    score = float(detector().score(detector().logits(prepared.windows.data)))
    if not np.isfinite(score):
        raise ArithmeticError(f"the score is {score}")
    if not _is_as_in_mne(path):
        raise ArithmeticError("the signal differs from what MNE reads, without a note")
    return score


def _is_as_in_mne(path: Path) -> bool:
    raw, header = read_with_header(path, preload=True)
    if header.problems or gaps(raw):
        return True
    try:
        peer = mne.io.read_raw(path, verbose="error").get_data()
    except Exception:  # this project reads more than MNE does
        return True
    # MNE takes a unit such as "uV" and a NUL for volts
    factors = (1.0, 1e-6)
    return all(
        any(np.allclose(row, factor * other, 1e-9, 0, equal_nan=True) for other in peer for factor in factors)
        for row in raw.get_data()
    )


def load_corpus(path: Path) -> list[str]:
    """Inspect a corpus, and prepare its recordings; return the errors of those that cannot be used."""
    errors: list[str] = []
    inspect_corpus(path.parent, progress=False)
    load_windows(
        open_corpus(path.parent),
        detector().preprocessing,
        2.0,
        progress=False,
        on_error=lambda entry, error: errors.append(str(error)),
    )
    return errors


def target(kind: str) -> Callable[[Path], object]:
    """Return what is done with files of a kind of `tests.fuzz.seeds`."""
    return load_corpus if kind == "bids" else read_and_score
