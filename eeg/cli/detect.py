"""The `eeg` commands that apply a model to recordings: detect and explain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import create_out, echo, echo_error, echo_json, end, one_thread, opened
from eeg.cli.options import (
    BASELINE,
    BATCH,
    FOLDER,
    KEEP_NAMES,
    MACHINE,
    METHOD,
    NETWORK,
    PREVALENCE,
    SEGMENTS,
    TRAINED_ICTAL,
    TRAINED_QUALITY,
    FloatRange,
)

if TYPE_CHECKING:
    from eeg.detector.detector import Detector
    from eeg.explanation.options import ExplanationOptions
    from eeg.preprocessing.quality import Policy
    from eeg.workflows.detect import Detection


@click.command("detect", short_help="Score and explain recordings.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@NETWORK
@click.option("--out", type=FOLDER, required=True, help="One folder per recording is created in it.")
@PREVALENCE
@click.option(
    "--alpha",
    type=FloatRange(0, 1, min_open=True, max_open=True),
    help="Maximum error rate of each group.  [default: 0.1]",
)
@METHOD
@BASELINE
@BATCH
@SEGMENTS
@KEEP_NAMES
@click.option("--tensorboard", is_flag=True, help="Write the report's figures for TensorBoard as well.")
@TRAINED_QUALITY
@TRAINED_ICTAL
@MACHINE
def detect_command(
    model: Path,
    recordings: tuple[Path, ...],
    network: str | None,
    out: Path,
    quality: Policy | None,
    ictal: str | None,
    machine: bool,
    alpha: float | None,
    prevalence: float | None,
    keep_names: bool,
    tensorboard: bool,
    **explanation: Any,
) -> None:
    """Score and explain RECORDINGS with MODEL, a file or a folder that `eeg train` wrote."""
    from trainers.files import sweep

    one_thread()
    detector = opened(model, network, quality, ictal)
    stated = _stated(detector, prevalence, alpha)
    sweep(create_out(out))
    if not machine:
        _echo_before(detector, stated["prevalence"])
    how = {"prevalence": prevalence, "alpha": stated["alpha"], "keep_name": keep_names}
    results = []
    for facts in _detect_each(detector, recordings, out, explanation, tensorboard=tensorboard, **how):
        results.append(facts)
        if not machine:
            _echo_recording(facts, len(recordings))
    if machine:
        echo_json({**stated, "recordings": results})
    elif not results:
        echo("No recording could be scored.")
    else:
        _echo_after(detector, stated["alpha"], out / "tensorboard" if tensorboard else None)
    end(len(results) < len(recordings) or any(facts["missing"] for facts in results))


def _stated(detector: Detector, prevalence: float | None, alpha: float | None) -> dict[str, Any]:
    """Return at what prevalence and error rate scores and answers are given."""
    from eeg.detector.conformal import ALPHA

    if alpha is not None:
        detector.calibration.conformal.check(alpha)
    prevalence = detector.calibration.prevalence if prevalence is None else prevalence
    return {"prevalence": prevalence, "alpha": alpha or ALPHA, "simulated": _simulated(detector)}


def _detect_each(
    detector: Detector, recordings: Sequence[Path], out: Path, explanation: dict[str, Any], **how: Any
) -> Iterator[dict[str, Any]]:
    """Yield what was found in each recording; report those that cannot be used."""
    from eeg.workflows.detect import detect
    from trainers.errors import DataError

    first: dict[str | None, int] = {}  # recording by the hash of its content
    for number, path in enumerate(recordings, 1):
        try:
            found = detect(detector, path, out, _options(**explanation), **how)
        except DataError as error:
            echo_error(error)
            continue
        same = first.setdefault(found.analysis.recording.digest, number)
        yield _facts(number, found, same if same < number else None)


def _facts(number: int, found: Detection, same_as: int | None) -> dict[str, Any]:
    analysis = found.analysis
    return {
        "recording": number,
        "score": analysis.decision.score,
        "answer": str(analysis.decision.answer),
        "segments": len(analysis.segments),
        "annotations": analysis.annotated.describe(),
        "problems": analysis.recording.header.problems if analysis.recording.header else [],
        "refused": str(analysis.explanation.check) if analysis.explanation.refused else None,
        "folder": str(found.folder),
        "same_as": same_as,
        "missing": found.missing,
        "notes": found.notes,
    }


def _options(method: str, baseline: str, batch: int, segments: int) -> ExplanationOptions:
    from eeg.explanation.options import ExplanationOptions

    return ExplanationOptions(method, baseline, segments, batch)


def _simulated(detector: Detector) -> bool:
    return detector.training.simulated


def _echo_before(detector: Detector, prevalence: float) -> None:
    from eeg.disclaimers import RESEARCH_USE

    stated = f"at a stated prevalence of {prevalence:.2f}" if detector.is_calibrated else "(not calibrated)"
    echo(f"Score for epilepsy-like EEG {stated}.  {RESEARCH_USE}")
    if warning := detector.calibration.warning:
        echo(f"Warning: {warning}")
    if _simulated(detector):
        echo("The model was trained on simulated EEG: its scores mean nothing for a real person.")


def _echo_recording(facts: dict[str, Any], total: int) -> None:
    report = Path(facts["folder"], "report.html")
    place = f"{facts['recording']}/{total}"
    echo(f"{place}  {facts['score']:.2f}  {facts['segments']} segment(s)  {report}")
    echo(f"     {facts['answer']}")
    for line in facts["annotations"]:
        echo(f"     {line}")
    for line in facts["problems"]:
        echo(f"     problem: {line}")
    if facts["refused"]:
        echo(f"     {facts['refused']}")
    if facts["same_as"]:
        echo(f"     the same content as recording {facts['same_as']}")
    for note in facts["notes"]:
        echo(f"     Warning: {note}")


def _echo_after(detector: Detector, alpha: float, figures: Path | None) -> None:
    from eeg.detector.conformal import EXCHANGEABILITY
    from eeg.disclaimers import NORMAL_EEG

    subjects = detector.calibration.conformal
    if not detector.is_calibrated:
        echo("No recording is assigned to a group: the model is not calibrated.")
    elif few := subjects.too_few(alpha):
        echo(f"No recording is assigned to a group: {few}.")
    else:
        echo(
            f"Recordings are assigned to groups with an error rate of at most {alpha:g} each, by n = "
            f"{subjects.n} calibration subjects of\nthe smaller group. {EXCHANGEABILITY}"
        )
    if figures is not None:
        echo(f"Figures: tensorboard --logdir {figures}")
    echo(NORMAL_EEG)


@click.command("explain", short_help="Show which segments drive a score.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@NETWORK
@click.option("--out", type=FOLDER, required=True, help="A folder for the recording is created in it.")
@PREVALENCE
@METHOD
@BASELINE
@click.option(
    "--healthy",
    type=click.Path(path_type=Path),
    help="A control's recording, windows of which replace the signal that is removed, instead of --baseline.",
)
@BATCH
@SEGMENTS
@KEEP_NAMES
@TRAINED_QUALITY
@TRAINED_ICTAL
def explain_command(
    model: Path,
    recording: Path,
    network: str | None,
    out: Path,
    quality: Policy | None,
    ictal: str | None,
    prevalence: float | None,
    healthy: Path | None,
    keep_names: bool,
    **explanation: Any,
) -> None:
    """Show which segments of RECORDING drive the score of MODEL, and how faithful that is.

    Segments whose removal matters no more than that of random ones are not shown.
    """
    from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
    from eeg.workflows.explain import explain_recording, format_explanation

    one_thread()
    detector, options = opened(model, network, quality, ictal), _options(**explanation)
    how: dict[str, Any] = {"prevalence": prevalence, "healthy": healthy, "keep_name": keep_names}
    analysis, folder = explain_recording(detector, recording, create_out(out), options, **how)
    found = analysis.explanation
    echo(f"{found.method}, baseline {found.baseline}: {folder}.  {RESEARCH_USE}")
    for line in analysis.annotated.describe():
        echo(line)
    echo(format_explanation(found, analysis.measures or {}))
    echo(NOT_A_FINDING)
