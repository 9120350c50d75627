"""Short segments from evidence over time, and windows without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eeg import large_arrays
from eeg.preprocessing.windows import Windows

MAX_SEGMENT_SECONDS = 1.0
"""Largest duration of a segment, s: one event is one segment."""

AROUND = 0.125
"""Seconds over which evidence is summed before its peaks are found: evidence per sample changes its sign
within a discharge."""

SampleSpan = tuple[int, int]
"""Samples [start, stop) of a recording's windows laid end to end; `in_recording` converts it."""


@dataclass(frozen=True)
class Segment:
    """At most one second of EEG that drove the decision.

    Parameters
    ----------
    onset, duration
        Seconds, ``onset`` from the start of the recording.
    channels
        The channels that carry it, the strongest first.
    attribution
        What its windows' logits lose without it.
    change
        The recording's probability with it minus the probability without it.
    stability
        Fraction of repetitions, with noise and other baselines, in which it stays among the segments shown.
    """

    onset: float
    duration: float
    channels: tuple[str, ...]
    attribution: float
    change: float
    stability: float = 1.0


def in_recording(windows: Windows, span: SampleSpan, sfreq: float) -> tuple[float, float]:
    """Return onset and duration of a span in seconds, the onset from the start of the recording."""
    start, stop = span
    onset = windows.in_recording(np.array([start / sfreq]))
    return float(onset[0]), (stop - start) / sfreq


def evidence_over_time(evidence: np.ndarray, sfreq: float) -> np.ndarray:
    """Return what 125 ms around each sample add, (N, C or 1, T) in logits per sample -> (N * T,).

    The sum over all channels and that time, as if the windows adjoined.
    """
    width = max(1, round(AROUND * sfreq))
    return np.convolve(evidence.sum(1).ravel(), np.ones(width), "same")


def find_peaks(relevance: np.ndarray, longest: int, most: int) -> list[SampleSpan]:
    """Return the spans of at most ``longest`` samples around the highest peaks of ``relevance`` (T,).

    A span extends from its peak as far as the evidence stays above half of it.  Spans are chosen from the
    highest peak down; their peaks are at least half of ``longest`` apart, so that one event is one segment.
    """
    rest = relevance.astype(float).copy()
    spans: list[SampleSpan] = []
    while len(spans) < most:
        top = int(np.argmax(rest))
        if rest[top] <= 0:
            break
        low, high = max(0, top - longest // 2), min(len(rest), top + longest // 2)
        below = rest[low:high] < rest[top] / 2
        start = low + int(np.flatnonzero(below[: top - low])[-1]) + 1 if below[: top - low].any() else low
        stop = top + int(np.argmax(below[top - low :])) if below[top - low :].any() else high
        spans.append((start, stop))
        rest[max(0, top - longest // 2) : top + longest // 2] = -np.inf
    return spans


def remove_spans(
    windows: np.ndarray, baseline: np.ndarray, spans: Sequence[SampleSpan]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows that any of ``spans`` touches, with all spans removed.

    Parameters
    ----------
    windows, baseline
        (N, C, T) each: windows, and what replaces a span in each.

    Returns
    -------
    index
        (M,) indices of these windows, in order.
    emptied
        (M, C, T) copies with the spans replaced on all channels.
    """
    length = windows.shape[2]
    removed = np.zeros(len(windows) * length, bool)
    for start, stop in spans:
        removed[start:stop] = True
    removed = removed.reshape(len(windows), length)
    index = np.flatnonzero(removed.any(1))
    emptied = np.where(removed[index, None], baseline[index], windows[index])
    for array in (windows, baseline):
        large_arrays.release(array)
    return index, emptied
