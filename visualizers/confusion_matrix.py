"""The confusion matrix of a classifier as an image of pixels, which takes far less time than a figure."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SHADES = 64  # of the palette, white to blue; then the colours of text on light and on dark cells
_INK, _LIGHT_INK = _SHADES, _SHADES + 1
_PALETTE = np.vstack([np.linspace((255, 255, 255), (8, 64, 129), _SHADES), (31, 41, 51), (255, 255, 255)])
_MOST_NUMBERS = 20  # classes; with more the numbers are not legible
_WIDTH = 350  # pixels of an image that TensorBoard does not scale
_DIGIT, _LINE = 7, 16  # pixels: width of a digit, height of a line of text


def confusion(counts: np.ndarray) -> Image.Image:
    """Draw a confusion matrix.

    Parameters
    ----------
    counts
        (K, K) integers; the row is the true class, the column the predicted one.

    Returns
    -------
    PIL.Image.Image
        With a palette.  Colours show the fraction of the row.  Up to 20 classes are numbered, with the counts
        in their cells.

    Examples
    --------
    >>> import numpy as np
    >>> from visualizers import confusion
    >>> confusion(np.array([[50, 2], [3, 45]])).size
    (350, 350)
    """
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shades = np.rint((_SHADES - 1) * fractions).astype(np.uint8)
    classes = np.arange(len(counts))
    margin = 2 * _LINE
    side = max(1, (_WIDTH - margin) // len(classes))
    if is_numbered := len(classes) <= _MOST_NUMBERS:
        side = max(side, _LINE, _DIGIT * len(str(counts.max())) + 3)
        ink = np.where(fractions > 0.5, _LIGHT_INK, _INK).astype(np.uint8)
        matrix = np.where(_numbers(counts, side, side), _squares(ink, side), _squares(shades, side))
    else:
        matrix = _squares(shades, side)
    length = len(matrix)
    page = np.zeros((length + margin, max(_WIDTH, margin + length)), np.uint8)
    rows, columns = slice(length), slice(margin, margin + length)
    page[rows, columns] = matrix
    if is_numbered:
        page[rows, _LINE:margin] = _INK * _numbers(classes[:, None], side, _LINE)
        page[length : length + _LINE, columns] = _INK * _numbers(classes[None], _LINE, side)
    page[-_LINE:, columns] = _INK * _text("predicted class", length)
    page[rows, :_LINE] = np.rot90(_INK * _text("true class", length))
    image = Image.fromarray(page)
    image.putpalette(_PALETTE.round().astype(np.uint8).tobytes())
    return image


def _squares(values: np.ndarray, side: int) -> np.ndarray:
    """Return each value of (R, C) as a square of pixels."""
    return values.repeat(side, 0).repeat(side, 1)


def _numbers(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return integers (R, C) in the middle of cells of ``height`` and ``width``, as pixels 0 and 1."""
    cells = np.zeros((*values.shape, height, width), np.uint8)
    lengths = np.char.str_len(values.astype(str))
    top = (height - _LINE) // 2
    for length in np.unique(lengths):
        chosen = lengths == length
        digits = values[chosen, None] // 10 ** np.arange(length)[::-1] % 10
        left = (width - length * _DIGIT) // 2
        number = _digits()[digits].swapaxes(1, 2).reshape(len(digits), _LINE, -1)
        cells[chosen, top : top + _LINE, left : left + length * _DIGIT] = number
    return cells.swapaxes(1, 2).reshape(len(values) * height, -1)


@cache
def _digits() -> np.ndarray:
    """Return the ten digits, (10, _LINE, _DIGIT), as pixels 0 and 1."""
    return np.stack([_text(str(digit), _DIGIT) for digit in range(10)])


@cache
def _text(text: str, width: int) -> np.ndarray:
    """Return a line of text in the middle of ``width`` pixels, (_LINE, width), as pixels 0 and 1."""
    image, font = Image.new("1", (width, _LINE)), ImageFont.load_default(12)
    left = (width - round(font.getlength(text))) // 2  # pixels, as a fraction of one would change the digits
    ImageDraw.Draw(image).text((left, 12), text, fill=1, font=font, anchor="ls")
    return np.asarray(image).astype(np.uint8)
