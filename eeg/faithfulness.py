"""Is an explanation true?  Against discharges that are known, beside chance and beside amplitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eeg.attribution import LONGEST, Segment, explain, peaks
from eeg.datasets import read_events
from eeg.detector import Detector
from eeg.training import Scored

WIDENED = 0.1
"""Seconds by which a true discharge is widened on both sides before a segment may hit it."""

MOST = 10


@dataclass(frozen=True)
class Precision:
    """Share of the first R segments that hit a true discharge, R = min(10, number of discharges)."""

    explanation: float
    amplitude: float  # segments around the largest deflections instead
    chance: float  # segments of the explanation's lengths, placed anywhere

    def describe(self, method: str) -> str:
        """Return a line for people."""
        return (
            f"precision at R of the explanation ({method}): {self.explanation:.3f}; "
            f"of the largest amplitudes {self.amplitude:.3f}; chance {self.chance:.3f}"
        )


def hits(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Tell which segments (onset, duration in s) overlap a discharge widened by 100 ms, (n,) bool."""
    start = np.array([s[0] for s in segments])[:, None]
    stop = start + np.array([s[1] for s in segments])[:, None]
    overlap = (start < onset + duration + WIDENED) & (stop > onset - WIDENED)
    return np.asarray(overlap.any(1))


def precision_at_r(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the share of hits among the first R segments; those that are lacking count as misses.

    Raises
    ------
    ValueError
        If there is no true discharge.
    """
    r = min(MOST, len(onset))
    if r == 0:
        raise ValueError("precision at R needs at least one true discharge")
    first = list(segments[:r])
    return float(hits(first, onset, duration).sum() / r) if first else 0.0


def chance(length: float, total: float, onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the probability that a segment of ``length`` placed uniformly in ``total`` seconds hits."""
    low = np.clip(onset - WIDENED - length, 0, total - length)
    high = np.clip(onset + duration + WIDENED, 0, total - length)
    covered, reached = 0.0, 0.0
    for a, b in sorted(zip(low, high, strict=True)):
        covered += max(0.0, b - max(a, reached))
        reached = max(reached, b)
    return covered / (total - length)


def largest_deflections(windows: np.ndarray, sfreq: float, most: int = MOST) -> list[tuple[float, float]]:
    """Return the cheap explanation: segments (onset, duration in s) around the largest amplitudes."""
    amplitude = np.abs(windows).max(1).ravel()
    return [(a / sfreq, (b - a) / sfreq) for a, b in peaks(amplitude, round(LONGEST * sfreq), most)]


def spans(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Return the spans of segments."""
    return [(s.onset, s.duration) for s in segments]


def precision(detector: Detector, scored: Scored, method: str) -> Precision | None:
    """Return how well the explanation of one recording finds its discharges; None where it has none."""
    if scored.entry.events is None:
        return None
    onset, duration = read_events(scored.entry.events)
    if len(onset) == 0:
        return None
    windows, sfreq = scored.windows.data, detector.preprocessing.sfreq
    found = spans(explain(detector, windows, method=method, most=MOST).segments)
    total = len(windows) * scored.windows.length
    by_chance = [chance(length, total, onset, duration) for _, length in found]
    return Precision(
        explanation=precision_at_r(found, onset, duration),
        amplitude=precision_at_r(largest_deflections(windows, sfreq), onset, duration),
        chance=float(np.mean(by_chance)) if found else 0.0,
    )
