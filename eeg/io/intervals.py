"""Arithmetic of intervals of time, in seconds or samples: (M, 2) spans of starts and stops, or windows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-6  # of times: an event cut in two equal halves is in both windows
_INSTANT = 1e-3  # s: the least duration of an event, also of one annotated as a point in time

Spans = NDArray[Any] | Sequence[tuple[float, float]]


def union(spans: Spans) -> NDArray[Any]:
    """Join spans (M, 2) that overlap or touch; return the joined ones (K, 2), sorted.

    >>> union([(5, 8), (0, 2), (2, 3), (6, 7)]).tolist()
    [[0, 3], [5, 8]]
    """
    spans = np.asarray(spans).reshape(-1, 2)
    if not len(spans):
        return spans
    starts, stops = spans[np.argsort(spans[:, 0], kind="stable")].T
    stops = np.maximum.accumulate(stops)
    apart = starts[1:] > stops[:-1]
    return np.stack([starts[np.append(True, apart)], stops[np.append(apart, True)]], axis=1)


def complement(spans: Spans, total: int) -> list[tuple[int, int]]:
    """Return the parts of ``range(total)`` outside spans of samples (M, 2).

    >>> complement([(5, 8), (0, 2)], 10)
    [(2, 5), (8, 10)]
    """
    edges = [0, *union(spans).ravel().tolist(), total]
    return [(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]


def covered(spans: Spans) -> float:
    """Return the total length of spans (M, 2); where several overlap, the time counts once.

    >>> covered([(0, 2), (1, 4), (6, 7)])
    5.0
    """
    return float(np.diff(union(spans)).sum())


def overlaps(
    onset: np.ndarray, length: float | np.ndarray, event_onset: np.ndarray, event_duration: np.ndarray
) -> np.ndarray:
    """Return which windows overlap some event.

    Parameters
    ----------
    onset
        (N,) starts of the windows, s.
    length
        Length of every window, or (N,) lengths, s.
    event_onset, event_duration
        (M,) each, s.

    Returns
    -------
    (N,) bool.
    """
    order = np.argsort(event_onset)
    ends = (event_onset + np.maximum(event_duration, _INSTANT))[order]
    latest = np.maximum.accumulate(np.append(-np.inf, ends))  # of the first 0, 1, 2, ... events
    return np.asarray(onset < latest[np.searchsorted(event_onset[order], onset + length)])


def contained_fraction(
    onset: np.ndarray, length: float, event_onset: np.ndarray, event_duration: np.ndarray
) -> np.ndarray:
    """Return the largest fraction of an event that is in each window, (N,) from 0 to 1.

    Parameters
    ----------
    onset, length, event_onset, event_duration
        As in `overlaps`, with one length for all windows.
    """
    start, stop = onset[:, None], onset[:, None] + length
    duration = np.maximum(event_duration, _INSTANT)
    inside = np.minimum(stop, event_onset + duration) - np.maximum(start, event_onset)
    return np.clip(inside / duration, 0, 1).max(axis=1, initial=0)


def contains_half(
    onset: np.ndarray, length: float, event_onset: np.ndarray, event_duration: np.ndarray
) -> np.ndarray:
    """Return which windows contain at least half of some event, (N,) bool.

    An event that is cut in two equal halves counts for both windows; one of more than twice the window's
    length counts for none.

    Parameters
    ----------
    onset, length, event_onset, event_duration
        As in `overlaps`, with one length for all windows.
    """
    return contained_fraction(onset, length, event_onset, event_duration) >= 0.5 - ROUNDING
