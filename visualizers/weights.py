"""The incoming weights of units as images."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from hebbian.diagnostics import projections
from hebbian.synapse import Synaptic, synaptic, weight_layers

_GAP = 1  # pixels between neighbours
_GATES = 32  # approximate number of inputs over which the gates of the layers below are averaged
_PAPER = 1.0  # white: the colour of the gaps, and of a weight of zero on one channel


def receptive_fields(weights: np.ndarray, most: int = 64) -> np.ndarray:
    """Tile the incoming weights of units, red where positive, blue where negative, white at zero.

    Weights of three channels are shown as RGB, grey at zero; those of another number of channels one
    channel below the other.  Each unit is scaled to its largest absolute weight.  Weights that are not
    finite are shown as zero.

    Parameters
    ----------
    weights
        One image for each unit, (units, height, width) or (units, channels, height, width).
    most
        Number of units to show, the first ones.

    Returns
    -------
    numpy.ndarray
        RGB in [0, 1], (3, rows, columns), float32: the tiles row by row, in a grid close to a square.

    Raises
    ------
    ValueError
        If ``weights`` have another number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> from visualizers import receptive_fields
    >>> receptive_fields(np.random.default_rng(0).normal(size=(4, 28, 28))).shape
    (3, 57, 57)
    """
    if weights.ndim not in (3, 4):
        raise ValueError(
            f"weights must be (units, height, width) or (units, channels, height, width), got {weights.shape}"
        )
    tiles = _coloured(weights[:most])
    count, _, height, width = tiles.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    shape = (3, rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    page = np.full(shape, _PAPER, np.float32)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + _GAP), (i % columns) * (width + _GAP)
        page[:, top : top + height, left : left + width] = tile
    return page


def weight_images(
    model: nn.Module, x: Tensor | None, image: tuple[int, int] | None, most: int
) -> dict[str, np.ndarray]:
    """Return the preferred inputs of the units of each Linear and ConvNd layer, where they are images.

    The first layer is shown by its weights, a deeper one by its `hebbian.diagnostics.projections`, times the
    standard deviation of each input (constant inputs affect no unit), cropped to the receptive field.

    Parameters
    ----------
    model
        Any module.
    x
        Inputs (N, ...) for the standard deviation, and some of them for the projections; without them only
        the first layer is shown.
    image
        Height and width of a flat input; without it inputs (N, height, width) and (N, channels, height,
        width) are used unchanged, and others have no image.
    most
        Number of units of a deeper layer.

    Returns
    -------
    dict
        By path of the layer, as arguments of `receptive_fields`.
    """
    if image is None and x is not None and x.is_floating_point() and x.ndim in (3, 4):
        shape: tuple[int, ...] | None = tuple(x.shape[1:])
    else:
        shape = image
    paths = weight_layers(model)
    images = {}
    for path in paths[:1]:
        if (own := _own_weights(synaptic(model, path), shape)) is not None:
            images[path] = own
    if x is not None and shape is not None and x[0].numel() == math.prod(shape):
        some = x[:: max(1, len(x) // _GATES)]
        for path, w in projections(model, paths[1:], some, most).items():
            images[path] = _cropped(_plain((w * x.std(0, correction=0)).view(-1, *shape)))
    return images


def _own_weights(layer: Synaptic, shape: tuple[int, ...] | None) -> np.ndarray | None:
    w = _plain(layer.weight.detach())
    if not isinstance(layer, nn.Linear):
        return w if w.ndim == 4 else w.reshape(len(w), -1, w.shape[-1])
    if shape is not None and math.prod(shape) == w.shape[1]:
        return w.reshape(len(w), *shape)
    return None


def _plain(w: Tensor) -> np.ndarray:
    return w.cpu().float().numpy()


def _cropped(weights: np.ndarray) -> np.ndarray:
    """Crop images (..., height, width) to the smallest frame that contains all nonzero values."""
    used = np.any(weights != 0, axis=tuple(range(weights.ndim - 2)))
    if not used.any():
        return weights
    rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
    return weights[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _coloured(w: np.ndarray) -> np.ndarray:
    """Colour (units, height, width) or (units, channels, height, width), as (units, 3, rows, columns)."""
    w = np.where(np.isfinite(w), w, 0)
    largest = np.abs(w).max(tuple(range(1, w.ndim)), keepdims=True)
    strength = w / np.maximum(largest, np.finfo(w.dtype).tiny)
    if w.ndim == 4 and w.shape[1] == 3:
        return (1 + strength) / 2
    strength = strength.reshape(len(w), -1, w.shape[-1])
    fade_red, fade_blue = 1 - np.clip(-strength, 0, 1), 1 - np.clip(strength, 0, 1)
    return np.stack([fade_red, np.minimum(fade_red, fade_blue), fade_blue], 1)
