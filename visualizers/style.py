"""Colours and axes of all figures."""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

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


def set_margins(
    figure: Figure, left: float, right: float, bottom: float, top: float, gaps: tuple[float, float] = (0, 0)
) -> None:
    """Place the subplots of a figure; a layout engine takes as long for it as the whole drawing.

    Parameters
    ----------
    figure
        With at least one subplot.
    left, right, bottom, top
        Inches beside the subplots.
    gaps
        Inches between columns, and between rows.
    """
    grid = figure.axes[0].get_gridspec()
    assert grid is not None
    sizes = figure.get_size_inches() - (left + right, bottom + top)
    width, height = (
        (size - (count - 1) * gap) / count
        for size, count, gap in zip(sizes, (grid.ncols, grid.nrows), gaps, strict=True)
    )
    across, up = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / across,
        right=1 - right / across,
        bottom=bottom / up,
        top=1 - top / up,
        wspace=gaps[0] / width,
        hspace=gaps[1] / height,
    )


def text_width(texts: Iterable[str], size: float) -> float:
    """Return the inches that the longest of some texts takes in points of ``size``."""
    font = FontProperties(size=size)
    widths = (text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts)
    return max(widths, default=0.0) / 72


def fix_layout(figure: Figure) -> None:
    """Arrange the parts of a figure once and for all: saving one with a layout engine draws it twice."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
