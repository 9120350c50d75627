"""Training data, settings and results of a detector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from eeg.detector.results import Results

UNKNOWN = "unknown"

SUBJECTS = ("cross_validated", "held_out")
"""The subjects that results are about."""

_DIGEST = re.compile("[0-9a-f]+")


LONGEST = 300
"""Characters of a text in a detector's file."""


def printable(text: str) -> str:
    """Return a text with spaces for characters that are not printable: they could act on a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


@dataclass(frozen=True)
class Provenance:
    """The facts of a training that travel with its detector; they identify no subject.

    Parameters
    ----------
    corpus, simulated
        Name of the training corpus, and whether it is simulated.
    subjects, epilepsy
        Number of training subjects, and of those with epilepsy; 0 if unknown.
    rule, seed
        Learning rule and seed.
    recordings
        Digests of the files of the training recordings; see `eeg.datasets.fingerprint`.
    signals
        Digests of their signals, by which copies with another header or format are recognised; see
        `eeg.datasets.copies`.
    versions
        Versions of Python and the packages that the training used.
    splits
        How the subjects were split, in words.
    results
        Those of the training subjects, out-of-fold, and of the subjects held out of the training; the keys
        are of `SUBJECTS`.
    """

    corpus: str = UNKNOWN
    simulated: bool = False
    subjects: int = 0
    epilepsy: int = 0
    rule: str = UNKNOWN
    seed: int | None = None
    recordings: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    splits: str = UNKNOWN
    results: Mapping[str, Results] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.epilepsy <= self.subjects:
            raise ValueError("epilepsy: expected a number of the subjects")
        if self.seed is not None and self.seed < 0:
            raise ValueError("seed: expected a number not below 0")
        for name in ("recordings", "signals"):
            if not all(map(_DIGEST.fullmatch, getattr(self, name))):
                raise ValueError(f"{name}: expected digests")
        if unknown := set(self.results) - set(SUBJECTS):
            raise ValueError(f"results: unknown field {min(unknown)!r}; expected {' and '.join(SUBJECTS)}")
