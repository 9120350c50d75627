"""Figures of the performance of a classifier, and maps of the head: the drawn values are those given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from visualizers.curves import plot_removal, plot_risk_coverage, ranking, reliability, score_distribution
from visualizers.style import fix_layout
from visualizers.topography import placed, topographies

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
    fall, slow = np.array([1.0, 0.2, 0.0]), np.array([1.0, 0.5, 0.0])
    taken, put = plot_removal(fall, 1 - fall, (slow, 1 - slow)).axes
    for axes, curves in ((taken, (slow, fall)), (put, (1 - slow, 1 - fall))):
        for line, curve in zip(axes.lines, curves, strict=True):
            np.testing.assert_array_equal(line.get_data(), [[0, 0.5, 1], curve])


def test_a_recording_is_shown_with_both_groups() -> None:
    axes = score_distribution(np.array([1.0, 2.0]), np.array([-1.0, 0.0, 0.5]), 0.75).axes[0]
    control, epilepsy, here = axes.lines
    assert (list(control.get_xdata()), list(epilepsy.get_xdata())) == ([-1, 0, 0.5], [1, 2])
    assert here.get_xdata()[0] == 0.75
    assert [label.get_text() for label in axes.get_yticklabels()] == ["control (3)", "epilepsy (2)"]


def test_maps_have_a_symmetric_scale_and_leave_out_what_is_no_electrode() -> None:
    channels = ["Fp1", "Fp2", "T7", "T8", "Cz", "O1", "O2", "ECG", "Pz"]
    assert placed(channels) == [0, 1, 2, 3, 4, 5, 6, 8]
    values = np.arange(18.0).reshape(2, 9)
    values[:, 7] = 1e6
    figure = topographies({"µV": values, "logit": -values}, channels, ["1", "2"])
    heads = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in heads] == ["1\nµV", "2\nµV", "1\nlogit", "2\nlogit"]
    assert [axes.images[0].get_clim() for axes in heads] == [(-8, 8), (-17, 17)] * 2
    assert plt.get_fignums() == []


def test_a_map_of_few_electrodes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 3 channels"):
        topographies({"µV": np.zeros((1, 3))}, ["Fp1", "Cz", "ECG"], ["1"])


def test_a_fixed_layout_is_that_of_a_drawn_figure_and_stays() -> None:
    drawn, fixed = (score_distribution(SCORES[LABELS == 1], SCORES[LABELS == 0], 0.3) for _ in range(2))
    drawn.draw_without_rendering()
    fix_layout(fixed)
    places = [figure.axes[0].get_position().extents for figure in (drawn, fixed)]
    np.testing.assert_allclose(*places, atol=0.01)
    fixed.axes[0].set_ylabel("two\nlines")
    fixed.draw_without_rendering()
    np.testing.assert_array_equal(fixed.axes[0].get_position().extents, places[1])
    fix_layout(fixed)  # of one without a layout engine: nothing to do
