"""The saved thing: preprocessing, weights and calibration in one safe file."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decision:
    """The answer for one recording.

    ``window_onset`` (N,) in seconds and ``window_logit`` (N,) are the network's raw evidence;
    ``logit`` is the recording's calibrated logit at ``prevalence`` and ``probability`` its sigmoid.
    """

    probability: float
    prevalence: float
    logit: float
    window_onset: np.ndarray
    window_logit: np.ndarray
    window_length: float  # s
