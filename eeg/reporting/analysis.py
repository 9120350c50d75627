"""One recording as a detector judged it: all that reports and boards tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mne
import numpy as np
import torch
from torch import Tensor

from eeg.detector.conformal import Conformal
from eeg.detector.detector import Decision, Detector
from eeg.evaluation.confounds import verdict
from eeg.explanation.attribution import Montage, attribute, channel_effects
from eeg.explanation.baselines import BASELINES, Baseline
from eeg.explanation.explain import Explanation
from eeg.explanation.faithfulness import Faithfulness, curves, measure
from eeg.explanation.segments import Segment, without
from eeg.explanation.similarity import Comparison, compare
from eeg.labels import LABEL_MODES, Labels
from eeg.preprocessing.quality import Policy
from eeg.preprocessing.reference import TITLES
from eeg.preprocessing.windows import Windows
from eeg.reporting.model_card import recorded_results

MAPPED = 5
"""Segments whose channels are looked at one by one."""

_HIGHEST = 10  # windows that the measures of faithfulness look at
RANDOM = "random"
"""What random evidence is called beside that of a method."""


@dataclass(frozen=True)
class Removal:
    """The mean probability of the strongest windows while cells of evidence go, or come, (S + 1,) each.

    ``deletion`` and ``insertion`` begin with the strongest cell, the others go in random order.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_random: np.ndarray
    insertion_random: np.ndarray


@dataclass(frozen=True)
class ModelSummary:
    """What reports say of a detector; ``warnings`` are about the model, the recording or both."""

    name: str
    rule: str
    montage: str
    channels: tuple[str, ...]
    training: str
    simulated: bool
    n_subjects: int
    calibration: str
    labels: Labels
    warnings: tuple[str, ...] = ()


def summarize_model(detector: Detector, warnings: Sequence[str] = ()) -> ModelSummary:
    """Return the summary of a detector, with ``warnings`` before those about its training data."""
    training, calibration = detector.training, detector.calibration
    confounds = [
        line
        for _, results in recorded_results(detector)
        for line in (verdict(results.audit) if results.audit.strong else [])
    ]
    return ModelSummary(
        name=detector.model,
        rule=training.rule,
        montage=TITLES[detector.preprocessing.reference],
        channels=detector.preprocessing.inputs,
        training=f"{training.corpus}; {training.subjects} subjects, "
        f"windows of {detector.window:g} s, labels: {LABEL_MODES[detector.labels].description}",
        simulated=training.simulated,
        n_subjects=training.subjects,
        calibration=f"Platt's sigmoid on one score of each of {calibration.n} subjects, every one from "
        f"a network that had not seen him; {calibration.prevalence:.0%} of them had epilepsy",
        labels=detector.labels,
        warnings=(*warnings, *confounds),
    )


@dataclass(frozen=True)
class RecordingAnalysis:
    """What was found in one recording, and by what.

    Parameters
    ----------
    raw
        The recording as the model saw it (filtered, referenced), in volts.
    decision, explanation
        The answer and the ranked segments, on channels of ``raw``.
    model
        What is known about the model.
    card
        The model card, Markdown.
    score, calibrated
        The recording's raw score, and those of the subjects that the model was calibrated on.
    windows
        What was found in the recording and left out of it, where that is known.
    policy
        What the windows may not touch; see `eeg.preprocessing.quality.EXCLUDED`.
    effects
        (K, C): what the logit loses when one channel of one of the first K segments is taken out.
    contribution
        (N,): what each window adds to the raw logit of the recording, see
        `eeg.explanation.recording.contributions`. removal
        How true the evidence is on this recording's strongest windows.
    measures
        The same in other numbers: of the method, and of `RANDOM` evidence.
    comparisons
        The training windows that each segment is most like, None where the model keeps none.
    """

    raw: mne.io.BaseRaw
    decision: Decision
    explanation: Explanation
    model: ModelSummary
    card: str
    score: float
    calibrated: Conformal
    windows: Windows | None = None
    policy: Policy = "exclude"
    effects: np.ndarray | None = None
    contribution: np.ndarray | None = None
    removal: Removal | None = None
    measures: Mapping[str, Faithfulness] | None = None
    comparisons: tuple[Comparison, ...] | None = None


def effects(detector: Detector, windows: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """Return what the logit loses without each channel of the first segments, (K, C).

    ``segments`` lie on adjoining ``windows`` (N, C, T); what is taken out becomes 0.
    """
    settings = detector.preprocessing
    montage = Montage(settings.inputs, settings.sfreq)
    zero = np.broadcast_to(np.zeros(1, windows.dtype), windows.shape)  # takes no memory
    found = []
    for segment in segments[:MAPPED]:
        start = round(segment.onset * settings.sfreq)
        span = start, start + max(1, round(segment.duration * settings.sfreq))
        index, emptied = without(windows, zero, [span])
        given = torch.from_numpy(windows[index]), torch.from_numpy(emptied)
        found.append(channel_effects(detector.network, *given, montage).numpy())
    return np.array(found).reshape(-1, windows.shape[1])


def likes(
    detector: Detector, windows: np.ndarray, segments: Sequence[Segment]
) -> tuple[Comparison, ...] | None:
    """Return the training windows that segments on ``windows`` (N, C, T) are most like, if any are kept."""
    if detector.prototypes is None:
        return None
    settings = detector.preprocessing
    montage = Montage(settings.inputs, settings.sfreq)
    return compare(detector.network, detector.prototypes, windows, segments, montage)


def removal(detector: Detector, windows: np.ndarray, explanation: Explanation, seed: int = 0) -> Removal:
    """Return deletion and insertion curves of the windows (N, C, T) with the highest logits."""
    settings = detector.preprocessing
    rng = np.random.default_rng(seed)
    chosen = _highest(detector, windows)
    strongest = windows[chosen]
    x = torch.from_numpy(strongest)
    filled = torch.from_numpy(BASELINES[explanation.baseline](strongest, rng))
    evidence = torch.from_numpy(explanation.relevance.reshape(len(windows), 1, -1)[chosen])
    montage = Montage(settings.inputs, settings.sfreq)
    drawn = torch.from_numpy(rng.random(evidence.shape))
    return Removal(
        *(
            curve.double().mean(0).numpy()
            for order in (evidence, drawn)
            for curve in curves(detector.network, x, filled, order, montage)
        )
    )


def faithfulness(
    detector: Detector,
    windows: np.ndarray,
    method: str,
    baseline: str,
    batch: int,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> dict[str, Faithfulness]:
    """Return how true a method's evidence is on the windows that speak most for epilepsy, and random one."""
    few = windows[_highest(detector, windows)]
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)

    def evidence(x: Tensor, filled: Tensor) -> Tensor:
        return attribute(detector.network, x, filled, montage, method=method, batch=batch)

    generator = torch.Generator().manual_seed(0)

    def random(x: Tensor, filled: Tensor) -> Tensor:
        return torch.rand(len(x), 1, x.shape[2], generator=generator)

    return {
        name: measure(
            detector.network, few, montage, explained, baseline=baseline, baselines=baselines, batch=batch
        )
        for name, explained in ((method, evidence), (RANDOM, random))
    }


def _highest(detector: Detector, windows: np.ndarray) -> np.ndarray:
    """Return the indices of the windows with the highest logits, in order of time."""
    return np.sort(np.argsort(-detector.logits(windows))[:_HIGHEST])
