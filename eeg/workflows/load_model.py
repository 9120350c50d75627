"""Load a model for a command that applies it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector
from eeg.preprocessing.quality import Policy
from trainers.errors import concerning


def load_model(
    model: Path, network: str | None = None, quality: Policy | None = None, ictal: str | None = None
) -> Detector:
    """Load a detector, and replace settings of its training.

    Parameters
    ----------
    model
        Its file, or the folder that `eeg train` wrote.
    network
        The code that the model may run, ``package.module:function``.
    quality, ictal
        What windows may not touch, and which annotations mark a seizure; as in the training by default.

    Raises
    ------
    DataError
        If the model cannot be used.
    SettingsError
        If ``ictal`` is invalid.
    """
    detector = load_detector(model, network)
    if ictal is not None:
        with concerning("--ictal"):
            detector = replace(detector, preprocessing=replace(detector.preprocessing, ictal=ictal))
    return detector if quality is None else replace(detector, quality=quality)
