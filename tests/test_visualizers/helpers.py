"""What a drawing shows, in the units of its panels."""

import numpy as np

from visualizers.drawing import Drawing, Lines, Panel, Text


def lines(panel: Panel, color: str | None = None) -> list[np.ndarray]:
    """Return the lines of each part of a panel that has some, (L, n, 2) each in its units."""
    return _parts(panel, color, areas=False)


def areas(panel: Panel, color: str | None = None) -> list[np.ndarray]:
    """Return the corners of each part of a panel that has areas, (L, 4, 2) each in its units."""
    return _parts(panel, color, areas=True)


def _parts(panel: Panel, color: str | None, *, areas: bool) -> list[np.ndarray]:
    return [
        panel.values(np.array(part.points))
        for part in panel.drawing.parts
        if isinstance(part, Lines)
        and part.clip == panel.box
        and (not part.width) == areas
        and part.color == (color or part.color)
    ]


def texts(drawing: Drawing) -> list[str]:
    """Return the texts of a drawing, in the order in which they are drawn."""
    return [part.text for part in drawing.parts if isinstance(part, Text)]
