"""Topographic maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from visualizers.drawing import Drawing, Image, Lines, Text, circle
from visualizers.style import INK

_MONTAGE = "easycap-M1"
_RIM = np.deg2rad(115)  # from the vertex to nasion and inion, the circumference of the 10-20 system
_PIXELS = 96
_RADIUS, _ACROSS, _DOWN = 48.0, 158.0, 164.0  # points: of a head, and from one map to the next
_CONTOURS = (-0.6, -0.2, 0.2, 0.6)  # of the largest absolute value
_COLORS = (
    *("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7"),
    *("#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
)
"""ColorBrewer's RdBu, from the lowest value to the highest."""

MIN_ELECTRODES = 8
"""Electrodes that a map needs: with fewer most of it would be extrapolated."""


@cache
def _positions() -> dict[str, np.ndarray]:
    import mne

    montage = mne.channels.make_standard_montage(_MONTAGE)
    positions: dict[str, np.ndarray] = montage.get_positions()["ch_pos"]
    return positions


def placed(channels: Sequence[str]) -> list[int]:
    """Return the indices of the channels that are electrodes of the 10-10 system."""
    return [index for index, name in enumerate(channels) if name in _positions()]


def topographies(rows: Mapping[str, np.ndarray], channels: Sequence[str], titles: Sequence[str]) -> Drawing:
    """Draw topographic maps, nose up: one row for each quantity, one column for each time.

    Electrodes are at their angle from the vertex (azimuthal equidistant); values between them are those of a
    biharmonic spline (Sandwell 1987), as in EEGLAB.

    Parameters
    ----------
    rows
        Name with unit -> values (K, C); each map has its own scale, symmetric about 0.
    channels
        The C names; those outside the 10-10 system are left out.
    titles
        Titles of the K columns.

    Raises
    ------
    ValueError
        If fewer than eight channels are electrodes of the 10-10 system.
    """
    known = placed(channels)
    if len(known) < MIN_ELECTRODES:
        raise ValueError(
            f"{len(known)} of {len(channels)} channels are electrodes of the 10-10 system, "
            f"expected at least {MIN_ELECTRODES}"
        )
    sites = np.array([_project(_positions()[channels[i]]) for i in known])
    grid = np.linspace(-1, 1, _PIXELS + 1)[:-1] + 1 / _PIXELS  # the centres of pixels
    pixels = np.stack(np.meshgrid(grid, -grid), -1)
    drawing = Drawing(max(792.0, _ACROSS * len(titles)), _DOWN * len(rows))
    for down, (name, values) in enumerate(rows.items()):
        maps = interpolate(sites, values[:, known].T, pixels.reshape(-1, 2)).T
        for across, (title, value) in enumerate(zip(titles, values[:, known], strict=True)):
            limit = float(np.abs(value).max()) or 1.0
            x, y = _ACROSS * across + _RADIUS + 14, _DOWN * down + _RADIUS + 46
            drawing.add(
                Text(title, x, y - _RADIUS - 30),
                Text(name, x, y - _RADIUS - 20),
                Image(_paint(maps[across].reshape(_PIXELS, _PIXELS) / limit, pixels), _around(x, y)),
            )
            _draw_contours(drawing, maps[across].reshape(_PIXELS, _PIXELS) / limit, pixels, x, y)
            _draw_head(drawing, x, y)
            dots = [circle(x + _RADIUS * a, y - _RADIUS * b, 1.5, 12) for a, b in sites]
            drawing.add(Lines(dots, INK))
            _draw_scale(drawing, limit, x + _RADIUS + 14, y)
    return drawing


def _project(position: np.ndarray) -> np.ndarray:
    """Return where a point of the head (3,) is on a map whose circumference is at radius 1."""
    x, y, z = position / np.linalg.norm(position)
    return np.arccos(z) / _RIM * np.array([x, y]) / max(np.hypot(x, y), 1e-9)


def interpolate(sites: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the biharmonic spline (M, K) through values (C, K) at sites (C, 2), at other places (M, 2).

    Sandwell 1987, equation 1, with the Green's function of two dimensions, r² (ln r - 1).
    """

    def green(places: np.ndarray) -> np.ndarray:
        squared = np.square(places[:, None] - sites).sum(-1)
        logarithm = np.log(squared, where=squared > 0, out=np.zeros_like(squared))
        return squared * (logarithm / 2 - 1)

    return green(at) @ np.linalg.solve(green(sites), values)


def _paint(values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the colours (H, W, 4) of values from -1 to 1, transparent outside the head."""
    table = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in _COLORS])
    place = np.linspace(-1, 1, len(table))
    inside = np.clip((1 - np.hypot(*np.moveaxis(pixels, -1, 0))) * _PIXELS / 2 + 0.5, 0, 1)
    colors = [np.interp(values, place, channel) for channel in table.T]
    return np.stack([*colors, 255 * inside], -1).round().astype(np.uint8)


def _around(x: float, y: float) -> tuple[float, float, float, float]:
    return x - _RADIUS, y - _RADIUS, 2 * _RADIUS, 2 * _RADIUS


def _draw_contours(drawing: Drawing, values: np.ndarray, pixels: np.ndarray, x: float, y: float) -> None:
    """Draw lines of equal value, those below 0 dashed."""
    from contourpy import LineType, contour_generator

    inside = np.ma.masked_where(np.hypot(*np.moveaxis(pixels, -1, 0)) > 1, values)
    contours = contour_generator(pixels[0, :, 0], pixels[:, 0, 1], inside, line_type=LineType.Separate)
    for level in _CONTOURS:
        lines = [np.array((x, y)) + _RADIUS * np.array(line) * (1, -1) for line in contours.lines(level)]
        drawing.add(Lines(lines, INK, 0.6, dashed=level < 0))


def _draw_head(drawing: Drawing, x: float, y: float) -> None:
    """Draw the circumference, the nose and the ears."""
    nose = np.array([[-0.18, -0.985], [0, -1.15], [0.18, -0.985]])
    angle = np.linspace(-1, 1, 16)
    ear = np.stack([0.99 + 0.09 * np.cos(angle * np.pi / 2), 0.24 * np.sin(angle * np.pi / 2)], -1)
    outline = [circle(0, 0, 1, 64), nose, ear, ear * (-1, 1)]
    drawing.add(Lines([(x, y) + _RADIUS * line for line in outline], INK, 1.2))


def _draw_scale(drawing: Drawing, limit: float, x: float, y: float) -> None:
    """Draw the colours from ``-limit`` to ``limit`` beside a map."""
    values = np.linspace(1, -1, 64)[:, None]
    drawing.add(Image(_paint(values, np.zeros((64, 1, 2))), (x, y - _RADIUS, 5, 2 * _RADIUS)))
    for height, value in ((1, limit), (0, 0.0), (-1, -limit)):
        drawing.add(Text(f"{value:.3g}", x + 8, y - _RADIUS * height + 2.5, 7, anchor="start"))
