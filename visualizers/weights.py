"""What units look for: their incoming weights as pictures."""

from __future__ import annotations

import math

import numpy as np

_GAP = 1  # pixels between neighbours
_PAPER = 1.0  # white: the colour of a weight of zero, and of the gaps


def receptive_fields(weights: np.ndarray, most: int = 64) -> np.ndarray:
    """Tile the incoming weights of units, red where positive, blue where negative, white at zero.

    Each unit has its own scale, so that its largest absolute weight is in full colour.

    Parameters
    ----------
    weights
        One picture a unit, (units, height, width).
    most
        How many units to show, the first ones.

    Returns
    -------
    numpy.ndarray
        RGB in [0, 1], (3, rows, columns), float32: the tiles in reading order, as square as they go.
    """
    if weights.ndim != 3:
        raise ValueError(f"weights must be (units, height, width), got {weights.shape}")
    tiles = np.stack([_coloured(w) for w in weights[:most]])
    count, _, height, width = tiles.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    shape = (3, rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    page = np.full(shape, _PAPER, np.float32)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + _GAP), (i % columns) * (width + _GAP)
        page[:, top : top + height, left : left + width] = tile
    return page


def _coloured(w: np.ndarray) -> np.ndarray:
    """Colour one picture (height, width) as (3, height, width)."""
    strength = w / max(np.abs(w).max(), np.finfo(w.dtype).tiny)
    fade_red, fade_blue = 1 - np.clip(-strength, 0, 1), 1 - np.clip(strength, 0, 1)
    return np.stack([fade_red, np.minimum(fade_red, fade_blue), fade_blue])
