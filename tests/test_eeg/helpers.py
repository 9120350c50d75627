"""Helpers of the tests of `eeg`."""

import json
from typing import Any

import mne
import numpy as np
import torch
from torch import Tensor

from eeg.detector.detector import Detector
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.options import ExplanationOptions
from eeg.io.gaps import stretches
from eeg.preprocessing.loading import prepare
from eeg.preprocessing.pipeline import Preprocessing, clean, scale
from eeg.preprocessing.recording import Recording
from eeg.preprocessing.windows import Windows
from tests.helpers import ROOT


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return values from N(0, 1), the same ones for each seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clean_raw(raw: mne.io.BaseRaw, settings: Preprocessing) -> mne.io.BaseRaw:
    """The recording in volts as a network's windows are cut from it."""
    return clean(Recording.scan(raw), settings)


def prepare_raw(raw: mne.io.BaseRaw, settings: Preprocessing) -> np.ndarray:
    """The whole recording as the input of a network, (C, T)."""
    cleaned = clean_raw(raw, settings)
    return scale(cleaned, stretches(cleaned), settings)


def windows_from(raw: mne.io.BaseRaw, settings: Preprocessing, length: float, **how: Any) -> Windows:
    """The windows of a recording."""
    return prepare(Recording.scan(raw), settings, length, **how).windows


def adjoining(x: np.ndarray, sfreq: float = 128.0) -> Windows:
    """Windows (N, C, T) without gaps between them."""
    length = x.shape[2] / sfreq
    return Windows(x, length * np.arange(len(x)), length, None, None)


def explain_windows(
    detector: Detector, x: np.ndarray, *, prevalence: float | None = None, **options: Any
) -> Explanation:
    """Explain adjoining windows (N, C, T)."""
    chosen = ExplanationOptions(**options)
    return explain(detector, adjoining(x), detector.logits(x), chosen, prevalence=prevalence)


SCHEMA = json.loads((ROOT / "eeg/reporting/export/detection.schema.json").read_text("utf-8"))
"""The JSON Schema of ``result.json``."""
