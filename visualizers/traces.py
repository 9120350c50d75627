"""Pages of EEG as clinicians read them, and the evidence over a whole recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visualizers.drawing import Drawing, Lines, Panel, Text, extremes, limits, round_ticks
from visualizers.style import FAINT, INK, MARK

_PAGE = 10.0  # s, standard in clinical EEG
_WIDTH = 792.0  # points, 11 inches
_ROW = 24.0  # points a channel: 70 µV a division is then close to the usual 7 to 10 µV/mm
_NARROW_ROW = 16.0

# Rows of the 10-10 system (ACNS guideline 2), front to back.
_ROWS = ({"FP"}, {"AF"}, {"F"}, {"FT", "FC"}, {"T", "C"}, {"TP", "CP"}, {"P"}, {"PO"}, {"O"}, {"I"})
_DEPTH = {prefix: depth for depth, row in enumerate(_ROWS) for prefix in row}
_LEFT, _MIDLINE, _RIGHT, _ELSEWHERE = range(4)


@dataclass(frozen=True)
class MarkedSpan:
    """A marked interval of a recording, with its channels and a label."""

    onset: float  # s from the start of the recording
    duration: float  # s
    channels: tuple[str, ...] = ()
    label: str = ""


def anatomical(channels: Sequence[str]) -> list[int]:
    """Order channels for a page: left, midline, right, others; front to back; lateral first.

    Returns
    -------
    list of int
        Indices into ``channels``; names outside the 10-10 system keep their order at the end.
    """
    return sorted(range(len(channels)), key=lambda index: _site(channels[index]))


def _site(name: str) -> tuple[int, int, int]:
    """Hemisphere, depth from the front, and nearness to the midline of a 10-10 name."""
    match = re.fullmatch(r"([A-Z]+)(Z|\d+)", name.upper())
    if match is None or match[1] not in _DEPTH:
        return _ELSEWHERE, 0, 0
    if match[2] == "Z":
        return _MIDLINE, _DEPTH[match[1]], 0
    number = int(match[2])
    return (_LEFT if number % 2 else _RIGHT), _DEPTH[match[1]], -number


def eeg_page(
    data: np.ndarray,
    sfreq: float,
    channels: Sequence[str],
    *,
    start: float,
    spans: Sequence[MarkedSpan] = (),
    scale: float = 70.0,
    montage: str,
) -> Drawing:
    """Draw ten seconds of EEG, negative up as clinical EEG is read, with marked spans.

    Parameters
    ----------
    data
        The whole recording (C, T) in volts.
    sfreq
        Sampling rate in Hz.
    channels
        The C names; the page shows them in anatomical order.
    start
        Start of the page in s from the start of the recording.
    spans
        Shaded on their channels, and lightly on all others.
    scale
        Distance between channels in microvolts.
    montage
        Montage or reference, for the heading.

    Raises
    ------
    ValueError
        If ``data`` does not have one row for each channel, or the page begins outside the recording.
    """
    if data.ndim != 2 or len(data) != len(channels):
        raise ValueError(
            f"data must have shape ({len(channels)}, T), one row for each channel, got {data.shape}"
        )
    if not 0 <= start < data.shape[1] / sfreq:
        raise ValueError(f"start must be in the recording, 0 to {data.shape[1] / sfreq:g} s, got {start:g}")
    heights, unit = _heights(channels), f"{scale:g} µV"
    left, right = _text_width(channels, 9), 18 + _text_width([unit], 8)
    height = _ROW * (np.ptp(list(heights.values())) + 2)
    drawing = Drawing(_WIDTH, height + 55)
    page = _page(drawing, (left, 28, _WIDTH - left - right, height), heights, (start, start + _PAGE))
    seconds = np.arange(np.ceil(start), start + _PAGE + 1e-9)
    page.ticks_across(seconds, map(clock, seconds), grid=True)
    page.ticks_up(heights.values(), heights, 9)
    first = round(start * sfreq)
    shown = 1e6 / scale * data[:, first : round((start + _PAGE) * sfreq) + 1]
    _mark_on_page(page, spans, heights)
    _draw_traces(page, shown, first / sfreq, sfreq, channels, heights)
    _name_clock(page)
    _draw_scale_bar(page, min(heights.values()), unit)
    page.title(f"montage: {montage}   ·   {unit} per division, negative up", FAINT, lift=17)
    return drawing


def _text_width(texts: Sequence[str], size: float) -> float:
    """Return the points that texts beside a panel need; a browser chooses the font."""
    return 7 + 0.62 * size * max(map(len, texts))


def _heights(channels: Sequence[str]) -> dict[str, float]:
    """Height of each channel's baseline in divisions, top to bottom, half a division between groups."""
    heights: dict[str, float] = {}
    height, before = 0.0, None
    for index in anatomical(channels):
        group = _site(channels[index])[0]
        height -= 1.0 if before in (None, group) else 1.5
        heights[channels[index]], before = height, group
    return heights


