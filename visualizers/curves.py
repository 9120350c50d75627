"""How well a classifier does, as figures."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

_INK, _PAPER = "#1f2933", "#ffffff"
_MOST_NUMBERS = 20  # classes; with more the numbers would not be legible


def confusion(counts: np.ndarray) -> Figure:
    """Draw a confusion matrix: how many samples of each class were taken for each class.

    Parameters
    ----------
    counts
        (K, K) whole numbers; the row is the true class, the column the predicted one.

    Returns
    -------
    matplotlib.figure.Figure
        Colours show the share of the row; it belongs to no pyplot state.
    """
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(4.2, 4.0), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class", fontsize=9, color=_INK)
    axes.set_ylabel("true class", fontsize=9, color=_INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8, labelcolor=_INK)
    if classes <= _MOST_NUMBERS:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for (row, column), count in np.ndenumerate(counts):
            colour = _PAPER if shares[row, column] > 0.5 else _INK
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    return figure
