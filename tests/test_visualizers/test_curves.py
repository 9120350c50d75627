"""Figures of the performance of a classifier: the drawn values are those given."""

import numpy as np
import pytest

from visualizers.curves import plot_risk_coverage, ranking, reliability

LABELS = np.array([0, 0, 1, 0, 1, 1, 0, 1])
SCORES = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0])


def test_the_roc_curve_has_the_area_of_the_ordered_pairs() -> None:
    roc, _ = ranking(LABELS, SCORES).axes
    alarms, hits = roc.lines[0].get_data()
    pairs = np.mean(SCORES[LABELS == 1][:, None] > SCORES[LABELS == 0])
    assert np.trapezoid(hits, alarms) == pytest.approx(pairs)


def test_the_precision_curve_ends_at_the_prevalence() -> None:
    _, recall = ranking(LABELS, SCORES).axes
    points = set(zip(*recall.lines[0].get_data(), strict=True))
    assert {(1.0, 0.5), (0.25, 1.0)} <= points, "all are found; the highest score alone"
    assert recall.lines[1].get_ydata()[0] == 0.5


def test_a_reliability_diagram_counts_by_tenths() -> None:
    probabilities = np.array([0.02, 0.08, 0.55, 0.55, 0.58, 0.52, 1.0])
    diagram, number = reliability(np.array([0, 1, 1, 0, 1, 1, 1]), probabilities).axes
    np.testing.assert_allclose(np.array(diagram.lines[1].get_data()), [[0.05, 0.55, 1.0], [0.5, 0.75, 1.0]])
    assert [bar.get_height() for bar in number.patches] == [2, 0, 0, 0, 0, 4, 0, 0, 0, 1]


def test_curves_are_drawn_as_given() -> None:
    coverage, risk = np.array([0.5, 1.0]), np.array([0.0, 0.25])
    np.testing.assert_array_equal(
        plot_risk_coverage(coverage, risk).axes[0].lines[0].get_data(), [coverage, risk]
    )
