"""Which segments of a recording drove its decision."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segment:
    """At most one second of EEG that drove the decision; ``change`` is the recording's probability
    with the segment minus the probability without it."""

    onset: float  # s from the start of the recording
    duration: float  # s
    channels: tuple[str, ...]
    attribution: float
    change: float


@dataclass(frozen=True)
class Explanation:
    """Ranked segments, the strongest first, and the relevance over time that they were found in.

    ``relevance`` (T,) is sampled at ``times`` (T,) in seconds.
    """

    method: str
    segments: tuple[Segment, ...]
    times: np.ndarray
    relevance: np.ndarray
