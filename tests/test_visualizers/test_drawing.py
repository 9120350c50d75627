"""Drawings: what SVG and matplotlib show is what was given."""

import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.interpolate import RBFInterpolator

from tests.test_visualizers.helpers import lines, texts
from visualizers.decision import plot_removal, score_distribution
from visualizers.drawing import Drawing, Image, Lines, Text, extremes, limits, round_ticks
from visualizers.style import INK, MARK, OTHER
from visualizers.topography import interpolate, placed, topographies

SVG = "{http://www.w3.org/2000/svg}"
LINE = np.array([[10.0, 10.0], [30.04, 20.0], [50.0, 10.0]])


def drawing() -> Drawing:
    """One of each part; a line of 2 points, and an area in the left half of what it would fill."""
    parts: list[Lines | Text | Image] = [
        Lines([LINE], INK, 2.0),
        Lines([np.array([[60.0, 5], [90, 5], [90, 25], [60, 25]])], "#ff0000", clip=(60, 0, 15, 40)),
        Text("<µV> & $x$", 10, 38, anchor="start", bold=True),
        Text("up", 5, 20, upward=True),
        Image(np.full((2, 2, 4), (0, 0, 255, 255), np.uint8), (80, 30, 10, 10)),
    ]
    return Drawing(100, 40, parts)


def test_svg_has_the_parts_in_order_in_tenths_of_points() -> None:
    root = ElementTree.fromstring(drawing().svg("a <title>"))
    assert root.get("viewBox") == "0 0 1000 400"
    assert root.get("aria-label") == "a <title>"
    line, cut, text, upward, image = root
    assert line.get("d") == "M100 100l200 100 200 -100", "steps between rounded points: errors do not add up"
    assert (line.get("stroke"), line.get("stroke-width"), line.get("fill")) == (INK, "20", "none")
    assert cut.get("viewBox") == "600 0 150 400"
    assert cut[0].get("fill") == "#ff0000"
    assert (text.text, text.get("text-anchor"), text.get("font-weight")) == ("<µV> & $x$", "start", "bold")
    assert upward.get("transform") == "rotate(-90 50 200)"
    assert (image.get("href") or "").startswith("data:image/png;base64,")


def is_xml(character: str) -> bool:
    """Whether the parser takes a reference to the character."""
    try:
        ElementTree.fromstring(f"<a>&#{ord(character)};</a>")
    except ElementTree.ParseError:
        return False
    return True


@given(
    st.text(st.characters(exclude_characters="\t\n\r")), st.sampled_from('\0\a\x1b\ud800\ufffe\uffff<&"é🧠')
)
def test_characters_that_xml_does_not_have_are_replaced(text: str, more: str) -> None:
    text += more
    expected = "".join(c if is_xml(c) else "\ufffd" for c in text)
    root = ElementTree.fromstring(Drawing(100, 40, [Text(text, 50, 20)]).svg(text))
    assert (root[0].text, root.get("aria-label")) == (expected, expected)


def test_matplotlib_draws_a_character_that_unicode_does_not_have() -> None:
    FigureCanvasAgg(Drawing(100, 40, [Text("\ud800", 50, 20)]).figure()).draw()


def test_matplotlib_draws_the_same() -> None:
    figure = drawing().figure(dpi=72)  # a pixel is a point
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    assert pixels.shape == (40, 100, 3)
    assert (pixels[20, 30] < 100).all(), "the line"
    assert pixels[15, 65].tolist() == [255, 0, 0]
    assert pixels[15, 85].tolist() == [255, 255, 255], "cut off"
    assert pixels[35, 85].tolist() == [0, 0, 255]
    assert pixels[32:39, 10:60].min() < 128, "the text"
    assert plt.get_fignums() == []


def test_a_panel_places_values_in_its_box() -> None:
    panel = Drawing(100, 100).panel((20, 10, 50, 40), (0, 5), (-1, 1))
    np.testing.assert_allclose(panel.place(np.array([0, 2.5, 5]), np.array([1, 0, -1])), LINE_OF_BOX)
    np.testing.assert_allclose(panel.values(LINE_OF_BOX), [[0, 1], [2.5, 0], [5, -1]])


LINE_OF_BOX = np.array([[20.0, 10], [45, 30], [70, 50]])


def test_a_line_without_points_shows_nothing() -> None:
    line, empty = np.array([[1.0, 2], [3, 4]]), np.empty((0, 2))
    assert Lines([empty, line, empty], INK, 1.0).svg() == Lines([line], INK, 1.0).svg()
    panel = Drawing(100, 40).panel((0, 0, 100, 40), (0, 1), (0, 1))
    panel.lines(np.array([]), np.array([]), INK, 1.0)
    assert ElementTree.fromstring(panel.drawing.svg())[0][0].get("d") == ""
    FigureCanvasAgg(panel.drawing.figure()).draw()


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Lines([np.array([[0.0, 0], [np.nan, 1]])], INK, 1.0).svg()


@given(low=st.floats(-1e6, 1e6), length=st.floats(1e-3, 1e6), most=st.integers(2, 12))
def test_ticks_are_few_round_and_inside(low: float, length: float, most: int) -> None:
    high = low + length
    values, labels = round_ticks(low, high, most)
    assert 1 <= len(values) <= most + 1
    assert min(values) >= low - 1e-6 * length
    assert max(values) <= high + 1e-6 * length
    assert len(labels) == len(values)
    if len(values) > 1:
        step = f"{values[1] - values[0]:.3e}"
        assert re.match(r"(1|2|2\.5|5)(\.?0*)e", step), step