def _page(
    drawing: Drawing,
    box: tuple[float, float, float, float],
    heights: dict[str, float],
    span: tuple[float, float],
) -> Panel:
    page = drawing.panel(box, span, (min(heights.values()) - 1, max(heights.values()) + 1))
    page.frame()
    return page


def _draw_traces(
    page: Panel,
    divisions: np.ndarray,
    start: float,
    sfreq: float,
    channels: Sequence[str],
    heights: dict[str, float],
) -> None:
    times = start + np.arange(divisions.shape[1]) / sfreq
    page.lines(times, np.array([[heights[name]] for name in channels]) - divisions, INK, 0.6)


def _mark_on_page(page: Panel, spans: Sequence[MarkedSpan], heights: dict[str, float]) -> None:
    for span in spans:
        low, high = max(span.onset, page.across[0]), min(span.onset + span.duration, page.across[1])
        if low >= high:
            continue
        page.areas(low, high, *page.up, MARK, 0.07)
        rows = np.array([heights[name] for name in span.channels])
        page.areas(low, high, rows - 0.5, rows + 0.5, MARK, 0.28)
        page.label((low + high) / 2, span.label)


def _draw_scale_bar(page: Panel, bottom: float, unit: str) -> None:
    """Draw one division in the right margin, where no trace covers it."""
    ends = page.place(page.across[1], np.array([bottom, bottom + 1])) + np.array((8, 0))
    x, y = ends.mean(0)
    page.drawing.add(Lines([ends], INK, 1.5), Text(unit, x + 5, y + 3, anchor="start"))


def side_by_side(
    panels: Sequence[tuple[str, np.ndarray, MarkedSpan | None]],
    sfreq: float,
    channels: Sequence[str],
    *,
    scale: float,
) -> Drawing:
    """Draw windows of EEG side by side, negative up, with one scale.

    Parameters
    ----------
    panels
        Title, window (C, T) in one unit for all, and the interval to shade, from the start of the window.
    sfreq
        Sampling rate in Hz.
    channels
        The C names.
    scale
        Distance between channels, in the unit of the windows.
    """
    heights = _heights(channels)
    left, gap, count = _text_width(channels, 9), 11.0, len(panels)
    width = (_WIDTH - left - 6 - gap * (count - 1)) / count
    height = _NARROW_ROW * (np.ptp(list(heights.values())) + 2)
    drawing = Drawing(_WIDTH, height + 52)
    for number, (title, window, mark) in enumerate(panels):
        length = window.shape[1] / sfreq
        panel = _page(drawing, (left + number * (width + gap), 25, width, height), heights, (0.0, length))
        step = _tick(2 * length)
        seconds = step * np.arange(int(length / step + 1e-9) + 1)
        panel.ticks_across(seconds, [f"{second:g}" for second in seconds], grid=True)
        _mark_on_page(panel, [mark] if mark else [], heights)
        _draw_traces(panel, window / scale, 0.0, sfreq, channels, heights)
        panel.name_across("s")
        panel.title(title, lift=14, anchor="middle")
    drawing.panels[0].ticks_up(heights.values(), heights, 9)
    return drawing


