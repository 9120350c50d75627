"""Pages of EEG and overviews: the drawn values are those given."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tests.test_visualizers.helpers import areas, lines, texts
from visualizers.drawing import Lines, Panel, Text
from visualizers.style import FAINT, INK, MARK
from visualizers.traces import MarkedSpan, anatomical, clock, eeg_page, overview, side_by_side

CHANNELS = ["O2", "Cz", "T7", "Fp1"]


def test_channels_are_arranged_as_on_the_head() -> None:
    names = [f"{site}{number}" for number in (4, 8, "z", 7, 3) for site in ("P", "T", "C", "F")]
    names = [name for name in names if name not in {"Tz", "T3", "T4", "C7", "C8"}] + [
        "A2-A1",
        "O2",
        "Fp1",
        "ECG",
    ]
    left, midline = ["Fp1", "F7", "F3", "T7", "C3", "P7", "P3"], ["Fz", "Cz", "Pz"]
    right = ["F8", "F4", "T8", "C4", "P8", "P4", "O2"]
    expected = [*left, *midline, *right, "A2-A1", "ECG"]
    assert [names[index] for index in anatomical(names)] == expected


@given(st.lists(st.text(max_size=5), unique=True))
def test_every_channel_has_one_place(names: list[str]) -> None:
    assert sorted(anatomical(names)) == list(range(len(names)))


def rows(panel: Panel, channels: Sequence[str] = CHANNELS) -> dict[str, float]:
    """Return the height of each channel's name beside a panel, in its units."""
    found = {part.text: part.y - 0.35 * part.size for part in panel.drawing.parts if isinstance(part, Text)}
    return {name: round(panel.values(np.array([0, found[name]]))[1], 6) for name in channels}


def test_a_page_is_to_scale_and_negative_up() -> None:
    sfreq, data = 100.0, np.zeros((4, 3000))
    data[2, 1550] = -140e-6  # T7 at 15.5 s
    page = eeg_page(data, sfreq, CHANNELS, start=12.0, scale=70.0, montage="average")
    (panel,) = page.panels
    height = rows(panel)
    assert sorted(height, key=height.__getitem__, reverse=True) == ["Fp1", "T7", "Cz", "O2"]
    assert height["Fp1"] - height["T7"] == 1
    (traces,) = lines(panel)
    np.testing.assert_allclose(traces[:, 0, 1], list(height.values()), atol=1e-9)
    trace = traces[CHANNELS.index("T7")]
    assert trace[:, 1].max() - height["T7"] == pytest.approx(2.0), "140 µV are two divisions of 70 µV"
    assert trace[trace[:, 1].argmax(), 0] == pytest.approx(15.5)
    assert trace[[0, -1], 0] == pytest.approx((12.0, 22.0))
    assert panel.across == (12.0, 22.0)
    bar = next(p for p in page.parts if isinstance(p, Lines) and p.width == 1.5)
    assert np.ptp(panel.values(bar.points[0])[:, 1]) == pytest.approx(1), "the scale bar is one division"
    shown = texts(page)
    assert "70 µV" in shown
    assert "montage: average   ·   70 µV per division, negative up" in shown
    assert [text for text in shown if ":" in text and len(text) < 6] == [f"0:{s}" for s in range(12, 23)]


def test_a_page_has_whole_seconds_at_its_ticks() -> None:
    page = eeg_page(np.zeros((4, 3000)), 100.0, CHANNELS, start=19.5, montage="average")
    assert {f"0:{second}" for second in range(20, 30)} <= set(texts(page))
    assert "0:30" not in texts(page)


def test_spans_are_shaded_on_their_channels() -> None:
    marked = [MarkedSpan(15.0, 0.5, ("T7", "O2"), "1"), MarkedSpan(40.0, 0.5, ("Cz",), "2")]
    page = eeg_page(np.zeros((4, 6000)), 100.0, CHANNELS, start=12.0, spans=marked, montage="average")
    (panel,) = page.panels
    (band,), (first, second) = areas(panel, MARK)
    np.testing.assert_allclose(_extent(band), [(15, 15.5), panel.up])
    for area, name in ((first, "T7"), (second, "O2")):
        height = rows(panel)[name]
        np.testing.assert_allclose(_extent(area), [(15, 15.5), (height - 0.5, height + 0.5)], atol=1e-9)
    assert [text for text in texts(page) if text in {"1", "2"}] == ["1"], "40 s is on another page"


def _extent(area: np.ndarray) -> np.ndarray:
    """Return the smallest and largest x, and those of y."""
    return np.stack([area.min(0), area.max(0)], 1)


