"""Helpers of the tests of `eeg`."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from eeg.detector.calibration import Calibration
from eeg.detector.conformal import Conformal
from eeg.detector.detector import Detector
from eeg.detector.provenance import Provenance
from eeg.evaluation import metrics
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.options import ExplanationOptions
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.gaps import stretches
from eeg.models.registry import build_model
from eeg.preprocessing.loading import prepare
from eeg.preprocessing.pipeline import Preprocessing, clean, scale
from eeg.preprocessing.recording import Recording
from eeg.preprocessing.windows import Windows
from eeg.reporting import figures
from tests.helpers import ROOT


@contextmanager
def drawing_few_resamples() -> Iterator[None]:
    """Draw 10 resamples, not 1000, for intervals of metrics."""
    few = partial(metrics.bootstrap_interval, resamples=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "bootstrap_interval", lambda *data, seed, resamples: few(*data, seed=seed))
        yield


def leave_out_figures(patch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports and boards."""
    for name in vars(figures).keys() - {"draw_all"}:
        if name.startswith("draw_"):
            patch.setattr(figures, name, lambda _: iter(()))


def untrained_detector() -> Detector:
    """Return a t-VGG GAP of windows of 2 s, with all other parts of a detector."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model("tvgg-gap", len(TEN_TWENTY), 256).eval()
    return Detector(
        network=network,
        model="tvgg-gap",
        preprocessing=Preprocessing(TEN_TWENTY),
        window=2.0,
        labels="events",
        aggregation="top",
        calibration=Calibration(1.5, -0.25, 0.4, 20, Conformal(tuple(range(8)), tuple(range(-12, 0)))),
        training=Provenance("a cohort", simulated=True, subjects=20, rule="oja"),
    )


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


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the settings, without their digest, and the tensors in a detector's file."""
    with safe_open(str(path), framework="pt") as file:
        facts = json.loads(file.metadata()["eeg.detector"])
        del facts["sha256"]
        return facts, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def write_model(path: Path, facts: object, tensors: dict[str, Tensor]) -> None:
    """Write a detector's file, with the digest of its content; a text is written as it is."""
    if isinstance(facts, dict):
        facts = json.dumps({**facts, "sha256": content_digest(facts, tensors)})
    text = facts if isinstance(facts, str) else json.dumps(facts)
    save_file(tensors, path, metadata={"eeg.detector": text})


def content_digest(facts: object, tensors: dict[str, Tensor]) -> str:
    """Return the digest that the format requires, written out."""
    values = hashlib.sha256()
    for name in sorted(tensors):
        values.update(f"{tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        values.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    content = json.dumps([facts, *sorted(tensors), values.hexdigest()])
    return hashlib.sha256(content.encode()).hexdigest()
