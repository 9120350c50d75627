"""Overlap of windows with intervals of time."""

import numpy as np

_TOLERANCE = 1e-6  # an event cut in two equal halves lies in both windows, whatever the rounding
_INSTANT = 1e-3  # s: what an event lasts at least, also one that is annotated as a point in time


def touched(onsets: np.ndarray, length: float, starts: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Tell which windows overlap a span of time.

    Parameters
    ----------
    onsets
        (N,) starts of the windows, s.
    length
        Length of every window, s.
    starts, durations
        (M,) each, s.

    Returns
    -------
    (N,) bool.
    """
    order = np.argsort(starts)
    ends = (starts + np.maximum(durations, _INSTANT))[order]
    latest = np.maximum.accumulate(np.concatenate([[-np.inf], ends]))  # of none, one, two, ... spans
    return np.asarray(onsets < latest[np.searchsorted(starts[order], onsets + length)])


def held_share(
    onsets: np.ndarray, length: float, event_onsets: np.ndarray, event_durations: np.ndarray
) -> np.ndarray:
    """Return the largest share of an event that each window holds, (N,) from 0 to 1.

    Parameters are those of `holds`.
    """
    start, end = onsets[:, None], onsets[:, None] + length
    lasting = np.maximum(event_durations, _INSTANT)
    inside = np.minimum(end, event_onsets + lasting) - np.maximum(start, event_onsets)
    return np.clip(inside / lasting, 0, 1).max(axis=1, initial=0)


def holds(
    onsets: np.ndarray, length: float, event_onsets: np.ndarray, event_durations: np.ndarray
) -> np.ndarray:
    """Tell which windows hold at least half of some event.

    Parameters
    ----------
    onsets
        (N,) starts of the windows, s.
    length
        Length of every window, s.
    event_onsets, event_durations
        (M,) each, s.

    Returns
    -------
    (N,) bool.  An event that is cut in two equal halves counts for both windows; one of more than twice
    the window's length counts for none.
    """
    return held_share(onsets, length, event_onsets, event_durations) >= 0.5 - _TOLERANCE
