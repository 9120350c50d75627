"""Topographic maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import mne
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from visualizers.style import INK, set_margins

_MONTAGE = "easycap-M1"

MIN_ELECTRODES = 8
"""Electrodes that a map needs: with fewer most of it would be extrapolated."""


@cache
def _positions() -> dict[str, np.ndarray]:
    montage = mne.channels.make_standard_montage(_MONTAGE)
    positions: dict[str, np.ndarray] = montage.get_positions()["ch_pos"]
    return positions


def placed(channels: Sequence[str]) -> list[int]:
    """Return the indices of the channels that are electrodes of the 10-10 system."""
    return [index for index, name in enumerate(channels) if name in _positions()]


def topographies(rows: Mapping[str, np.ndarray], channels: Sequence[str], titles: Sequence[str]) -> Figure:
    """Draw topographic maps, nose up: one row for each quantity, one column for each time.

    Parameters
    ----------
    rows
        Name with unit -> values (K, C); each map has its own scale, symmetric about 0.
    channels
        The C names; those outside the 10-10 system are left out.
    titles
        Titles of the K columns.

    Returns
    -------
    matplotlib.figure.Figure
        Not managed by pyplot.

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
    info = mne.create_info([channels[i] for i in known], 1.0, "eeg").set_montage(_MONTAGE)
    figure = Figure(figsize=(2.1 * len(titles) + 0.4, 2.5 * len(rows)), dpi=120)
    heads = figure.subplots(len(rows), len(titles), squeeze=False)
    set_margins(figure, 0.04, 0.58, 0.5, 0.5, gaps=(0.56, 0.99))
    for across, (name, values) in zip(heads, rows.items(), strict=True):
        for axes, title, value in zip(across, titles, values[:, known], strict=True):
            limit = float(np.abs(value).max()) or 1.0
            image, _ = mne.viz.plot_topomap(
                value,
                info,
                axes=axes,
                show=False,
                vlim=(-limit, limit),
                cmap="RdBu_r",
                contours=4,
                sensors="k.",
            )
            _draw_scale(axes, image, limit)
            axes.set_title(f"{title}\n{name}", fontsize=8, color=INK)
    return figure


def _draw_scale(axes: Axes, image: AxesImage, limit: float) -> None:
    """Draw the colours from ``-limit`` to ``limit`` beside a map; a colorbar takes as long as the map."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    first, last = (right + part * (right - left) for part in (0.08, 0.12))
    colours = np.linspace(-1, 1, 64)[:, None]
    extent = first, last, bottom, top
    axes.imshow(colours, image.get_cmap(), extent=extent, origin="lower", clip_on=False)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    for height, value in ((0.0, -limit), (0.5, 0.0), (1.0, limit)):
        axes.text(1.15, height, f"{value:.3g}", transform=axes.transAxes, fontsize=7, color=INK, va="center")
