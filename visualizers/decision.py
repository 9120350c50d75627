"""Figures of one decision: the score among others, and what the explanation removes from it."""

from __future__ import annotations

import numpy as np

from visualizers.drawing import Drawing, Lines, Text, limits, round_ticks
from visualizers.style import FAINT, INK, MARK, OTHER

_WIDTH = 792.0  # points, 11 inches


def plot_removal(
    deletion: np.ndarray, insertion: np.ndarray, random: tuple[np.ndarray, np.ndarray]
) -> Drawing:
    """Draw a probability during deletion and insertion of the strongest evidence.

    Parameters
    ----------
    deletion, insertion
        (S + 1,) each: the probability after each of S steps.
    random
        The same two for a random order.
    """
    drawing = Drawing(_WIDTH, 259)
    width, ticks = (_WIDTH - 72) / 2, round_ticks(0, 1, 5)
    pairs = zip(("deleted", "inserted"), (deletion, insertion), random, strict=True)
    for number, (name, curve, chance) in enumerate(pairs):
        panel = drawing.panel((34 + number * (width + 32), 18, width, 212), (0, 1), (-0.02, 1.02))
        panel.frame()
        panel.ticks_across(*ticks)
        panel.name_across(f"fraction of the signal {name}")
        panel.title(name)
        fraction = np.linspace(0, 1, len(curve))
        for line, color in ((chance, FAINT), (curve, MARK)):
            panel.lines(fraction, line, color, 1.5)
        x, top = panel.box[0] + width - 96, 34 if curve[0] > curve[-1] else 200  # where the curves are not
        for row, (text, color) in enumerate((("in random order", FAINT), ("strongest first", MARK))):
            y = top + 14 * row
            drawing.add(Lines([np.array([[x, y - 3], [x + 16, y - 3]])], color, 1.5))
            drawing.add(Text(text, x + 22, y, anchor="start"))
    first = drawing.panels[0]
    first.ticks_up(*ticks)
    first.name_up("mean probability of the windows", distance=24)
    return drawing


def score_distribution(epilepsy: np.ndarray, control: np.ndarray, score: float) -> Drawing:
    """Draw a raw score and the distribution of those of the calibration subjects.

    Parameters
    ----------
    epilepsy, control
        (n,) and (m,): one raw score for each subject.
    score
        Raw score of the recording.
    """
    drawing = Drawing(_WIDTH, 115)
    across = limits(epilepsy, control, np.array(score))
    panel = drawing.panel((76, 14, _WIDTH - 84, 74), across, (-0.6, 1.6))
    panel.frame()
    panel.ticks_across(*round_ticks(*across, 10))
    panel.ticks_up((0, 1), (f"control ({len(control)})", f"epilepsy ({len(epilepsy)})"))
    panel.name_across("raw score of a recording (logit of the network)")
    for row, (values, color) in enumerate(((control, OTHER), (epilepsy, MARK))):
        panel.lines(
            np.repeat(values[:, None], 2, 1), row + np.tile((-0.22, 0.22), (len(values), 1)), color, 1.5
        )
    panel.lines(np.full(2, score), np.array(panel.up), INK, 1.5)
    panel.label(score, "this recording", color=INK, bold=False)
    return drawing
