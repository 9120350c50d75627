"""The output of `eeg explain`: segments of a recording, and the faithfulness of the explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import mne

from eeg.detector.detector import Detector
from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.attribution import METHODS, NOT_ADDITIVE
from eeg.explanation.explain import Explanation
from eeg.explanation.faithfulness import Faithfulness
from eeg.explanation.options import ExplanationOptions
from eeg.io.suffixes import recording_stem
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export.bids import write_events
from eeg.reporting.export.json import build_segments, write_json
from eeg.workflows.analyse import analyse
from eeg.workflows.detect import result_folder
from trainers.errors import one_line


def explain_recording(
    detector: Detector,
    path: Path,
    out: Path,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    prevalence: float | None = None,
    healthy: Path | mne.io.BaseRaw | None = None,
    keep_name: bool = False,
) -> tuple[RecordingAnalysis, Path]:
    """Analyse one recording and write ``explanation.json`` and ``events.tsv`` to a folder below ``out``.

    Parameters
    ----------
    detector
        What scores the recording.
    path
        The recording's file.
    out
        The folder below which the results go.
    options
        How the decision is explained.
    prevalence, healthy
        As in `eeg.workflows.analyse.analyse`.
    keep_name
        Whether outputs are called as the file is, even if that is not a label of BIDS.

    Raises
    ------
    DataError
        If the recording cannot be used, the method cannot explain the network, or the folder cannot be
        written.
    """
    with one_line(path):
        analysis = analyse(detector, path, options, prevalence=prevalence, healthy=healthy, progress=True)
        if keep_name:
            analysis = replace(analysis, name=recording_stem(path))
        with result_folder(analysis, out) as files:
            write_json(_document(analysis), files / "explanation.json")
            write_events(analysis.segments, files / "events.tsv")
        return analysis, out / analysis.name


def _document(analysis: RecordingAnalysis) -> dict[str, object]:
    explanation, decision = analysis.explanation, analysis.decision
    contribution = () if explanation.contribution is None else explanation.contribution.tolist()
    return {
        "statements": [RESEARCH_USE, NOT_A_FINDING, *explanation_notes(explanation)],
        "recording": analysis.recording.digest,
        "method": explanation.method,
        "baseline": explanation.baseline,
        "refused": explanation.refused,
        "check": None if explanation.check is None else asdict(explanation.check),
        "faithfulness": {name: asdict(measured) for name, measured in (analysis.measures or {}).items()},
        "segments": build_segments(analysis.segments, analysis.comparisons),
        "ictal": analysis.ictal,
        "annotations": analysis.annotated.describe(),
        "windows": {
            "length": decision.window_length,
            "onset": decision.window_onset.tolist(),
            "contribution": contribution,
        },
    }


def explanation_notes(explanation: Explanation) -> list[str]:
    """Return the notes needed to interpret an explanation."""
    method = METHODS[explanation.method]
    notes = [] if method.complete or method.gradients else [NOT_ADDITIVE]
    return notes if explanation.check is None else [*notes, str(explanation.check)]


def format_explanation(explanation: Explanation, measures: Mapping[str, Faithfulness]) -> str:
    """Return the ranked segments and their measures for people."""
    lines = [
        f"{rank:>4}  {s.onset:8.2f} s  {s.duration:.2f} s  {s.attribution:+8.3f}  {s.change:+.3f}"
        f"  {s.stability:4.0%}   {', '.join(s.channels)}"
        for rank, s in enumerate(explanation.segments, 1)
    ]
    if lines:
        lines.insert(0, "rank       onset  duration   logit  change  stable  channels")
    elif explanation.check is None:
        lines.append(
            "No segment: the method finds none that raises this network's score. "
            "That says nothing about the patient."
        )
    lines += explanation_notes(explanation)
    lines.append("deletion  insertion  infidelity  sensitivity  other baselines   on the highest windows")
    lines += [
        f"{m.deletion:8.3f}  {m.insertion:9.3f}  {m.infidelity:10.3f}  {m.sensitivity:11.3f}"
        f"  {m.baselines:15.3f}   {name}"
        for name, m in measures.items()
    ]
    return "\n".join(lines)
