"""Figures as lines, texts and images: written as SVG, or drawn by matplotlib where pixels are needed.

matplotlib takes a second to import and a quarter of a second for a page of EEG, which is milliseconds here.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING

import numpy as np

from visualizers.style import GRID, INK, MARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
"""Left, top, width and height in points, from the upper left corner of a drawing."""
_UNIT = 10  # of a point: SVG has whole numbers of these
_COLUMNS = 1500  # about the number of pixels across a page
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Lines:
    """Lines through points (n, 2), or if ``width`` is 0 the areas that they enclose; cut off at ``clip``."""

    points: Sequence[np.ndarray]
    color: str
    width: float = 0.0
    opacity: float = 1.0
    dashed: bool = False
    clip: Box | None = None

    def svg(self) -> str:
        """Return the element."""
        paint = f'fill="{self.color}"'
        if self.width:
            paint = f'fill="none" stroke="{self.color}" stroke-width="{_UNIT * self.width:g}"'
        if self.opacity < 1:
            paint += f' opacity="{self.opacity:g}"'
        if self.dashed:
            paint += f' stroke-dasharray="{4 * _UNIT * self.width:g}"'
        element = f'<path {paint} d="{"".join(map(_path, self.points))}"/>'
        if self.clip is None:
            return element
        x, y, width, height = _units(self.clip)  # a nested element shows nothing outside of it
        place = f'x="{x}" y="{y}" width="{width}" height="{height}"'
        return f'<svg {place} viewBox="{x} {y} {width} {height}">{element}</svg>'

    def draw(self, axes: Axes) -> None:
        """Draw the lines with matplotlib."""
        from matplotlib.collections import LineCollection, PolyCollection
        from matplotlib.patches import Rectangle

        lines: LineCollection | PolyCollection
        if self.width:
            dashes = "--" if self.dashed else "-"
            lines = LineCollection(
                self.points,
                colors=self.color,
                linewidths=self.width,
                linestyles=dashes,
                alpha=self.opacity,
            )
        else:
            lines = PolyCollection(self.points, facecolors=self.color, alpha=self.opacity)
        axes.add_collection(lines, autolim=False)
        if self.clip is not None:
            x, y, width, height = self.clip
            lines.set_clip_path(Rectangle((x, y), width, height, transform=axes.transData))


@dataclass(frozen=True)
class Text:
    """A text at a point of its base line: its start, middle or end."""

    text: str
    x: float
    y: float
    size: float = 8.0
    color: str = INK
    anchor: str = "middle"
    bold: bool = False
    upward: bool = False

    def svg(self) -> str:
        """Return the element."""
        x, y, size = _units((self.x, self.y, self.size))
        more = ' font-weight="bold"' if self.bold else ""
        if self.upward:
            more += f' transform="rotate(-90 {x} {y})"'
        style = f'font-size="{size}" fill="{self.color}" text-anchor="{self.anchor}"{more}'
        return f'<text x="{x}" y="{y}" {style}>{escape(_printable(self.text))}</text>'

    def draw(self, axes: Axes) -> None:
        """Draw the text with matplotlib."""
        axes.text(
            self.x,
            self.y,
            _printable(self.text),
            fontsize=self.size,
            color=self.color,
            fontweight="bold" if self.bold else "normal",
            ha={"start": "left", "middle": "center", "end": "right"}[self.anchor],
            va="baseline",
            rotation=90 if self.upward else 0,
            rotation_mode="anchor",
            parse_math=False,
        )


@dataclass(frozen=True)
class Image:
    """Pixels (H, W, 4) of red, green, blue and opacity, 0 to 255, the upper row first, in a box."""

    pixels: np.ndarray
    box: Box

    def svg(self) -> str:
        """Return the element, which contains the image as PNG."""
        from PIL import Image as Pillow

        file = BytesIO()
        Pillow.fromarray(self.pixels).save(file, "PNG")
        x, y, width, height = _units(self.box)
        place = f'x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none"'
        return f'<image {place} href="data:image/png;base64,{b64encode(file.getvalue()).decode()}"/>'

    def draw(self, axes: Axes) -> None:
        """Draw the image with matplotlib."""
        x, y, width, height = self.box
        axes.imshow(
            self.pixels,
            extent=(x, x + width, y + height, y),
            aspect="auto",
            interpolation="bilinear",
            zorder=1,
        )


@dataclass
class Drawing:
    """A figure of a width and height in points, 1/72 inch; each part covers those before it.

    A notebook shows it.
    """

    width: float
    height: float
    parts: list[Lines | Text | Image] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)

    def add(self, *parts: Lines | Text | Image) -> None:
        """Add parts on top of the others."""
        self.parts += parts

    def panel(self, box: Box, across: tuple[float, float], up: tuple[float, float]) -> Panel:
        """Add axes in a box, for values between these limits; see `Panel`."""
        self.panels.append(Panel(self, box, across, up))
        return self.panels[-1]

    def svg(self, title: str = "") -> str:
        """Return an SVG element, as wide as what contains it, with a title for screen readers."""
        width, height = _units((self.width, self.height))
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        title = f' aria-label="{escape(_printable(title))}"' if title else ""
        return f"{head}{title}>\n" + "\n".join(part.svg() for part in self.parts) + "\n</svg>"

    def _repr_svg_(self) -> str:
        return self.svg()

    def figure(self, dpi: float = 160) -> Figure:
        """Return a figure of matplotlib, not managed by pyplot."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=dpi)
        axes = figure.add_axes((0, 0, 1, 1))
        for part in self.parts:
            part.draw(axes)
        for order, artist in enumerate((*axes.images, *axes.collections, *axes.texts)):
            artist.set_zorder(order)
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return figure


