"""A detector at work on one recording: the decision, its explanation, and the files they go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import mne
import numpy as np

from eeg.datasets.fingerprint import file_hash
from eeg.detector.conformal import ALPHA
from eeg.detector.detector import Decision, Detector
from eeg.explanation.attribution import DEFAULT
from eeg.explanation.baselines import BASELINES
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.recording import contributions
from eeg.explanation.segments import Segment
from eeg.io.header import header_of
from eeg.preprocessing.interpolation import lacking
from eeg.preprocessing.quality import mark_bad
from eeg.preprocessing.windows import Windows
from eeg.reporting.analysis import RecordingAnalysis, effects, faithfulness, likes, removal, summarize_model
from eeg.reporting.export import result, write_annotated_edf, write_derivative, write_json, write_szcore
from eeg.reporting.export.bids import is_bids
from eeg.reporting.html import write_report
from eeg.reporting.model_card import card
from eeg.reporting.tensorboard import write_recording
from trainers.errors import DataError

SEEN = "This recording was in the training data of the model: its score says nothing about new recordings."
DERIVATIVE = Path("derivatives", "hebbian-eeg")


def output_name(path: Path, keep: bool = False) -> str:
    """Return what a recording is called in outputs.

    Labels of BIDS are pseudonyms and stay.  Any other file name may hold a patient's name: the start
    of a hash of the file's content stands for it, unless ``keep``.
    """
    stem = path.name.split(".")[0]
    if keep or is_bids(stem):
        return stem
    return "recording-" + file_hash(path)[:8]


def recording_warnings(
    *, seen: bool = False, interpolated: Sequence[str] = (), problems: Sequence[str] = ()
) -> list[str]:
    """Return what a reader must know of a recording before its score."""
    warnings = [SEEN] if seen else []
    if interpolated:
        warnings.append(f"Interpolated from the other electrodes, not recorded: {', '.join(interpolated)}.")
    return warnings + [f"Of this recording: {problem}." for problem in problems]


def detect(
    detector: Detector,
    path: Path,
    out: Path,
    *,
    prevalence: float | None = None,
    alpha: float = ALPHA,
    method: str = DEFAULT,
    baseline: str = "zero",
    batch: int = 64,
    most: int = 10,
    keep_name: bool = False,
    tensorboard: bool = False,
) -> tuple[Decision, Explanation, Path]:
    """Score and explain one recording and write what was found to a folder of its own below ``out``.

    The folder holds ``report.html``, ``result.json``, ``annotated.edf`` (a de-identified copy with the
    segments as annotations, without channels that are not finite), ``szcore.tsv`` and ``quality.json``; the
    segments go to a derivative dataset of BIDS below ``out`` as well and, with ``tensorboard``, the report's
    pictures to ``out/tensorboard``.  Windows within seizures are left out, and those that touch what the
    detector's policy excludes.

    Raises
    ------
    DataError
        If the recording cannot be used or the folder cannot be written.
    """
    settings = detector.preprocessing
    raw = detector.read(path)
    cleaned, windows = detector.windows(raw)
    decision = detector.decide(windows.data, windows.onset, prevalence, alpha)
    found = explain(
        detector,
        windows.data,
        method=method,
        baseline=baseline,
        most=most,
        prevalence=prevalence,
        batch=batch,
        progress=True,
    )
    nothing = BASELINES[baseline](windows.data, np.random.default_rng(0))
    seen = file_hash(path) in detector.training.recordings
    quality = windows.quality
    marked = mark_bad(raw, quality, settings.channels) if quality else raw
    warnings = recording_warnings(
        seen=seen, interpolated=lacking(marked, settings.channels), problems=header_of(path).problems
    )
    name = output_name(path, keep_name)
    case = RecordingAnalysis(
        raw=cleaned,
        decision=decision,
        explanation=in_time(found, windows),
        model=summarize_model(detector, warnings),
        card=card(detector),
        score=float(detector.score(decision.window_logit)),
        calibrated=detector.calibration.conformal,
        windows=windows,
        policy=detector.quality,
        effects=effects(detector, windows.data, found.segments),
        contribution=contributions(detector, windows.data, nothing, batch),
        removal=removal(detector, windows.data, found) if found.segments else None,
        measures=faithfulness(detector, windows.data, method, baseline, batch) if found.segments else None,
        comparisons=likes(detector, windows.data, found.segments),
    )
    held = raw.copy().drop_channels(quality.not_finite) if quality else raw  # what EDF can hold
    _write(case, held, name, out)
    if tensorboard:
        write_recording(case, out / "tensorboard" / name)
    return decision, case.explanation, out / name


def _write(case: RecordingAnalysis, raw: mne.io.BaseRaw, name: str, out: Path) -> None:
    """Write the files of a recording that is called ``name``."""
    segments = case.explanation.segments
    with filling(out / name) as folder:
        write_json(result(case), folder / "result.json")
        write_szcore(segments, raw.n_times / raw.info["sfreq"], folder / "szcore.tsv")
        write_annotated_edf(raw, _recorded(segments, raw.ch_names), folder / "annotated.edf")
        write_report(case, folder / "report.html", title=f"EEG report: {name}")
        if case.windows is not None:
            write_json(case.windows.account(), folder / "quality.json")
    write_derivative(segments, name, out / DERIVATIVE)


def _recorded(segments: Sequence[Segment], channels: Sequence[str]) -> list[Segment]:
    """Tell segments by electrodes, but for those that were interpolated: the recording has them not."""
    return [
        replace(segment, channels=tuple(name for name in _electrodes(segment) if name in channels))
        for segment in segments
    ]


def _electrodes(segment: Segment) -> list[str]:
    """Name the electrodes of a segment, both of a bipolar pair."""
    return list(dict.fromkeys(name for channel in segment.channels for name in channel.split("-")))


def in_time(explanation: Explanation, windows: Windows) -> Explanation:
    """Move what was explained on adjoining windows to where they lie in the recording."""
    starts = windows.in_recording(np.array([segment.onset for segment in explanation.segments]))
    segments = tuple(
        replace(segment, onset=float(start))
        for segment, start in zip(explanation.segments, starts, strict=True)
    )
    times = explanation.times.reshape(len(windows.onset), -1)
    shift = windows.onset - windows.length * np.arange(len(times))
    return replace(explanation, segments=segments, times=(times + shift[:, None]).ravel())


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give a place to write to, and move its files to ``folder`` when all were written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
            yield Path(partial)
            folder.mkdir(exist_ok=True)
            for file in Path(partial).iterdir():
                file.replace(folder / file.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
