"""Arithmetic of intervals, beside sets of milliseconds."""

from itertools import pairwise

import numpy as np
from hypothesis import given, strategies as st

from eeg.io.intervals import complement, contains_half, covered, overlaps, union

milliseconds = st.integers(0, 5000)
spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6).map(
    lambda drawn: [(start, start + duration) for start, duration in drawn]
)


@given(spans)
def test_union_complement_and_length_as_sets_of_samples(spans: list[tuple[int, int]]) -> None:
    inside = {t for start, stop in spans for t in range(start, stop)}
    joined = union(spans).tolist()
    assert {t for start, stop in joined for t in range(start, stop)} == inside
    assert all(stop < start for (_, stop), (start, _) in pairwise(joined))
    outside = complement(spans, 80)
    assert {t for start, stop in outside for t in range(start, stop)} == set(range(80)) - inside
    assert all(stop < start for (_, stop), (start, _) in pairwise(outside))
    assert covered(spans) == len(inside)


def contains_half_slowly(
    onsets: np.ndarray, length: float, starts: np.ndarray, durations: np.ndarray
) -> list[bool]:
    """Count the milliseconds of each event that lie inside each window."""
    found = []
    for onset in onsets:
        window = set(range(round(1000 * onset), round(1000 * (onset + length))))
        events = [
            range(round(1000 * s), round(1000 * (s + d))) for s, d in zip(starts, durations, strict=True)
        ]
        found.append(any(2 * len(window.intersection(event)) >= len(event) for event in events))
    return found


@given(st.lists(st.tuples(milliseconds, st.integers(1, 3000)), max_size=5), st.sampled_from([0.5, 1.0, 2.0]))
def test_contains_half_as_counted_by_the_millisecond(events: list[tuple[int, int]], length: float) -> None:
    onsets = np.arange(0, 5, length)
    starts, durations = np.array(events, dtype=float).reshape(-1, 2).T / 1000
    assert contains_half(onsets, length, starts, durations).tolist() == contains_half_slowly(
        onsets, length, starts, durations
    )


@given(st.floats(0, 9.4), st.floats(0.01, 0.6))
def test_no_event_is_lost_between_two_windows(start: float, duration: float) -> None:
    assert contains_half(np.arange(0.0, 10.0), 1.0, np.array([start]), np.array([duration])).any()


def overlaps_slowly(onset: np.ndarray, length: float, spans: list[tuple[int, int]]) -> list[bool]:
    """Compare sets of milliseconds."""
    bad = {t for start, duration in spans for t in range(start, start + max(duration, 1))}
    return [bool(bad & set(range(round(1000 * o), round(1000 * (o + length))))) for o in onset]


@given(st.lists(st.tuples(milliseconds, st.integers(0, 3000)), max_size=4), st.sampled_from([0.5, 1.0, 2.0]))
def test_overlaps_as_compared_by_the_millisecond(spans: list[tuple[int, int]], length: float) -> None:
    onset = np.arange(0, 5, length)
    starts, durations = np.array(spans, dtype=float).reshape(-1, 2).T / 1000
    assert overlaps(onset, length, starts, durations).tolist() == overlaps_slowly(onset, length, spans)
