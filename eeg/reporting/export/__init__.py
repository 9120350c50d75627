"""The files of an analysed recording: one writer each, all in the table `WRITERS`.  Research use only."""

from collections.abc import Callable, Mapping
from pathlib import Path

from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export.edf import write_annotated_edf
from eeg.reporting.export.json import build_result, write_json
from eeg.reporting.export.szcore import write_szcore
from eeg.reporting.html import write_report


def _write_edf(analysis: RecordingAnalysis, path: Path) -> None:
    bad = analysis.quality.not_finite if analysis.quality else ()  # which EDF cannot store
    write_annotated_edf(analysis.recording.without_channels(bad), analysis.recorded_segments(), path)


def _write_szcore(analysis: RecordingAnalysis, path: Path) -> None:
    raw = analysis.recording.raw
    write_szcore(analysis.segments, raw.n_times / raw.info["sfreq"], path)


def _write_quality(analysis: RecordingAnalysis, path: Path) -> None:
    if analysis.windows is not None:
        write_json(analysis.windows.account(), path)


WRITERS: Mapping[str, Callable[[RecordingAnalysis, Path], None]] = {
    "result.json": lambda analysis, path: write_json(build_result(analysis), path),
    "szcore.tsv": _write_szcore,
    "annotated.edf": _write_edf,
    "report.html": write_report,
    "quality.json": _write_quality,
}
"""File name -> function that writes this file for an analysis."""
