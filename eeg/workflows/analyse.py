"""One recording scored and explained by a detector: everything that `eeg detect` and `eeg explain` write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import mne

from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage
from eeg.explanation.baselines import BASELINES, Baseline, control_baseline
from eeg.explanation.explain import explain
from eeg.explanation.faithfulness import highest_windows, measure_with_chance, removal_curves
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.similarity import find_similar
from eeg.io.electrodes import electrodes
from eeg.preprocessing.recording import Recording
from eeg.reporting.analysis import RecordingAnalysis, summarize_model
from eeg.reporting.export.bids import is_bids
from eeg.reporting.model_card import render_card

SEEN = "This recording was in the training data of the model: its score says nothing about new recordings."


def analyse(
    detector: Detector,
    recording: Path | mne.io.BaseRaw,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    prevalence: float | None = None,
    alpha: float = ALPHA,
    healthy: Path | mne.io.BaseRaw | None = None,
    progress: bool = False,
) -> RecordingAnalysis:
    """Score one recording, and find the segments that drove its score.

    The recording is opened, examined and cleaned once, and the network scores its windows once; the
    explanation then runs the network on altered windows as its method requires.

    Parameters
    ----------
    detector
        What `eeg.detector.detector.load` returns.
    recording
        A file, or a recording that MNE opened; that one stays as it is.
    options
        How the decision is explained.
    prevalence
        Of epilepsy among those who are examined, 0 to 1; that of the training subjects by default.
    alpha
        At most this fraction of each group is assigned to the other one.
    healthy
        A control's recording, windows of which replace the signal that is removed, instead of
        ``options.baseline``.
    progress
        Whether to show a progress bar.

    Raises
    ------
    DataError
        If the recording cannot be used, or the method cannot explain the network.
    """
    opened = detector.open(recording)
    prepared = detector.prepare(opened)
    windows = prepared.windows
    baselines: Mapping[str, Baseline] = BASELINES
    if healthy is not None:
        control = detector.prepare(detector.open(healthy)).windows
        baselines, options = (
            {**BASELINES, "healthy": control_baseline(control.data)},
            replace(options, baseline="healthy"),
        )
    logits = detector.logits(windows.data, options.batch)
    explanation = explain(
        detector, windows, logits, options, baselines=baselines, prevalence=prevalence, progress=progress
    )
    network, prototypes = detector.network, detector.prototypes
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)
    highest = highest_windows(logits)
    strongest = windows.data[highest]
    evidence = explanation.relevance.reshape(len(logits), 1, -1)[highest]
    return RecordingAnalysis(
        raw=prepared.cleaned,
        decision=detector.decide(windows, logits, prevalence, alpha),
        explanation=explanation,
        model=summarize_model(detector, _warnings(detector, opened, prepared.interpolated)),
        card=render_card(detector),
        score=float(detector.score(logits)),
        calibrated=detector.calibration.conformal,
        recording=opened,
        windows=windows,
        policy=detector.quality,
        removal=removal_curves(network, strongest, evidence, montage, baselines[options.baseline])
        if explanation.segments
        else None,
        measures=measure_with_chance(network, strongest, montage, options, baselines),
        comparisons=None
        if prototypes is None
        else find_similar(network, prototypes, windows.data, explanation.spans, montage),
        channel_names=_channel_names(recording),
        name="recording"
        if isinstance(recording, mne.io.BaseRaw)
        else output_name(Path(recording), opened.digest),
    )


def _warnings(detector: Detector, recording: Recording, interpolated: Sequence[str]) -> list[str]:
    seen = recording.digest in detector.training.recordings
    problems = () if recording.header is None else recording.header.problems
    return recording_warnings(seen=seen, interpolated=interpolated, problems=problems)


def recording_warnings(
    *, seen: bool = False, interpolated: Sequence[str] = (), problems: Sequence[str] = ()
) -> list[str]:
    """Return what a reader must know of a recording before its score."""
    warnings = [SEEN] if seen else []
    if interpolated:
        warnings.append(f"Interpolated from the other electrodes, not recorded: {', '.join(interpolated)}.")
    return warnings + [f"Of this recording: {problem}." for problem in problems]


def _channel_names(recording: Path | mne.io.BaseRaw) -> dict[str, str]:
    """Return the channel of each electrode of a recording that MNE opened."""
    if not isinstance(recording, mne.io.BaseRaw):
        return {}
    return {electrode: name for name, electrode in electrodes(recording.ch_names).items()}


def output_name(path: Path, digest: str | None) -> str:
    """Return what a recording is called in outputs.

    Labels of BIDS are pseudonyms and stay.  Any other file name may be that of a person: the start of the
    hash of the file's content replaces it.
    """
    stem = path.name.split(".")[0]
    return stem if is_bids(stem) else f"recording-{(digest or '')[:8]}"
