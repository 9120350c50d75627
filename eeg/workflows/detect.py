"""The output of `eeg detect`: the report, and files for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.options import ExplanationOptions
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export import WRITERS
from eeg.reporting.export.bids import write_derivative
from eeg.reporting.tensorboard import write_recording
from eeg.workflows.analyse import analyse
from trainers.errors import DataError

DERIVATIVE = Path("derivatives", "hebbian-eeg")


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
) -> tuple[RecordingAnalysis, Path]:
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

    Raises
    ------
    DataError
        If the recording cannot be used or the folder cannot be written.
    """
    analysis = analyse(detector, path, options, prevalence=prevalence, alpha=alpha, progress=True)
    if keep_name:
        analysis = replace(analysis, name=path.name.split(".")[0])
    with atomic_folder(out / analysis.name) as folder:
        for file, write in WRITERS.items():
            write(analysis, folder / file)
    write_derivative(analysis.segments, analysis.name, out / DERIVATIVE)
    if tensorboard:
        write_recording(analysis, out / "tensorboard" / analysis.name)
    return analysis, out / analysis.name


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write to, and move its files to ``folder`` when all are written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
            yield Path(partial)
            folder.mkdir(exist_ok=True)
            for file in Path(partial).iterdir():
                file.replace(folder / file.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
