"""The measures of localized discharges in the benchmark of explanations, by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

from eeg.evaluation.localization import WIDENING
from eeg.explanation.attribution import Montage
from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from discharges import Discharges, locate, read_discharges, recall

CHANNELS = ("Fp1", "T7", "Cz", "O2")


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([], 0.0),
        ([(0.0, 0.5)], 0.25),
        ([(0.0, 0.5), (0.1, 0.1), (30.0, 0.1)], 0.5),
        ([(5.0, 0.5)] * 10 + [(0.0, 0.5)], 0.0),  # only ten are looked at
        ([(0.0, 31.0)], 1.0),
    ],
)
def test_recall_by_hand(segments: list[tuple[float, float]], expected: float) -> None:
    assert recall(segments, 10.0 * np.arange(4), np.full(4, 0.2)) == expected


def test_a_located_discharge_by_hand() -> None:
    montage = Montage(CHANNELS, 100.0)
    windows = np.zeros((5, 4, 200), np.float32)
    windows[1, 2, 50:60] = 1  # at 2.5 s on Cz, its peak at 2.55 s
    windows[1, 2, 55] = 3
    true = Discharges(np.array([2.5]), np.array([0.1]), (frozenset({"Cz"}),))
    evidence = np.zeros((5, 4, 200))
    evidence[1, 2, 52:58] = 1.0
    evidence[3, 0, 10:12] = 0.5
    relevance = evidence.sum(1).ravel()
    relevance[257] += 1  # 20 ms after the peak
    found = locate([(252, 258), (610, 612)], relevance, evidence, windows, true, montage)
    assert found.pointing == found.channel == found.precision == found.recall == 1
    assert found.peak_error == pytest.approx(0.02)
    inside = np.zeros(1000, bool)
    inside[250:260] = True
    pairs = [np.sign(a - b) for a in relevance[inside] for b in relevance[~inside]]
    assert found.auroc == pytest.approx((np.mean(pairs) + 1) / 2)
    covered = 0.1 + 2 * WIDENING + 0.06
    assert found.chance == pytest.approx(covered / (10 - 0.06))
    missed = locate([(610, 612), (252, 258)], relevance, evidence, windows, true, montage)
    assert missed.pointing == missed.precision == 0
    assert missed.recall == 1
    assert np.isnan(missed.peak_error)
    assert np.isnan(missed.channel)
    wrong = evidence[:, [2, 1, 0, 3]]
    assert locate([(252, 258)], relevance, wrong, windows, true, montage).channel == 0
    together = evidence.sum(1, keepdims=True)
    assert np.isnan(locate([(252, 258)], relevance, together, windows, true, montage).channel)
    nothing = locate([], relevance, evidence, windows, true, montage)
    assert nothing.pointing == nothing.precision == nothing.recall == 0


def test_discharges_of_a_simulated_subject_name_their_electrodes(cohort: Path) -> None:
    found = [read_discharges(path) for path in sorted(cohort.glob("sub-*/eeg/*_events.tsv"))]
    assert sum(len(d.onset) > 0 for d in found) == 4
    for discharges in found:
        assert len(discharges.onset) == len(discharges.duration) == len(discharges.channels)
        assert all(channels for channels in discharges.channels)
