"""How well explanations localize annotated discharges, compared with chance and amplitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eeg.datasets import read_events
from eeg.detector.detector import Detector
from eeg.explanation.explain import explain
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.segments import MAX_SEGMENT_SECONDS, Segment, find_peaks
from eeg.io.intervals import covered, overlaps
from eeg.training.cross_validation import Scored

WIDENING = 0.1
"""Seconds by which discharges are widened on both sides; a segment that overlaps one is a hit."""

MAX_RANKED = 10
"""Segments that are evaluated at most."""


@dataclass(frozen=True)
class Precision:
    """Fraction of the first R segments that hit a discharge, R = min(10, number of discharges)."""

    explanation: float
    amplitude: float  # of segments around the largest deflections
    chance: float  # of segments with the lengths of the explanation's, at random

    def describe(self, method: str) -> str:
        """Return a line of text."""
        return (
            f"precision at R of the explanation ({method}): {self.explanation:.3f}; "
            f"of the largest amplitudes {self.amplitude:.3f}; chance {self.chance:.3f}"
        )


def hits(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Return which segments (onset, duration in s) overlap a discharge widened by 100 ms, (n,) bool."""
    start, length = np.array(segments, dtype=float).reshape(-1, 2).T
    return overlaps(start, length, onset - WIDENING, duration + 2 * WIDENING)


def precision_at_r(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the fraction of hits among the first R segments; missing segments count as misses.

    Raises
    ------
    ValueError
        If there is no discharge.
    """
    r = min(MAX_RANKED, len(onset))
    if r == 0:
        raise ValueError("precision at R needs at least one discharge; got none")
    first = list(segments[:r])
    return float(hits(first, onset, duration).sum() / r) if first else 0.0


def chance(length: float, total: float, onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the probability that a segment at a uniformly random position is a hit.

    Parameters
    ----------
    length, total
        Of the segment and the recording, s.
    onset, duration
        Of the discharges, (M,) each, s.
    """
    low = np.clip(onset - WIDENING - length, 0, total - length)
    high = np.clip(onset + duration + WIDENING, 0, total - length)
    return covered(np.stack([low, high], axis=1)) / (total - length)


def largest_deflections(
    windows: np.ndarray, sfreq: float, most: int = MAX_RANKED
) -> list[tuple[float, float]]:
    """Return segments (onset, duration in s) around the largest amplitudes, as a baseline."""
    amplitude = np.abs(windows).max(1).ravel()
    return [
        (a / sfreq, (b - a) / sfreq)
        for a, b in find_peaks(amplitude, round(MAX_SEGMENT_SECONDS * sfreq), most)
    ]


def spans(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Return onset and duration of segments, s."""
    return [(s.onset, s.duration) for s in segments]


def _in_recording(scored: Scored, found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convert spans from the time of contiguous windows to that of the recording."""
    starts = scored.windows.in_recording(np.array([start for start, _ in found]))
    return [(float(start), length) for start, (_, length) in zip(starts, found, strict=True)]


def precision(detector: Detector, scored: Scored, method: str) -> Precision | None:
    """Return how well the explanation of a recording localizes its discharges; None if it has none."""
    if scored.entry.events is None:
        return None
    onset, duration = read_events(scored.entry.events)
    if len(onset) == 0:
        return None
    windows, sfreq = scored.windows.data, detector.preprocessing.sfreq
    options = ExplanationOptions(method, max_segments=MAX_RANKED)
    found = spans(explain(detector, scored.windows, scored.logits, options).segments)
    total = len(windows) * scored.windows.length
    by_chance = [chance(length, total, onset, duration) for _, length in found]
    return Precision(
        explanation=precision_at_r(found, onset, duration),
        amplitude=precision_at_r(_in_recording(scored, largest_deflections(windows, sfreq)), onset, duration),
        chance=float(np.mean(by_chance)) if found else 0.0,
    )
