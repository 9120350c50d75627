"""The `eeg` commands that apply a model to recordings: detect and explain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import create_out, echo_json, end, one_thread, opened
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
    TRAINED_QUALITY,
    FloatRange,
)

if TYPE_CHECKING:
    from eeg.detector.detector import Detector
    from eeg.explanation.options import ExplanationOptions
    from eeg.preprocessing.quality import Policy
    from eeg.reporting.analysis import RecordingAnalysis


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
@MACHINE
def detect_command(
    model: Path,
    recordings: tuple[Path, ...],
    network: str | None,
    out: Path,
    quality: Policy | None,
    machine: bool,
    alpha: float | None,
    prevalence: float | None,
    keep_names: bool,
    tensorboard: bool,
    **explanation: Any,
) -> None:
    """Score and explain RECORDINGS with MODEL, a file or a folder that `eeg train` wrote."""
    one_thread()
    _refuse_shared_folders(recordings, keep_names)
    detector = opened(model, network, quality)
    stated = _stated(detector, prevalence, alpha)
    create_out(out)
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
        click.echo("No recording could be scored.")
    else:
        _echo_after(detector, stated["alpha"], out / "tensorboard" if tensorboard else None)
    end(len(results) < len(recordings))


def _refuse_shared_folders(recordings: Sequence[Path], keep_names: bool) -> None:
    """Refuse recordings with the same content, or whose results would be written to one folder."""
    from eeg.datasets.fingerprint import file_hash
    from eeg.io.suffixes import is_plain_folder
    from eeg.reporting.export.bids import is_bids

    present = [path for path in recordings if path.exists() and not is_plain_folder(path)]
    sizes = Counter(path.stat().st_size for path in present)
    first: dict[str, Path] = {}
    for path in present:
        if sizes[path.stat().st_size] > 1 and (other := first.setdefault(file_hash(path), path)) is not path:
            raise click.UsageError(f"{other} and {path} have the same content; give one of them")
    names = Counter(path.name.split(".")[0] for path in present)
    if repeated := [name for name, count in names.items() if count > 1 and (keep_names or is_bids(name))]:
        raise click.UsageError(
            f"several recordings would be written to {', '.join(repeated)}; use another --out for each"
        )


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

    for number, path in enumerate(recordings, 1):
        try:
            analysis, folder = detect(detector, path, out, _options(**explanation), **how)
        except DataError as error:
            click.echo(f"Error: {error}", err=True)
            continue
        yield _facts(number, analysis, folder)


def _facts(number: int, analysis: RecordingAnalysis, folder: Path) -> dict[str, Any]:
    return {
        "recording": number,
        "score": analysis.decision.score,
        "answer": str(analysis.decision.answer),
        "segments": len(analysis.segments),
        "refused": str(analysis.explanation.check) if analysis.explanation.refused else None,
        "folder": str(folder),
    }


def _options(method: str, baseline: str, batch: int, segments: int) -> ExplanationOptions:
    from eeg.explanation.options import ExplanationOptions

    return ExplanationOptions(method, baseline, segments, batch)


def _simulated(detector: Detector) -> bool:
    return detector.training.simulated


def _echo_before(detector: Detector, prevalence: float) -> None:
    from eeg.disclaimers import RESEARCH_USE

    stated = f"at a stated prevalence of {prevalence:.2f}" if detector.is_calibrated else "(not calibrated)"
    click.echo(f"Score for epilepsy-like EEG {stated}.  {RESEARCH_USE}")
    if warning := detector.calibration.warning:
        click.echo(f"Warning: {warning}")
    if _simulated(detector):
        click.echo("The model was trained on simulated EEG: its scores mean nothing for a real person.")


def _echo_recording(facts: dict[str, Any], total: int) -> None:
    report = Path(facts["folder"], "report.html")
    place = f"{facts['recording']}/{total}"
    click.echo(f"{place}  {facts['score']:.2f}  {facts['segments']} segment(s)  {report}")
    click.echo(f"     {facts['answer']}")
    if facts["refused"]:
        click.echo(f"     {facts['refused']}")


def _echo_after(detector: Detector, alpha: float, figures: Path | None) -> None:
    from eeg.detector.conformal import EXCHANGEABILITY
    from eeg.disclaimers import NORMAL_EEG

    subjects = detector.calibration.conformal
    if not detector.is_calibrated:
        click.echo("No recording is assigned to a group: the model is not calibrated.")
    elif few := subjects.too_few(alpha):
        click.echo(f"No recording is assigned to a group: {few}.")
    else:
        click.echo(
            f"Recordings are assigned to groups with an error rate of at most {alpha:g} each, by n = "
            f"{subjects.n} calibration subjects of\nthe smaller group. {EXCHANGEABILITY}"
        )
    if figures is not None:
        click.echo(f"Figures: tensorboard --logdir {figures}")
    click.echo(NORMAL_EEG)


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
def explain_command(
    model: Path,
    recording: Path,
    network: str | None,
    out: Path,
    quality: Policy | None,
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
    detector, options = opened(model, network, quality), _options(**explanation)
    how: dict[str, Any] = {"prevalence": prevalence, "healthy": healthy, "keep_name": keep_names}
    analysis, folder = explain_recording(detector, recording, create_out(out), options, **how)
    found = analysis.explanation
    click.echo(f"{found.method}, baseline {found.baseline}: {folder}.  {RESEARCH_USE}")
    click.echo(format_explanation(found, analysis.measures or {}))
    click.echo(NOT_A_FINDING)
