"""Colours and axes of all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, GRID, PAPER = "#1f2933", "#7b8794", "#dde3ea", "#ffffff"
MARK = "#d9480f"  # the model's attribution, and epilepsy
OTHER = "#1971c2"  # what it is compared with


def despine(axes: Axes) -> None:
    """Remove the top and right spines and the ticks; use the colours of the figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    axes.xaxis.label.set(fontsize=8, color=INK)
    axes.yaxis.label.set(fontsize=8, color=INK)
