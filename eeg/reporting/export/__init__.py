"""The files of an analysed recording: one writer each, all in the table `WRITERS`.  Research use only."""

from collections.abc import Callable, Mapping
from pathlib import Path

from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export.edf import write_annotated_edf
from eeg.reporting.export.json import build_result, write_json
from eeg.reporting.export.szcore import write_szcore
from eeg.reporting.html import write_report


def _write_edf(analysis: RecordingAnalysis, path: Path) -> str | None:
    bad = analysis.quality.not_finite if analysis.quality else ()  # which EDF cannot store
    copied = analysis.recording.without_channels(bad)
    clipped = write_annotated_edf(copied, analysis.recorded_segments(), path)
    return f"clipped, since EDF cannot hold the range: {', '.join(clipped)}" if clipped else None


def _write_szcore(analysis: RecordingAnalysis, path: Path) -> None:
    raw = analysis.recording.raw
    write_szcore(analysis.segments, raw.n_times / raw.info["sfreq"], path)


def _write_quality(analysis: RecordingAnalysis, path: Path) -> None:
    if analysis.windows is not None:
        seizures = {"ictal": analysis.ictal, "annotations": analysis.annotated.describe()}
        write_json(analysis.windows.account() | seizures, path)


Writer = Callable[[RecordingAnalysis, Path], str | None]
"""Writes a file for an analysis; returns what the file does not hold, if anything."""

WRITERS: Mapping[str, Writer] = {
    "szcore.tsv": _write_szcore,
    "annotated.edf": _write_edf,
    "quality.json": _write_quality,
    "result.json": lambda analysis, path: write_json(build_result(analysis), path),
    "report.html": write_report,
}
"""File name -> function that writes this file for an analysis; in this order, so that the last ones report
what happened to the others."""

ESSENTIAL = ("result.json", "report.html")
"""The files that state the decision: a fault in another one does not cost them."""
