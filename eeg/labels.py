"""Kinds of labels that a model learns from, with the settings recommended for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Labels = Literal["events", "recording", "bag", "pseudo"]

AUGMENTATIONS = (
    "head-rotation", "gain", "channel-dropout", "sign-flip", "time-shift", "whiten", "background-mix",
)  # fmt: skip
"""Names of the augmentations in `eeg.training.augment`."""


@dataclass(frozen=True)
class LabelMode:
    """A kind of label and the default settings of a training on it.

    Parameters
    ----------
    description
        What the labels are, as reports and the command line state it.
    window
        Length of a window in seconds: as short as the events, or 10 s as in Uyttenhove et al. 2020.
    aggregation
        How window scores become the score of a recording; see `eeg.models.pooling`.
    augment
        Some of `AUGMENTATIONS`.
    steps, epochs
        The minimum length of a training of networks with one logit.
    classes
        What positive and negative training windows are.
    pooled
        Whether a network is trained through the aggregation, on bags of windows.
    """

    description: str
    window: float = 2.0
    aggregation: str = "top"
    augment: tuple[str, ...] = ("head-rotation",)
    steps: int = 1000
    epochs: int = 10
    classes: tuple[str, str] = ("of the epilepsy group", "of the control group")
    pooled: bool = False


LABEL_MODES: Mapping[Labels, LabelMode] = {
    "events": LabelMode(
        "annotated discharges", steps=2500, classes=("with a discharge", "without a discharge")
    ),
    "recording": LabelMode(
        "the subject's diagnosis, for every window", window=10.0, aggregation="mean", steps=600
    ),
    "bag": LabelMode(
        "the subject's diagnosis, for all windows together (multiple-instance learning)",
        aggregation="noisy-or",
        augment=("sign-flip",),
        pooled=True,
    ),
    "pseudo": LabelMode(
        "pseudo-labels: discharges that cross-fitted networks locate from the diagnoses",
        epochs=1,
        pooled=True,
    ),
}

RENAMED = {
    "found": "pseudo",
    "turn": "head-rotation",
    "silence": "channel-dropout",
    "flip": "sign-flip",
    "shift": "time-shift",
    "mix": "background-mix",
}
"""Former names of label modes and augmentations."""


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Raise `ValueError` if ``name`` is unknown; of a former name it states the present one.

    Examples
    --------
    >>> check_name("labels", "found", LABEL_MODES)
    Traceback (most recent call last):
    ValueError: labels 'found' are now called 'pseudo'
    """
    if name in known:
        return
    if RENAMED.get(name) in known:
        verb = "are" if kind.endswith("s") else "is"
        raise ValueError(f"{kind} {name!r} {verb} now called {RENAMED[name]!r}")
    raise ValueError(f"unknown {kind} {name!r}; expected one of {', '.join(known)}")
