"""The range of the training recordings, against medians and deviations written out."""

import numpy as np
import pytest

from eeg.detector.novelty import Gate, fit_novelty, statistics

ROWS = [{"a": a, "b": b} for a, b in [(-9.0, 5.0), (-10.0, 5.5), (-12.0, 4.0), (-7.0, 5.0), (-10.5, 7.0)]]


def test_a_recording_is_as_far_away_as_its_farthest_statistic() -> None:
    gate = fit_novelty(ROWS)
    a, b = (np.array([row[name] for row in ROWS]) for name in "ab")
    spread_a, spread_b = (1.4826 * np.median(abs(v - np.median(v))) for v in (a, b))
    assert gate.centre == {"a": -10.0, "b": 5.0}
    assert (gate.spread["a"], gate.spread["b"]) == pytest.approx((spread_a, spread_b), rel=1e-6)
    farthest = max(*abs(a + 10) / spread_a, *abs(b - 5) / spread_b)
    assert gate.limit == pytest.approx(farthest, rel=1e-6)
    assert gate.n == 5
    for found in ({"a": -11.0, "b": 5.0}, {"a": -9.0, "b": 5.0}):
        assert gate.deviation(found) == ("a", pytest.approx(1 / spread_a, rel=1e-6))


def test_only_what_is_farther_than_all_training_recordings_is_new() -> None:
    gate = fit_novelty(ROWS)
    assert [gate.describe_novelty(row) for row in ROWS] == [None] * 5
    words = gate.describe_novelty({"a": 10.0, "b": 5.0})
    assert words is not None
    assert words.startswith(
        f"its a is {20 / gate.spread['a']:.1f} robust deviations from that of the 5 training"
    )
    assert words.endswith(f"of which none lay farther than {gate.limit:.1f}")


def test_a_single_recording_is_the_whole_range() -> None:
    gate = fit_novelty(ROWS[:1])
    assert (gate.limit, gate.n) == (0.0, 1)
    assert gate.describe_novelty(ROWS[0]) is None
    assert gate.describe_novelty(ROWS[1]) is not None


@pytest.mark.parametrize(("limit", "n"), [(-1.0, 1), (float("inf"), 1), (1.0, 0)])
def test_a_range_that_none_has_is_refused(limit: float, n: int) -> None:
    with pytest.raises(ValueError, match="limit and n"):
        Gate({"a": 0.0}, {"a": 1.0}, limit, n)


@pytest.mark.parametrize(("centre", "spread"), [({}, {}), ({"a": 0.0}, {"b": 1.0}), ({"a": 0.0}, {})])
def test_a_range_of_other_statistics_is_refused(centre: dict[str, float], spread: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected the same statistics, at least one"):
        Gate(centre, spread, 1.0, 1)


@pytest.mark.parametrize(
    ("band", "frequencies"),
    [
        ("delta", (1, 3)),
        ("theta", (4.5, 7)),
        ("alpha", (8.5, 12)),
        ("beta", (13.5, 29)),
        ("gamma", (30.5, 60)),
    ],
)
def test_a_tone_near_the_edge_of_a_band_is_in_it_alone(band: str, frequencies: tuple[float, ...]) -> None:
    """Its power is in three bins of half a hertz (Hann's window): a variance of .5 of density 1."""
    t = np.arange(512) / 128
    for frequency in frequencies:
        found = statistics(np.sin(2 * np.pi * frequency * t) * np.ones((1, 2, 1)), 128.0)
        power = {name: value for name, value in found.items() if name.endswith("power")}
        assert power.pop(f"{band} power") == pytest.approx(0, abs=0.05)
        assert max(power.values()) < -10


def test_the_likeness_is_the_median_correlation_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((5, 4, 4)) @ rng.standard_normal((4, 256))
    pairs = [abs(np.corrcoef(w)[i, j]) for w in windows for i in range(4) for j in range(i)]
    assert statistics(windows, 128.0)["likeness of channels"] == pytest.approx(np.median(pairs), rel=1e-6)
