"""Localization of annotated discharges, by hand and by slow second implementations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from eeg.datasets import Entry
from eeg.detector.detector import Detector
from eeg.evaluation.localization import (
    MAX_RANKED,
    WIDENING,
    chance,
    hits,
    precision,
    precision_at_r,
    spans,
)
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.training.cross_validation import Scored
from tests.test_eeg.helpers import explain_windows

CHANNELS = ("Fp1", "T7", "Cz", "O2")
RATE = 128


class Energy(nn.Module):
    """The logit of a window is its energy at T7."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit."""
        return 0.02 * x[:, 1].square().sum(1, keepdim=True) - 1


def planted(detector: Detector) -> tuple[Detector, np.ndarray]:
    """Return that network, three transients at T7, and a larger one elsewhere."""
    signal = np.random.default_rng(3).normal(scale=0.01, size=(4, 30 * 256)).astype(np.float32)
    for at, height in ((200, 1.0), (700, 3.0), (1100, 2.0)):
        signal[:3, at : at + 20] += height
    signal[0, 400:420] += 50
    settings = Preprocessing(CHANNELS)
    known = replace(detector, network=Energy(), preprocessing=settings, window=2.0, aggregation="mean")
    return known, np.ascontiguousarray(signal.reshape(4, 30, -1).swapaxes(0, 1))


def test_hits_by_hand() -> None:
    onset, duration = np.array([10.0, 20.0]), np.array([0.5, 0.0])
    segments = [(9.0, 0.85), (9.0, 0.95), (10.55, 1.0), (10.65, 1.0), (19.85, 0.1), (0.0, 1.0)]
    assert hits(segments, onset, duration).tolist() == [False, True, True, False, True, False]


@pytest.mark.parametrize(
    ("true", "segments", "expected"),
    [
        (1, [(0.0, 0.5)], 1.0),
        (1, [(5.0, 0.5), (0.0, 0.5)], 0.0),  # only the first counts
        (2, [(0.0, 0.5)], 0.5),  # one is missing
        (2, [(0.0, 0.5), (0.1, 0.2), (10.0, 0.1)], 1.0),
        (3, [], 0.0),
        (12, [(10.0 * i, 0.1) for i in range(12)], 1.0),
        (12, [(10.0 * i + 5 * (i > 4), 0.1) for i in range(12)], 0.5),  # of ten, not of twelve
    ],
)
def test_precision_at_r_by_hand(true: int, segments: list[tuple[float, float]], expected: float) -> None:
    assert precision_at_r(segments, 10.0 * np.arange(true), np.full(true, 0.2)) == expected


def test_precision_at_r_needs_a_discharge() -> None:
    with pytest.raises(ValueError, match="at least one"):
        precision_at_r([(0.0, 1.0)], np.array([]), np.array([]))


@given(
    st.lists(st.tuples(st.floats(0, 29), st.floats(0, 2)), min_size=1, max_size=6),
    st.floats(0.05, 1.0),
)
@settings(max_examples=30)
def test_chance_is_that_of_random_segments(events: list[tuple[float, float]], length: float) -> None:
    onset, duration = np.array(events).T
    starts = np.linspace(0, 30 - length, 20_001)
    fraction = hits([(start, length) for start in starts], onset, duration).mean()
    assert chance(length, 30.0, onset, duration) == pytest.approx(fraction, abs=0.002)


def test_precision_of_a_recording_is_beside_amplitude_and_chance(detector: Detector, tmp_path: Path) -> None:
    detector, x = planted(detector)
    events = tmp_path / "events.tsv"
    rows = [f"{at / RATE}\t{20 / RATE}\tdischarge" for at in (200, 700, 1100)]
    events.write_text("\n".join(["onset\tduration\ttrial_type", *rows, "3\t1\tblink"]) + "\n")
    windows = Windows(x, np.arange(30) * 2.0, 2.0, 1, None)
    entry = Entry(Path("a.edf"), "a", 1, events=events)
    scored = Scored(entry, "held out", windows, detector.logits(x), "mean")
    found = precision(detector, scored, "occlusion")
    assert found is not None
    assert found.explanation == 1
    assert found.amplitude == pytest.approx(2 / 3)  # the first is not at T7
    lengths = [length for _, length in spans(explain_windows(detector, x, max_segments=MAX_RANKED).segments)]
    covered = [3 * (20 / RATE + 2 * WIDENING + length) / (60 - length) for length in lengths]
    assert found.chance == pytest.approx(np.mean(covered), rel=0.05)
    assert f"{found.explanation:.3f}" in found.describe("occlusion")
    events.write_text("onset\tduration\ttrial_type\n3\t1\tblink\n")
    assert precision(detector, scored, "occlusion") is None
    assert precision(detector, replace(scored, entry=replace(scored.entry, events=None)), "occlusion") is None
