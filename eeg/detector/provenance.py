"""Training data, settings and results of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "unknown"


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
        Digests of the training recordings; see `eeg.datasets.fingerprint`.
    versions
        Versions of Python and the packages that the training used.
    splits
        How the subjects were split, in words.
    results
        `eeg.evaluation.results.Results` as JSON, for the keys ``cross_validated`` and ``held_out``.
    """

    corpus: str = UNKNOWN
    simulated: bool = False
    subjects: int = 0
    epilepsy: int = 0
    rule: str = UNKNOWN
    seed: int | None = None
    recordings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    splits: str = UNKNOWN
    results: Mapping[str, Any] = field(default_factory=dict)
