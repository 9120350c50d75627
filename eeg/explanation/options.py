"""Options of an explanation."""

from __future__ import annotations

from dataclasses import dataclass

from eeg.explanation.attribution import DEFAULT_METHOD


@dataclass(frozen=True)
class ExplanationOptions:
    """Options of an explanation.

    Parameters
    ----------
    method
        Where the evidence over time comes from, one of `eeg.explanation.attribution.METHODS`.
    baseline
        What replaces the signal that is removed, one of `eeg.explanation.baselines.BASELINES`.
    max_segments
        How many segments are shown at most.
    batch
        How many windows the network sees at once: bounds the memory.
    seed
        Seed of everything that is drawn.
    """

    method: str = DEFAULT_METHOD
    baseline: str = "zero"
    max_segments: int = 10
    batch: int = 64
    seed: int = 0
