"""The output of `eeg detect`: the report, and files for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.options import ExplanationOptions
from eeg.io.isolated import ReaderError
from eeg.io.suffixes import recording_stem
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export import ESSENTIAL, WRITERS
from eeg.reporting.export.bids import write_derivative
from eeg.workflows.analyse import analyse
from eeg.workflows.journal import JOURNAL
from trainers.errors import DataError, describe_unexpected, one_line
from trainers.files import partial_folder

DERIVATIVE = Path("derivatives", "hebbian-eeg")
_RESERVED = (JOURNAL, f"{JOURNAL}.csv", DERIVATIVE.parts[0], "tensorboard")  # in a folder of results


@dataclass(frozen=True)
class Detection:
    """An analysed recording, the folder of its results, and what is missing there.

    ``missing`` names the outputs that could not be written, ``again`` those of them that another attempt may
    write; ``notes`` says in one line each why, and what others do not hold.
    """

    analysis: RecordingAnalysis
    folder: Path
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self, output: str) -> Iterator[None]:
        """Write an output that is not essential; a fault becomes a note."""
        try:
            yield
        except Exception as error:
            reason = error if isinstance(error, DataError) else describe_unexpected(error)
            self.missing.append(output)
            if may_pass(error):
                self.again.append(output)
            self.notes.append(f"{output} is not written: {reason}")


def may_pass(error: BaseException | None) -> bool:
    """Return whether the cause of an error is the machine or a missing file, not the content of a file."""
    while error is not None:
        if isinstance(error, OSError | MemoryError) or (isinstance(error, ReaderError) and error.number):
            return True
        error = error.__cause__
    return False


def detect(
    detector: Detector,
    path: Path,
    out: Path,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    prevalence: float | None = None,
    alpha: float = ALPHA,
    keep_name: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
) -> Detection:
    """Analyse one recording and write the results to a separate folder below ``out``.

    The folder holds the files of `eeg.reporting.export.WRITERS`.  The segments also go to a derivative
    dataset of BIDS below ``out``.

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
    prevalence, alpha
        As in `eeg.workflows.analyse.analyse`.
    keep_name
        Whether outputs are called as the file is, even if that is not a label of BIDS.
    tensorboard
        Whether the report's figures also go to ``out/tensorboard``.
    progress
        Whether to show a progress bar.

    Raises
    ------
    DataError
        If the recording cannot be used or the folder cannot be written.
    """
    with one_line(path):
        analysis = analyse(detector, path, options, prevalence=prevalence, alpha=alpha, progress=progress)
        name = analysis.name
        if keep_name:
            analysis = replace(analysis, name=recording_stem(path))
        found = Detection(analysis, out / analysis.name)
        with result_folder(analysis, out) as files:
            for file, write in WRITERS.items():
                if file in ESSENTIAL:
                    write(_with_notes(found), files / file)
                else:
                    with found.attempt(file):
                        if note := write(analysis, files / file):
                            found.notes.append(f"{file}: {note}")
        with found.attempt("derivatives"):
            write_derivative(analysis.segments, name, out / DERIVATIVE)
        if tensorboard:
            from eeg.reporting.tensorboard import write_recording  # imports matplotlib

            with found.attempt("tensorboard"):
                write_recording(analysis, out / "tensorboard" / analysis.name)
        return replace(found, analysis=_with_notes(found))


def _with_notes(found: Detection) -> RecordingAnalysis:
    """Return the analysis with the notes among its warnings."""
    model = found.analysis.model
    return replace(found.analysis, model=replace(model, warnings=(*model.warnings, *found.notes)))


@contextmanager
def result_folder(analysis: RecordingAnalysis, out: Path) -> Iterator[Path]:
    """Yield a folder to write to, and move its files to the analysis' folder in ``out`` when all are written.

    Raises
    ------
    DataError
        If that folder holds the results of another recording or of all, or cannot be written.
    """
    folder = out / analysis.name
    if analysis.name.lower() in _RESERVED:
        raise DataError(f"{folder}: reserved for what concerns all recordings; omit --keep-names")
    for former in (folder / name for name in ("result.json", "explanation.json")):
        if former.is_file() and _recording_of(former) not in (None, analysis.recording.digest):
            raise DataError(f"{folder}: holds the results of another recording; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as partial:
            yield partial
            folder.mkdir(exist_ok=True)
            for file in partial.iterdir():
                file.replace(folder / file.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error


def _recording_of(result: Path) -> object:
    """Return the hash of the recording that a result is of, None if it does not state one."""
    try:
        return json.loads(result.read_text(encoding="utf-8"))["recording"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
