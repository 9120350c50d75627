"""Topographic maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import mne
import numpy as np
from matplotlib.figure import Figure

from visualizers.style import INK

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
    figure = Figure(figsize=(2.1 * len(titles) + 0.4, 2.5 * len(rows)), dpi=120, layout="constrained")
    heads = figure.subplots(len(rows), len(titles), squeeze=False)
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
            bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=[-limit, 0, limit], format="%.3g")
            bar.ax.tick_params(labelsize=7, labelcolor=INK, length=0)
            bar.outline.set_visible(False)
            axes.set_title(f"{title}\n{name}", fontsize=8, color=INK)
    return figure
