"""The analysis of one recording by a detector: the value from which reports and exports are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import mne
import numpy as np

from eeg.datasets.seizure_words import AUTO
from eeg.datasets.seizures import Annotated
from eeg.detector.calibration import Calibration
from eeg.detector.conformal import Conformal
from eeg.detector.detector import Decision, Detector
from eeg.evaluation.confounds import verdict
from eeg.explanation.explain import Explanation
from eeg.explanation.faithfulness import Faithfulness, RemovalCurves
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import SimilarWindows
from eeg.io.header import Header
from eeg.labels import LABEL_MODES, Labels
from eeg.preprocessing.quality import Policy, Quality
from eeg.preprocessing.recording import Recording
from eeg.preprocessing.reference import REFERENCE_TITLES
from eeg.preprocessing.windows import Windows
from eeg.reporting.model_card import detector_results

_MAPPED = 5  # segments whose channels are mapped one by one


@dataclass(frozen=True)
class ModelSummary:
    """The facts of a detector in reports; ``warnings`` concern the model, the recording or both."""

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
    is_calibrated: bool = True


def describe_calibration(calibration: Calibration) -> str:
    """Return one sentence on what the scores of a detector are calibrated on."""
    if not calibration.n:
        return "none: the score is the sigmoid of the raw logit, not a probability"
    return (
        f"Platt's sigmoid on one out-of-fold score of each of {calibration.n} subjects; "
        f"{calibration.prevalence:.0%} of them had epilepsy"
    )


def summarize_model(detector: Detector, warnings: Sequence[str] = ()) -> ModelSummary:
    """Return the summary of a detector, with ``warnings`` before those about its training."""
    training, calibration = detector.training, detector.calibration
    confounds = [
        line
        for _, results in detector_results(detector)
        for line in (verdict(results.audit) if results.audit.strong else [])
    ]
    return ModelSummary(
        name=detector.model,
        rule=training.rule,
        montage=REFERENCE_TITLES[detector.preprocessing.reference],
        channels=detector.preprocessing.inputs,
        training=f"{training.corpus}; {training.subjects or 'unknown number of'} subjects, "
        f"windows of {detector.window:g} s, labels: {LABEL_MODES[detector.labels].description}",
        simulated=training.simulated,
        n_subjects=training.subjects,
        calibration=describe_calibration(calibration),
        labels=detector.labels,
        warnings=(*warnings, *filter(None, [calibration.warning]), *confounds),
        is_calibrated=detector.is_calibrated,
    )


@dataclass(frozen=True)
class RecordingAnalysis:
    """The decision for one recording, its explanation, and all that reports and exports need.

    Parameters
    ----------
    raw
        The recording as the network sees it (filtered, referenced), in volts.
    decision, explanation
        The decision, and the ranked segments on channels of ``raw``.
    model
        The summary of the model.
    card
        The model card, Markdown.
    score, calibrated
        The recording's raw score, and those of the subjects that the model was calibrated on.
    windows
        The recording's windows, what was found in its signal and what was left out.
    ictal, annotated
        Which annotations count as seizures, and the seizures that they mark.
    policy
        What windows may not touch; see `eeg.preprocessing.quality.EXCLUDED`.
    removal
        How faithful the evidence is on the windows with the highest logits, as curves.
    measures
        The same in numbers: of the method, and of `eeg.explanation.faithfulness.RANDOM` evidence.
    comparisons
        The training windows most similar to each segment, None where the model stores none.
    recording
        The recording as opened.
    channel_names
        Names of the channels in the recording that was passed, by electrode.
    name
        Name of the recording in outputs; it does not identify a person.
    warnings
        That the model was trained on the recording, and which channels of it are interpolated.
    """

    raw: mne.io.BaseRaw
    decision: Decision
    explanation: Explanation
    model: ModelSummary
    card: str
    score: float
    calibrated: Conformal
    recording: Recording
    windows: Windows | None = None
    policy: Policy = "exclude"
    ictal: str = AUTO
    annotated: Annotated = field(default_factory=Annotated)
    removal: RemovalCurves | None = None
    measures: Mapping[str, Faithfulness] | None = None
    comparisons: tuple[SimilarWindows, ...] | None = None
    channel_names: Mapping[str, str] = field(default_factory=dict)
    name: str = "recording"
    warnings: tuple[str, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments that drove the decision, the strongest first."""
        return self.explanation.segments

    @property
    def logits(self) -> np.ndarray:
        """The network's logit of each window, (N,)."""
        return self.decision.window_logit

    @property
    def header(self) -> Header | None:
        """The facts of the recording's header."""
        return self.recording.header

    @property
    def quality(self) -> Quality | None:
        """What was found in the recording's signal."""
        return None if self.windows is None else self.windows.quality

    @property
    def contribution(self) -> np.ndarray | None:
        """What each window adds to the raw score of the recording, (N,)."""
        return self.explanation.contribution

    @property
    def effects(self) -> np.ndarray | None:
        """What the logit loses when one channel of one of the first segments is removed, (K, C)."""
        effects = self.explanation.effects
        return None if effects is None else effects[:_MAPPED]

    def to_annotations(self) -> mne.Annotations:
        """Return the segments as annotations of the recording that was analysed.

        ``raw.set_annotations(raw.annotations + analysis.to_annotations())`` adds them to that recording.
        Channels are named as there; missing and non-finite ones are left out.
        """
        raw, names = self.recording.raw, self.channel_names
        offset = 0.0 if raw.info["meas_date"] is None else raw.first_time  # where MNE counts from
        segments = self.recorded_segments()
        return mne.Annotations(
            [segment.onset + offset for segment in segments],
            [segment.duration for segment in segments],
            [f"model attribution #{rank} ({s.change:+.2f})" for rank, s in enumerate(segments, 1)],
            orig_time=raw.info["meas_date"],
            ch_names=[[names.get(name, name) for name in segment.channels] for segment in segments],
        )

    def recorded_segments(self) -> list[Segment]:
        """Return the segments on electrodes of the recording, without missing and non-finite ones."""
        broken = self.quality.not_finite if self.quality else ()
        present = set(self.recording.raw.ch_names) - set(broken)
        return [
            replace(segment, channels=tuple(name for name in _electrodes(segment) if name in present))
            for segment in self.segments
        ]

    def report(self, path: Path) -> None:
        """Write the report of the analysis, one HTML file that opens offline."""
        from eeg.reporting.html import write_report  # which imports this module

        write_report(self, Path(path))


def _electrodes(segment: Segment) -> list[str]:
    """Return the electrodes of a segment, both of a bipolar pair."""
    return list(dict.fromkeys(name for channel in segment.channels for name in channel.split("-")))
