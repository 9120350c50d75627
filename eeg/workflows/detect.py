"""What `eeg detect` writes of recordings: the report, and files that other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Detector
from eeg.explanation.options import ExplanationOptions
from eeg.reporting.analysis import RecordingAnalysis
from eeg.reporting.export import result, write_annotated_edf, write_derivative, write_json, write_szcore
from eeg.reporting.html import write_report
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
    """Analyse one recording and write the results to a folder of its own below ``out``.

    The folder holds ``report.html``, ``result.json``, ``annotated.edf`` (a de-identified copy with the
    segments as annotations, without channels that are not finite), ``szcore.tsv`` and ``quality.json``.  The
    segments also go to a derivative dataset of BIDS below ``out``.

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
    name = path.name.split(".")[0] if keep_name else analysis.name
    _write(analysis, name, out)
    if tensorboard:
        write_recording(analysis, out / "tensorboard" / name)
    return analysis, out / name


def _write(analysis: RecordingAnalysis, name: str, out: Path) -> None:
    segments, raw, quality = analysis.segments, analysis.recording.raw, analysis.quality
    finite = analysis.recording.without_channels(quality.not_finite if quality else ())  # EDF holds no other
    with filling(out / name) as folder:
        write_json(result(analysis), folder / "result.json")
        write_szcore(segments, raw.n_times / raw.info["sfreq"], folder / "szcore.tsv")
        write_annotated_edf(finite, analysis.recorded_segments(), folder / "annotated.edf")
        write_report(analysis, folder / "report.html", title=f"EEG report: {name}")
        if analysis.windows is not None:
            write_json(analysis.windows.account(), folder / "quality.json")
    write_derivative(segments, name, out / DERIVATIVE)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
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
