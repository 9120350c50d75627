"""Does an explanation find discharges that are known?  Beside chance and beside amplitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from eeg.datasets import read_events
from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage
from eeg.explanation.explain import explain
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.segments import MAX_SEGMENT_SECONDS, Segment, Span, peaks
from eeg.io.intervals import covered, overlaps
from eeg.io.tables import read_table
from eeg.training.cross_validation import Scored

WIDENED = 0.1
"""Seconds by which a true discharge is widened on both sides before a segment may hit it."""

MOST = 10


@dataclass(frozen=True)
class Discharges:
    """The true ones of a recording: onsets and durations (M,) in s, and the electrodes that see each best."""

    onset: np.ndarray
    duration: np.ndarray
    channels: tuple[frozenset[str], ...]


def read_discharges(path: Path) -> Discharges:
    """Read the discharges of an ``events.tsv`` whose column ``channel`` names electrodes."""
    rows = [r for r in read_table(path, {"channel"}, delimiter="\t") if r["trial_type"] == "discharge"]
    return Discharges(*read_events(path), tuple(frozenset(row["channel"].split(",")) for row in rows))


@dataclass(frozen=True)
class Located:
    """How well ranked segments find the discharges of one recording; NaN where that cannot be said.

    ``pointing``: the first segment is a hit (pointing game, Zhang et al. 2018); ``chance`` that of a segment
    as long, placed anywhere.  ``precision`` at R and ``recall`` at 10 as the functions below.  Of the first
    R that are hits: ``channel`` is the share whose strongest channel is one of their discharge's, and
    ``peak_error`` the median distance, in s, from the peak of the evidence to the discharge's largest
    deflection.  ``auroc`` is that of the evidence for the samples inside discharges.
    """

    pointing: float
    channel: float
    precision: float
    recall: float
    peak_error: float
    auroc: float
    chance: float


def locate(
    spans: Sequence[Span],
    relevance: np.ndarray,
    evidence: np.ndarray,
    windows: np.ndarray,
    true: Discharges,
    montage: Montage,
) -> Located:
    """Hold ranked spans and the evidence that they come from against the truth.

    Parameters
    ----------
    spans
        The strongest first.
    relevance
        (N * T,), the evidence over time.
    evidence
        (N, C, T), or (N, 1, T) where channels are not told apart.
    windows
        (N, C, T), adjoining.

    Raises
    ------
    ValueError
        If there is no true discharge.
    """
    sfreq, signal = montage.sfreq, windows.swapaxes(0, 1).reshape(windows.shape[1], -1)
    seconds = [(start / sfreq, (stop - start) / sfreq) for start, stop in spans]
    errors, right = [], []
    for start, stop in spans[: min(MOST, len(true.onset))]:
        event = _event(start / sfreq, stop / sfreq, true)
        if event is None:
            continue
        errors.append(
            abs(start + int(relevance[start:stop].argmax()) - _deflection(signal, event, true, montage))
        )
        right.append(_strongest(evidence, start, stop, montage) in true.channels[event])
    several = evidence.shape[1] > 1
    return Located(
        pointing=float(bool(spans) and hits(seconds[:1], true.onset, true.duration)[0]),
        channel=float(np.mean(right)) if right and several else np.nan,
        precision=precision_at_r(seconds, true.onset, true.duration),
        recall=segment_recall(seconds, true.onset, true.duration),
        peak_error=float(np.median(errors)) / sfreq if errors else np.nan,
        auroc=float(roc_auc_score(_inside(true, len(relevance), sfreq), relevance)),
        chance=float(chance(seconds[0][1], len(relevance) / sfreq, true.onset, true.duration))
        if spans
        else np.nan,
    )


def _event(start: float, stop: float, true: Discharges) -> int | None:
    """Return the discharge nearest to a segment's middle among those that it hits."""
    hit = (start < true.onset + true.duration + WIDENED) & (stop > true.onset - WIDENED)
    away = np.abs(true.onset + true.duration / 2 - (start + stop) / 2)
    return int(np.where(hit, away, np.inf).argmin()) if hit.any() else None


def _deflection(signal: np.ndarray, event: int, true: Discharges, montage: Montage) -> int:
    """Return the sample of the largest deflection of a discharge at the electrodes that see it."""
    rows = [i for i, name in enumerate(montage.channels) if name in true.channels[event]]
    start = round(true.onset[event] * montage.sfreq)
    stop = start + montage.samples(true.duration[event])
    return start + int(np.abs(signal[rows, start:stop]).max(0).argmax())


def _strongest(evidence: np.ndarray, start: int, stop: int, montage: Montage) -> str:
    whole = evidence.swapaxes(0, 1).reshape(evidence.shape[1], -1)
    return montage.channels[int(whole[:, start:stop].sum(1).argmax())]


def _inside(true: Discharges, samples: int, sfreq: float) -> np.ndarray:
    """Tell which samples lie inside a discharge, (samples,) bool."""
    t = np.arange(samples)[:, None] / sfreq
    return ((t >= true.onset) & (t < true.onset + true.duration)).any(1)


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
    start, length = np.array(segments, dtype=float).reshape(-1, 2).T
    return overlaps(start, length, onset - WIDENED, duration + 2 * WIDENED)


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


def segment_recall(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the share of the true discharges that the first ten segments hit."""
    first = segments[:MOST]
    if not first:
        return 0.0
    return float(np.mean([hits(first, onset[i, None], duration[i, None]).any() for i in range(len(onset))]))


def chance(length: float, total: float, onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the probability that a segment of ``length`` placed uniformly in ``total`` seconds hits."""
    low = np.clip(onset - WIDENED - length, 0, total - length)
    high = np.clip(onset + duration + WIDENED, 0, total - length)
    return covered(np.stack([low, high], axis=1)) / (total - length)


def largest_deflections(windows: np.ndarray, sfreq: float, most: int = MOST) -> list[tuple[float, float]]:
    """Return the cheap explanation: segments (onset, duration in s) around the largest amplitudes."""
    amplitude = np.abs(windows).max(1).ravel()
    return [
        (a / sfreq, (b - a) / sfreq) for a, b in peaks(amplitude, round(MAX_SEGMENT_SECONDS * sfreq), most)
    ]


def spans(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Return the spans of segments."""
    return [(s.onset, s.duration) for s in segments]


def _in_recording(scored: Scored, found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Move spans on adjoining windows to where these lie in the recording."""
    starts = scored.windows.in_recording(np.array([start for start, _ in found]))
    return [(float(start), lasting) for start, (_, lasting) in zip(starts, found, strict=True)]


def precision(detector: Detector, scored: Scored, method: str) -> Precision | None:
    """Return how well the explanation of one recording finds its discharges; None where it has none."""
    if scored.entry.events is None:
        return None
    onset, duration = read_events(scored.entry.events)
    if len(onset) == 0:
        return None
    windows, sfreq = scored.windows.data, detector.preprocessing.sfreq
    options = ExplanationOptions(method, max_segments=MOST)
    found = spans(explain(detector, scored.windows, scored.logits, options).segments)
    total = len(windows) * scored.windows.length
    by_chance = [chance(length, total, onset, duration) for _, length in found]
    return Precision(
        explanation=precision_at_r(found, onset, duration),
        amplitude=precision_at_r(_in_recording(scored, largest_deflections(windows, sfreq)), onset, duration),
        chance=float(np.mean(by_chance)) if found else 0.0,
    )
