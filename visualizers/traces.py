"""Pages of EEG as clinicians read them, and the evidence over a whole recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

from visualizers.style import FAINT, GRID, INK, MARK, despine, set_margins, text_width

_PAGE = 10.0  # s, standard in clinical EEG
_NARROW_ROW = 0.22
_COLUMNS = 1500  # of an overview: about the number of its pixels
_ROW = 0.33  # inches a channel: 70 µV a division is then close to the usual 7 to 10 µV/mm

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
) -> Figure:
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

    Returns
    -------
    matplotlib.figure.Figure
        One page, not managed by pyplot.

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
    heights = _heights(channels)
    figure = Figure(figsize=(11, 1.3 + _ROW * np.ptp(list(heights.values()))), dpi=160)
    axes = figure.add_subplot()
    set_margins(figure, _names(channels), 0.25 + text_width([f"{scale:g} µV"], 8), 0.37, 0.39)
    first = round(start * sfreq)
    shown = 1e6 / scale * data[:, first : round((start + _PAGE) * sfreq) + 1]
    _draw_traces(axes, shown, first / sfreq, sfreq, channels, heights)
    _frame_page(axes, heights, start, _PAGE)
    _show_clock(axes)
    for span in spans:
        _mark_on_page(axes, span, heights, start, _PAGE)
    _draw_scale_bar(axes, min(heights.values()), scale)
    axes.set_title(
        f"montage: {montage}   ·   {scale:g} µV per division, negative up",
        loc="left",
        fontsize=9,
        color=FAINT,
        pad=18,
    )
    return figure


def _names(channels: Sequence[str]) -> float:
    """Return the inches that the names of channels need beside a page."""
    return 0.09 + text_width(channels, 9)


def _heights(channels: Sequence[str]) -> dict[str, float]:
    """Height of each channel's baseline in divisions, top to bottom, half a division between groups."""
    heights: dict[str, float] = {}
    height, before = 0.0, None
    for index in anatomical(channels):
        group = _site(channels[index])[0]
        height -= 1.0 if before in (None, group) else 1.5
        heights[channels[index]], before = height, group
    return heights


def _draw_traces(
    axes: Axes,
    divisions: np.ndarray,
    start: float,
    sfreq: float,
    channels: Sequence[str],
    heights: dict[str, float],
) -> None:
    times = start + np.arange(divisions.shape[1]) / sfreq
    for name, values in zip(channels, divisions, strict=True):
        axes.plot(times, heights[name] - values, color=INK, linewidth=0.6, zorder=3)