def test_ticks_are_as_expected() -> None:
    assert round_ticks(-0.05, 1.04, 4) == ([0, 0.5, 1.0], ["0", "0.5", "1"])
    assert round_ticks(0, 100, 4)[0] == [0, 25, 50, 75, 100]
    assert round_ticks(0, 0, 4) == ([0], ["0"])
    assert round_ticks(0.3, 0.3, 4) == ([0.3], ["0.3"])


def test_limits_have_a_margin() -> None:
    assert limits(np.array([0.0, 5]), np.array(10.0)) == (-0.5, 10.5)
    assert limits(np.ones(3)) == (0.5, 1.5)


def test_of_many_values_the_extremes_of_each_pixel_are_left() -> None:
    values = np.random.default_rng(0).normal(size=30_000)
    found = extremes(values)
    np.testing.assert_array_equal(np.unique(found), found)
    blocks = np.arange(30_000).reshape(1500, 20)
    for block in blocks:
        chosen = values[found[(found >= block[0]) & (found <= block[-1])]]
        assert (chosen.min(), chosen.max()) == (values[block].min(), values[block].max())
    np.testing.assert_array_equal(extremes(values[:3000]), np.arange(3000))


def test_removal_curves_are_drawn_as_given() -> None:
    fall, slow = np.array([1.0, 0.2, 0.0]), np.array([1.0, 0.5, 0.0])
    removal = plot_removal(fall, 1 - fall, (slow, 1 - slow))
    for panel, curves in zip(removal.panels, ((slow, fall), (1 - slow, 1 - fall)), strict=True):
        for line, curve in zip(lines(panel), curves, strict=True):
            np.testing.assert_allclose(line[0], np.c_[[0, 0.5, 1], curve], atol=1e-12)


def test_a_recording_is_shown_with_both_groups() -> None:
    shown = score_distribution(np.array([1.0, 2.0]), np.array([-1.0, 0.0, 0.5]), 0.75)
    (panel,) = shown.panels
    for color, row, scores in ((OTHER, 0, [-1, 0, 0.5]), (MARK, 1, [1, 2])):
        (strokes,) = lines(panel, color)
        np.testing.assert_allclose(strokes[:, :, 0], np.repeat(scores, 2).reshape(-1, 2))
        np.testing.assert_allclose(strokes[:, :, 1].mean(1), row, atol=1e-12)
    ((here,),) = lines(panel, INK)
    np.testing.assert_allclose(here[:, 0], 0.75)
    assert {"control (3)", "epilepsy (2)", "this recording"} <= set(texts(shown))


def test_scores_of_no_group_are_no_error() -> None:
    assert "control (0)" in score_distribution(np.array([1.0, 2.0]), np.array([]), 0.75).svg()


def test_maps_have_a_symmetric_scale_and_leave_out_what_is_no_electrode() -> None:
    channels = ["Fp1", "Fp2", "T7", "T8", "Cz", "O1", "O2", "ECG", "Pz"]
    assert placed(channels) == [0, 1, 2, 3, 4, 5, 6, 8]
    values = np.arange(18.0).reshape(2, 9)
    values[:, 7] = 1e6
    maps = topographies({"µV": values, "logit": -values}, channels, ["one", "two"])
    scale = ["8", "0", "-8"], ["17", "0", "-17"]
    expected = [
        text
        for name in ("µV", "logit")
        for title, numbers in zip(("one", "two"), scale, strict=True)
        for text in (title, name, *numbers)
    ]
    assert texts(maps) == expected


def test_a_map_of_few_electrodes_is_refused() -> None:
    with pytest.raises(ValueError, match="2 of 3 channels"):
        topographies({"µV": np.zeros((1, 3))}, ["Fp1", "Cz", "ECG"], ["1"])


def test_a_map_has_its_colours_where_the_electrodes_are() -> None:
    channels = ["Fp1", "Fp2", "T7", "T8", "Cz", "O1", "O2", "Pz", "Fz"]
    values = np.array([[0.0, 0, -1, 1, 0, 0, 0, 0, 0]])  # left is blue, right is red
    maps = topographies({"µV": values}, channels, ["1"])
    head = next(part for part in maps.parts if isinstance(part, Image))
    size = len(head.pixels)
    at = {name: head.pixels[size // 2, int((0.5 + 0.4 * x) * size)] for name, x in (("T7", -1), ("T8", 1))}
    assert at["T7"][2] > at["T7"][0] + 50
    assert at["T8"][0] > at["T8"][2] + 50
    assert head.pixels[0, 0, 3] == 0, "transparent outside the head"
    assert head.pixels[size // 2, size // 2, 3] == 255


def test_the_spline_has_the_values_at_the_sites_and_is_biharmonic_between() -> None:
    rng = np.random.default_rng(0)
    sites, values, at = rng.normal(size=(12, 2)), rng.normal(size=(12, 3)), rng.normal(size=(50, 2))
    np.testing.assert_allclose(interpolate(sites, values, sites), values, atol=1e-9)
    # r^2 (ln r - 1) is the thin plate's r^2 ln r of a length e times as large
    plate = RBFInterpolator(sites / np.e, values, kernel="thin_plate_spline", degree=-1)
    np.testing.assert_allclose(interpolate(sites, values, at), plate(at / np.e), atol=1e-6)