def overview(
    times: np.ndarray,
    relevance: np.ndarray,
    window_onset: np.ndarray,
    window_logit: np.ndarray,
    spans: Sequence[MarkedSpan],
    *,
    window_length: float,
    contribution: np.ndarray | None = None,
) -> Drawing:
    """Draw the evidence of a whole recording: each window's logit, and the attribution over time.

    Only the minimum and maximum are drawn of values that are less than a pixel apart.

    Parameters
    ----------
    times, relevance
        The attribution (T,) in units of the network's logit at ``times`` (T,) in s.
    window_onset, window_logit
        Start of each window (N,) in s, and its logit (N,).
    spans
        Marked in all rows, with their labels above.
    window_length
        Length of a window in s.
    contribution
        Contribution of each window to the logit of the recording (N,), in a further row.
    """
    rows = 2 if contribution is None else 3
    drawing = Drawing(_WIDTH, 50 + 101 * rows)
    span = 0.0, float(max(window_onset.max() + window_length, times.max()))
    width = max(window_length, span[1] / _WIDTH)
    ranked = sorted(spans, key=lambda span: span.onset)

    def row(number: int, values: np.ndarray, *names: str) -> Panel:
        panel = drawing.panel((47, 31 + 101 * number, _WIDTH - 60, 88), span, limits(values, np.zeros(1)))
        panel.frame()
        panel.ticks_up(*round_ticks(*panel.up, 4))
        panel.name_up(*names)
        _mark_on_strip(panel, ranked)
        panel.lines(np.array(span), np.zeros(2), FAINT, 0.6)
        return panel

    evidence = row(0, window_logit, "window evidence", "(logit)")
    for place, mark in enumerate(ranked):
        evidence.label(mark.onset + mark.duration / 2, mark.label, lift=3 + 9 * (place % 3))
    shown = extremes(window_logit)
    ends = window_onset[shown, None] + (0, width)
    evidence.lines(ends, np.repeat(window_logit[shown, None], 2, 1), INK, 1.8)
    if contribution is not None:
        added = row(1, contribution, "contribution to the", "recording (logit)")
        shown = extremes(contribution)
        onset = window_onset[shown]
        added.areas(onset, onset + width, 0.0, contribution[shown], INK)
    attribution = row(rows - 1, relevance, "attribution", "(logit)")
    shown = extremes(relevance)
    attribution.lines(times[shown], relevance[shown], INK, 0.7)
    step = _tick(span[1])
    seconds = step * np.arange(int(span[1] / step + 1e-9) + 1)
    attribution.ticks_across(seconds, map(clock, seconds))
    _name_clock(attribution)
    return drawing


def _mark_on_strip(panel: Panel, spans: Sequence[MarkedSpan]) -> None:
    """Shade spans, at least as wide as is visible in a long recording."""
    onset = np.array([span.onset for span in spans])
    duration = np.array([span.duration for span in spans])
    edge = (panel.across[1] - panel.across[0]) / panel.box[2]  # a point on each side, 0.8 of it edge
    panel.areas(onset - 0.4 * edge, onset + duration + 0.4 * edge, *panel.up, MARK, 0.35)


def _tick(length: float) -> float:
    """Return the step of a time axis of ``length`` s for at most twelve ticks at round clock times."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
    return next((step for step in steps if length / step <= 12), length / 12)


def _name_clock(panel: Panel) -> None:
    panel.name_across("time from the start of the recording (min:s)", FAINT)


def clock(seconds: float) -> str:
    """Write a time as minutes and whole seconds, ``2:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