def _frame_page(
    axes: Axes, heights: dict[str, float], start: float, length: float, *, names: bool = True
) -> None:
    axes.set_xlim(start, start + length)
    axes.set_ylim(min(heights.values()) - 1, max(heights.values()) + 1)
    shown = heights if names else {}
    axes.set_yticks(list(shown.values()), list(shown), fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    despine(axes)


def _mark_on_page(
    axes: Axes, span: MarkedSpan, heights: dict[str, float], start: float, length: float
) -> None:
    low, high = max(span.onset, start), min(span.onset + span.duration, start + length)
    if low >= high:
        return
    axes.axvspan(low, high, color=MARK, alpha=0.07, linewidth=0, zorder=1)
    for name in span.channels:
        corner = (low, heights[name] - 0.5)
        axes.add_patch(Rectangle(corner, high - low, 1, color=MARK, alpha=0.28, linewidth=0, zorder=2))
    _label(axes, (low + high) / 2, span.label, lift=3)


def _draw_scale_bar(axes: Axes, bottom: float, scale: float) -> None:
    """Draw one division in the right margin, where no trace covers it."""
    margin = axes.get_yaxis_transform()  # x in axes, y in divisions
    axes.plot([1.012, 1.012], [bottom, bottom + 1], transform=margin, color=INK, linewidth=1.5, clip_on=False)
    axes.text(1.02, bottom + 0.5, f"{scale:g} µV", transform=margin, fontsize=8, color=INK, va="center")


def side_by_side(
    panels: Sequence[tuple[str, np.ndarray, MarkedSpan | None]],
    sfreq: float,
    channels: Sequence[str],
    *,
    scale: float,
) -> Figure:
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

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each window, not managed by pyplot.
    """
    heights = _heights(channels)
    height = 0.9 + _NARROW_ROW * np.ptp(list(heights.values()))
    figure = Figure(figsize=(11, height), dpi=160)
    across = figure.subplots(1, len(panels))
    set_margins(figure, _names(channels), 0.08, 0.37, 0.33, gaps=(0.15, 0))
    for axes, (title, window, mark) in zip(across, panels, strict=True):
        length = window.shape[1] / sfreq
        _draw_traces(axes, window / scale, 0.0, sfreq, channels, heights)
        _frame_page(axes, heights, 0.0, length, names=axes is across[0])
        axes.xaxis.set_major_locator(MultipleLocator(_tick(2 * length)))
        axes.set_xlabel("s")
        axes.set_title(title, fontsize=9, color=INK, pad=14)
        if mark is not None:
            _mark_on_page(axes, mark, heights, 0.0, length)
    return figure


def overview(
    times: np.ndarray,
    relevance: np.ndarray,
    window_onset: np.ndarray,
    window_logit: np.ndarray,
    spans: Sequence[MarkedSpan],
    *,
    window_length: float,
    contribution: np.ndarray | None = None,
) -> Figure:
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

    Returns
    -------
    matplotlib.figure.Figure
        Rows with one time axis, the last of them the attribution; not managed by pyplot.
    """
    rows = 2 if contribution is None else 3
    figure = Figure(figsize=(11, 0.4 + 1.5 * rows), dpi=160)
    evidence, *between, attribution = figure.subplots(rows, sharex=True)
    set_margins(figure, 0.64, 0.17, 0.37, 0.42, gaps=(0, 0.18))
    length = max(window_onset.max() + window_length, times.max())
    width = max(window_length, length / (2 * _COLUMNS))
    drawn = _extremes(window_logit)
    onset = window_onset[drawn]
    evidence.hlines(window_logit[drawn], onset, onset + width, color=INK, linewidth=1.8, zorder=3)
    evidence.set_ylabel("window evidence\n(logit)", fontsize=8, color=INK)
    drawn = _extremes(relevance)
    attribution.plot(times[drawn], relevance[drawn], color=INK, linewidth=0.7, zorder=3, rasterized=True)
    attribution.set_ylabel("attribution\n(logit)", fontsize=8, color=INK)
    if contribution is not None:
        drawn = _extremes(contribution)
        between[0].bar(window_onset[drawn], contribution[drawn], width, align="edge", color=INK, zorder=3)
        between[0].set_ylabel("contribution to the\nrecording (logit)", fontsize=8, color=INK)
    for axes in figure.axes:
        axes.axhline(0, color=FAINT, linewidth=0.6, zorder=2)
        despine(axes)
    for place, span in enumerate(sorted(spans, key=lambda span: span.onset)):
        for axes in figure.axes:
            _mark_on_strip(axes, span)
        _label(evidence, span.onset + span.duration / 2, span.label, lift=3 + 9 * (place % 3))
    attribution.set_xlim(0, length)
    attribution.xaxis.set_major_locator(MultipleLocator(_tick(length)))
    _show_clock(attribution)
    return figure


def _extremes(values: np.ndarray) -> np.ndarray:
    """Return the indices of the minimum and maximum of each column of ``values`` (N,); all of few values."""
    if len(values) <= 2 * _COLUMNS:
        return np.arange(len(values))
    columns = pairwise(np.linspace(0, len(values), _COLUMNS + 1).astype(int))
    ends = [start + end(values[start:stop]) for start, stop in columns for end in (np.argmin, np.argmax)]
    return np.unique(ends)


def _mark_on_strip(axes: Axes, span: MarkedSpan) -> None:
    """Shade a span, with an edge that is visible even if a second is less than a pixel."""
    end = span.onset + span.duration
    axes.axvspan(span.onset, end, facecolor=MARK, edgecolor=MARK, alpha=0.35, linewidth=0.8, zorder=1)


def _label(axes: Axes, time: float, text: str, *, lift: float) -> None:
    """Write ``text`` above the axes at ``time``, ``lift`` points from their edge."""
    axes.annotate(
        text,
        (time, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, lift),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        fontweight="bold",
        color=MARK,
    )


def _tick(length: float) -> float:
    """Return the step of a time axis of ``length`` s for at most twelve ticks at round clock times."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
    return next((step for step in steps if length / step <= 12), length / 12)


def _show_clock(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    axes.set_xlabel("time from the start of the recording (min:s)", fontsize=8, color=FAINT)


def clock(seconds: float) -> str:
    """Write a time as minutes and whole seconds, ``2:05``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
