"""Localization of simulated discharges, whose electrodes and peaks are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from eeg.datasets import read_events
from eeg.evaluation.localization import MAX_RANKED, WIDENING, chance, hits, precision_at_r
from eeg.explanation.attribution import Montage
from eeg.explanation.segments import SampleSpan
from eeg.io.tables import read_table


@dataclass(frozen=True)
class Discharges:
    """Known discharges of a recording: onsets and durations (M,) in s, and the best electrodes of each."""

    onset: np.ndarray
    duration: np.ndarray
    channels: tuple[frozenset[str], ...]


def read_discharges(path: Path) -> Discharges:
    """Read the discharges of an ``events.tsv`` whose column ``channel`` names electrodes."""
    rows = [r for r in read_table(path, {"channel"}, delimiter="\t") if r["trial_type"] == "discharge"]
    return Discharges(*read_events(path), tuple(frozenset(row["channel"].split(",")) for row in rows))


@dataclass(frozen=True)
class Located:
    """How well ranked segments localize the discharges of one recording; NaN where undefined.

    ``pointing``: the first segment is a hit (pointing game, Zhang et al. 2018); ``chance``: the probability
    that a segment of its length is one.  ``precision`` at R and ``recall`` at 10.  Of the first R that are
    hits: ``channel`` is the fraction whose strongest channel is one of the discharge's, and ``peak_error`` is
    the median distance, in s, from the peak of the evidence to the largest deflection of the discharge.
    ``auroc`` is that of the evidence for the samples inside discharges.
    """

    pointing: float
    channel: float
    precision: float
    recall: float
    peak_error: float
    auroc: float
    chance: float


def locate(
    spans: Sequence[SampleSpan],
    relevance: np.ndarray,
    evidence: np.ndarray,
    windows: np.ndarray,
    true: Discharges,
    montage: Montage,
) -> Located:
    """Compare ranked spans, and the evidence that they come from, with the known discharges.

    Parameters
    ----------
    spans
        Samples, the strongest first.
    relevance
        (N * T,), the evidence over time.
    evidence
        (N, C, T), or (N, 1, T) of a method without channels.
    windows
        (N, C, T), contiguous.
    true, montage
        The discharges; electrodes and sampling rate of the windows.

    Raises
    ------
    ValueError
        If there is no discharge.
    """
    sfreq, signal = montage.sfreq, windows.swapaxes(0, 1).reshape(windows.shape[1], -1)
    seconds = [(start / sfreq, (stop - start) / sfreq) for start, stop in spans]
    errors, correct = [], []
    for start, stop in spans[: min(MAX_RANKED, len(true.onset))]:
        event = _event(start / sfreq, stop / sfreq, true)
        if event is None:
            continue
        errors.append(
            abs(start + int(relevance[start:stop].argmax()) - _deflection(signal, event, true, montage))
        )
        correct.append(_strongest(evidence, start, stop, montage) in true.channels[event])
    several = evidence.shape[1] > 1
    return Located(
        pointing=float(bool(spans) and hits(seconds[:1], true.onset, true.duration)[0]),
        channel=float(np.mean(correct)) if correct and several else np.nan,
        precision=precision_at_r(seconds, true.onset, true.duration),
        recall=recall(seconds, true.onset, true.duration),
        peak_error=float(np.median(errors)) / sfreq if errors else np.nan,
        auroc=float(roc_auc_score(_inside(true, len(relevance), sfreq), relevance)),
        chance=float(chance(seconds[0][1], len(relevance) / sfreq, true.onset, true.duration))
        if spans
        else np.nan,
    )


def _event(start: float, stop: float, true: Discharges) -> int | None:
    """Return the discharge nearest to the middle of a segment among those that it hits."""
    hit = (start < true.onset + true.duration + WIDENING) & (stop > true.onset - WIDENING)
    away = np.abs(true.onset + true.duration / 2 - (start + stop) / 2)
    return int(np.where(hit, away, np.inf).argmin()) if hit.any() else None


def _deflection(signal: np.ndarray, event: int, true: Discharges, montage: Montage) -> int:
    """Return the sample of the largest deflection of a discharge at its electrodes."""
    rows = [i for i, name in enumerate(montage.channels) if name in true.channels[event]]
    start = round(true.onset[event] * montage.sfreq)
    stop = start + montage.samples(true.duration[event])
    return start + int(np.abs(signal[rows, start:stop]).max(0).argmax())


def _strongest(evidence: np.ndarray, start: int, stop: int, montage: Montage) -> str:
    whole = evidence.swapaxes(0, 1).reshape(evidence.shape[1], -1)
    return montage.channels[int(whole[:, start:stop].sum(1).argmax())]


def _inside(true: Discharges, samples: int, sfreq: float) -> np.ndarray:
    """Return which samples are inside a discharge, (samples,) bool."""
    t = np.arange(samples)[:, None] / sfreq
    return ((t >= true.onset) & (t < true.onset + true.duration)).any(1)


def recall(segments: Sequence[tuple[float, float]], onset: np.ndarray, duration: np.ndarray) -> float:
    """Return the fraction of the discharges that the first ten segments hit."""
    first = segments[:MAX_RANKED]
    if not first:
        return 0.0
    return float(np.mean([hits(first, onset[i, None], duration[i, None]).any() for i in range(len(onset))]))
