"""One recording scored and explained by a detector: everything that `eeg detect` and `eeg explain` write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np

from eeg.datasets.copies import signal_hash
from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage
from eeg.explanation.baselines import BASELINES, Baseline, control_baseline
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.faithfulness import (
    Faithfulness,
    RemovalCurves,
    highest_windows,
    measure_with_chance,
    removal_curves,
)
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.similarity import SimilarWindows, find_similar
from eeg.io.electrodes import electrodes
from eeg.io.suffixes import recording_stem
from eeg.preprocessing.loading import Prepared
from eeg.preprocessing.recording import Recording
from eeg.reporting.analysis import RecordingAnalysis, summarize_model
from eeg.reporting.export.bids import is_bids
from eeg.reporting.model_card import render_card

SEEN = "This recording was in the training data of the model: its score is optimistically biased."


def analyse(
    detector: Detector,
    recording: str | Path | mne.io.BaseRaw,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    prevalence: float | None = None,
    alpha: float = ALPHA,
    healthy: str | Path | mne.io.BaseRaw | None = None,
    progress: bool = False,
) -> RecordingAnalysis:
    """Score one recording, and find the segments that drove its score.

    The recording is opened, examined and cleaned once, and the network scores its windows once; the
    explanation then runs the network on altered windows as its method requires.

    Parameters
    ----------
    detector
        The detector, as `eeg.detector.model_file.load_detector` returns it.
    recording
        A file, or a recording that MNE opened, which is not changed.
    options
        How the decision is explained.
    prevalence
        Prevalence of epilepsy among the people examined, 0 to 1; that of the training subjects by default.
    alpha
        At most this fraction of each group is assigned to the other group.
    healthy
        A control's recording, windows of which replace the signal that is removed, instead of
        ``options.baseline``.
    progress
        Whether to show a progress bar.

    Raises
    ------
    DataError
        If the recording cannot be used, or the method cannot explain the network.

    Examples
    --------
    ::

        raw = mne.io.read_raw("recording.edf")
        analysis = analyse(detector, raw)
        analysis.decision.score, analysis.segments
        raw.set_annotations(raw.annotations + analysis.to_annotations())
        analysis.report("report.html")
    """
    opened = detector.open(recording)
    prepared = detector.prepare(opened)
    windows, baselines = prepared.windows, dict(BASELINES)
    if healthy is not None:
        baselines["healthy"] = control_baseline(detector.prepare(detector.open(healthy)).windows.data)
        options = replace(options, baseline="healthy")
    logits = detector.logits(windows.data, options.batch)
    explanation = explain(
        detector, windows, logits, options, baselines=baselines, prevalence=prevalence, progress=progress
    )
    curves, measures = _faithfulness(detector, windows.data, logits, explanation, options, baselines)
    training = detector.training
    seen = opened.digest in training.recordings or signal_hash(opened.raw) in training.signals
    warnings = tuple(recording_warnings(seen=seen, interpolated=prepared.interpolated))
    return RecordingAnalysis(
        raw=prepared.cleaned,
        decision=detector.decide(windows, logits, prevalence, alpha),
        explanation=explanation,
        model=summarize_model(
            detector, [*warnings, *recording_warnings(problems=_problems(opened, prepared))]
        ),
        card=render_card(detector),
        score=float(detector.score(logits)),
        calibrated=detector.calibration.conformal,
        recording=opened,
        windows=windows,
        policy=detector.quality,
        ictal=detector.preprocessing.ictal,
        annotated=prepared.annotated,
        removal=curves if explanation.segments else None,
        measures=measures,
        comparisons=_comparisons(detector, windows.data, explanation),
        channel_names=_channel_names(recording),
        name=output_name(recording, opened.digest),
        warnings=warnings,
    )


def _montage(detector: Detector) -> Montage:
    return Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)


def _faithfulness(
    detector: Detector,
    windows: np.ndarray,
    logits: np.ndarray,
    explanation: Explanation,
    options: ExplanationOptions,
    baselines: Mapping[str, Baseline],
) -> tuple[RemovalCurves, dict[str, Faithfulness]]:
    """Measure on the windows with the highest logits how faithful the evidence is."""
    highest, montage = highest_windows(logits), _montage(detector)
    strongest = windows[highest]
    evidence = explanation.relevance.reshape(len(logits), 1, -1)[highest]
    baseline = baselines[options.baseline]
    return (
        removal_curves(detector.network, strongest, evidence, montage, baseline),
        measure_with_chance(detector.network, strongest, montage, options, baselines),
    )


def _comparisons(
    detector: Detector, windows: np.ndarray, explanation: Explanation
) -> tuple[SimilarWindows, ...] | None:
    if detector.prototypes is None:
        return None
    montage = _montage(detector)
    return find_similar(detector.network, detector.prototypes, windows, explanation.spans, montage)


def _problems(recording: Recording, prepared: Prepared) -> list[str]:
    problems = () if recording.header is None else recording.header.problems
    return [*problems, *prepared.annotated.describe()]


def recording_warnings(
    *, seen: bool = False, interpolated: Sequence[str] = (), problems: Sequence[str] = ()
) -> list[str]:
    """Return the warnings that precede the score of a recording."""
    warnings = [SEEN] if seen else []
    if interpolated:
        warnings.append(f"Interpolated from the other electrodes, not recorded: {', '.join(interpolated)}.")
    return warnings + [f"Of this recording: {problem}." for problem in problems]


def _channel_names(recording: str | Path | mne.io.BaseRaw) -> dict[str, str]:
    """Return the channel of each electrode of a recording that MNE opened."""
    if not isinstance(recording, mne.io.BaseRaw):
        return {}
    return {electrode: name for name, electrode in electrodes(recording.ch_names).items()}


def output_name(recording: str | Path | mne.io.BaseRaw, digest: str | None) -> str:
    """Return what a recording is called in outputs.

    Labels of BIDS are pseudonyms and stay.  Any other file name may be that of a person: the start of the
    hash of the file's content replaces it.
    """
    if isinstance(recording, mne.io.BaseRaw):
        return "recording"
    stem = recording_stem(Path(recording))
    return stem if is_bids(stem) else f"recording-{digest[:12] if digest else 'unknown'}"