@pytest.mark.parametrize(
    ("shape", "start", "message"),
    [((3, 500), 0.0, "shape"), ((4, 500), 5.0, "start"), ((4, 500), -1.0, "start")],
)
def test_a_page_of_something_else_is_refused(shape: tuple[int, int], start: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eeg_page(np.zeros(shape), 100.0, CHANNELS, start=start, montage="average")


def test_the_overview_shows_evidence_attribution_and_marks() -> None:
    onset, logit = np.array([0.0, 2.0, 10.0]), np.array([-1.0, 0.5, 2.0])  # windows need not touch
    times = np.arange(0, 12, 0.5)
    shown = overview(times, np.sin(times), onset, logit, [MarkedSpan(2.5, 0.5, (), "1")], window_length=2.0)
    evidence, attribution = shown.panels
    (windows,) = lines(evidence, INK)
    np.testing.assert_allclose(windows[:, 0], np.c_[onset, logit], atol=1e-9)
    np.testing.assert_allclose(windows[:, 1], np.c_[onset + 2, logit], atol=1e-9)
    ((line,),) = lines(attribution, INK)
    np.testing.assert_allclose(line, np.c_[times, np.sin(times)], atol=1e-9)
    for panel in shown.panels:
        assert panel.across == (0, 12)
        ((mark,),) = areas(panel, MARK)
        low, high = _extent(mark)[0]
        assert 2.4 < low <= 2.5
        assert 3.0 <= high < 3.1
        ((zero,),) = lines(panel, FAINT)
        np.testing.assert_allclose(zero[:, 1], 0, atol=1e-9)
    assert "1" in texts(shown)


def test_the_overview_shows_what_windows_add_to_the_recording() -> None:
    onset, added = np.array([0.0, 2.0, 10.0]), np.array([0.0, -0.25, 1.5])
    times = np.arange(0, 12, 0.5)
    shown = overview(times, times, onset, added, [], window_length=2.0, contribution=added)
    _, between, _ = shown.panels
    (bars,) = areas(between, INK)
    for bar, x, height in zip(bars, onset, added, strict=True):
        np.testing.assert_allclose(_extent(bar), [(x, x + 2), sorted((0, height))], atol=1e-9)


def test_the_overview_of_a_day_shows_its_least_and_greatest_and_no_more_than_can_be_seen() -> None:
    onset = 2.0 * np.arange(43_200)
    logit, added = np.random.default_rng(0).normal(size=(2, 43_200))
    times = np.arange(0, 86_400, 0.125)
    relevance = np.sin(times)
    for values, at in ((logit, 20_000), (added, 30_000), (relevance, 500_000)):
        values[at : at + 2] = 9.0, -8.0
    shown = overview(times, relevance, onset, logit, [], window_length=2.0, contribution=added)
    evidence, between, attribution = shown.panels
    for found, at in (
        (lines(evidence, INK)[0][:, 0], onset[20_000]),
        (areas(between, INK)[0][:, 3], onset[30_000]),
        (lines(attribution, INK)[0][0], times[500_000]),
    ):
        assert 2000 < len(found) < 5000
        np.testing.assert_allclose(found[found[:, 1].argmax()], [at, 9.0])
        assert found[:, 1].min() == pytest.approx(-8.0)
        assert (np.diff(found[:, 0]) > 0).all()
    assert attribution.across == (0, 86_400)


def test_windows_are_side_by_side_with_one_scale() -> None:
    first, other = np.zeros((4, 200)), np.zeros((4, 200))
    other[2, 50] = -6.0  # T7 at 0.5 s
    panels = [("one", first, MarkedSpan(-0.25, 0.5, ("T7",), "1")), ("other", other, None)]
    shown = side_by_side(panels, 100.0, CHANNELS, scale=3.0)
    left, right = shown.panels
    assert [text for text in texts(shown) if text in {"one", "other"}] == ["one", "other"]
    height = rows(left)["T7"]
    trace = lines(right)[0][CHANNELS.index("T7")]
    assert trace[:, 1].max() - height == pytest.approx(2.0), "six units are two divisions of three"
    assert trace[trace[:, 1].argmax(), 0] == pytest.approx(0.5)
    _, (band,) = areas(left, MARK)
    np.testing.assert_allclose(_extent(band)[0], (0, 0.25), atol=1e-9)  # what is in another window is cut off
    assert not areas(right)


@given(st.floats(0, 86_000))
def test_a_clock_shows_minutes_and_seconds(seconds: float) -> None:
    minutes, rest = clock(seconds).split(":")
    assert len(rest) == 2
    assert 0 <= int(rest) < 60
    assert abs(60 * int(minutes) + int(rest) - seconds) <= 0.5