@dataclass(frozen=True)
class Panel:
    """Axes: a box of a drawing for values between limits ``across`` and ``up``."""

    drawing: Drawing
    box: Box
    across: tuple[float, float]
    up: tuple[float, float]

    def place(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Return the points (..., 2) of values x and y (...)."""
        left, top, width, height = self.box
        (west, east), (low, high) = self.across, self.up
        points = np.broadcast_arrays(
            left + width * (np.asarray(x) - west) / (east - west),
            top + height * (high - np.asarray(y)) / (high - low),
        )
        return np.stack(points, -1)

    def values(self, points: np.ndarray) -> np.ndarray:
        """Return the values (..., 2) at points, the inverse of `place`."""
        (left, top, width, height), (west, east), (low, high) = self.box, self.across, self.up
        x, y = (points[..., 0] - left) / width, (points[..., 1] - top) / height
        return np.stack([west + x * (east - west), high - y * (high - low)], -1)

    def lines(self, x: np.ndarray, y: np.ndarray, color: str, width: float, *, dashed: bool = False) -> None:
        """Draw a line through values (n,), or each line of (L, n); cut off at the box."""
        points = self.place(x, y)
        shown = points[None] if points.ndim == 2 else points
        self.drawing.add(Lines(list(shown), color, width, dashed=dashed, clip=self.box))

    def areas(
        self,
        left: np.ndarray | float,
        right: np.ndarray | float,
        bottom: np.ndarray | float,
        top: np.ndarray | float,
        color: str,
        opacity: float = 1.0,
    ) -> None:
        """Fill rectangles (n,); cut off at the box."""
        left, right, bottom, top = map(np.ravel, np.broadcast_arrays(left, right, bottom, top))
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        points = np.stack([self.place(x, y) for x, y in corners], 1)
        self.drawing.add(Lines(list(points), color, opacity=opacity, clip=self.box))

    def frame(self) -> None:
        """Draw the left and lower edge."""
        left, top, width, height = self.box
        corner = np.array([[left, top], [left, top + height], [left + width, top + height]])
        self.drawing.add(Lines([corner], GRID, 0.8))

    def ticks_across(self, values: Iterable[float], labels: Iterable[str], *, grid: bool = False) -> None:
        """Write labels below, with lines above them."""
        (_, top, _, height), bottom = self.box, self.box[1] + self.box[3]
        for value, label in zip(values, labels, strict=True):
            x = float(self.place(value, 0)[0])
            if grid:
                self.drawing.add(Lines([np.array([[x, top], [x, top + height]])], GRID, 0.8))
            self.drawing.add(Text(label, x, bottom + 11))

    def ticks_up(self, values: Iterable[float], labels: Iterable[str], size: float = 8) -> None:
        """Write labels on the left."""
        for value, label in zip(values, labels, strict=True):
            y = float(self.place(0, value)[1])
            self.drawing.add(Text(label, self.box[0] - 4, y + 0.35 * size, size, anchor="end"))

    def name_across(self, text: str, color: str = INK) -> None:
        """Write what the horizontal axis is."""
        left, top, width, height = self.box
        self.drawing.add(Text(text, left + width / 2, top + height + 23, color=color))

    def name_up(self, *lines: str, distance: float = 30) -> None:
        """Write what the vertical axis is, upward, ``distance`` points to the left."""
        left, top, _, height = self.box
        for i, line in enumerate(reversed(lines)):
            self.drawing.add(Text(line, left - distance - 10 * i, top + height / 2, upward=True))

    def title(self, text: str, color: str = INK, *, lift: float = 6, anchor: str = "start") -> None:
        """Write a title above, ``lift`` points from the box, at its start or its middle."""
        left, top, width, _ = self.box
        x = left if anchor == "start" else left + width / 2
        self.drawing.add(Text(text, x, top - lift, 9, color, anchor))

    def label(self, x: float, text: str, *, lift: float = 3, color: str = MARK, bold: bool = True) -> None:
        """Write a text above at ``x``, ``lift`` points from the box."""
        if text:
            at = float(self.place(x, 0)[0])
            self.drawing.add(Text(text, at, self.box[1] - lift, color=color, bold=bold))


def limits(*values: np.ndarray, margin: float = 0.05) -> tuple[float, float]:
    """Return limits of an axis for all values, with a margin as a fraction of their range."""
    found = np.concatenate([np.ravel(v) for v in values])
    low, high = float(found.min()), float(found.max())
    edge = margin * (high - low) or 0.5
    return low - edge, high + edge


def round_ticks(low: float, high: float, most: int) -> tuple[list[float], list[str]]:
    """Return at most ``most`` + 1 round values from ``low`` to ``high``, and their labels.

    If both are the same it is the only one.
    """
    if low == high:
        return [low], [f"{low:g}"]
    least = (high - low) / most
    power = 10.0 ** floor(log10(least))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= least * (1 - 1e-9))
    values = [step * i for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
    return values, [f"{value:g}" for value in values]


def extremes(values: np.ndarray) -> np.ndarray:
    """Return the indices of the minimum and maximum of each column of pixels of ``values`` (N,).

    All if there are few values.
    """
    if len(values) <= 2 * _COLUMNS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), _COLUMNS + 1).astype(int)
    columns = pairwise(edges)
    ends = [start + end(values[start:stop]) for start, stop in columns for end in (np.argmin, np.argmax)]
    return np.unique(ends)


def circle(x: float, y: float, radius: float, corners: int = 16) -> np.ndarray:
    """Return a closed line (corners + 1, 2) around a point."""
    angle = np.linspace(0, 2 * np.pi, corners + 1)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], -1)


def _path(points: np.ndarray) -> str:
    """Return a line as SVG writes it: the first point, and the steps to the others."""
    if not np.isfinite(points).all():
        raise ValueError("a line has points that are not finite")
    if not len(points):
        return ""
    whole = np.rint(_UNIT * points).astype(int)
    steps = " ".join(map(str, np.diff(whole, axis=0).ravel().tolist()))
    return f"M{whole[0, 0]} {whole[0, 1]}l{steps}"


def _printable(text: str) -> str:
    """Return a text with U+FFFD for the characters that XML 1.0 does not have."""
    return _NOT_XML.sub("\ufffd", text)


def _units(values: Iterable[float]) -> list[int]:
    return [round(_UNIT * value) for value in values]
