"""The `eeg` commands that put a model to work on recordings: detect and explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import echo_json, end, made, one_thread, opened
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
    from eeg.preprocessing.quality import Policy


@click.command(short_help="Score and explain recordings.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@NETWORK
@click.option("--out", type=FOLDER, required=True, help="One folder a recording is made below it.")
@PREVALENCE
@click.option(
    "--alpha",
    type=FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of each group that may be taken for the other one.  [default: 0.1]",
)
@METHOD
@BASELINE
@BATCH
@SEGMENTS
@KEEP_NAMES
@click.option("--tensorboard", is_flag=True, help="Write the report's pictures for TensorBoard as well.")
@TRAINED_QUALITY
@MACHINE
def detect(
    model: Path,
    recordings: tuple[Path, ...],
    network: str | None,
    out: Path,
    prevalence: float | None,
    alpha: float | None,
    method: str,
    baseline: str,
    batch: int,
    segments: int,
    keep_names: bool,
    tensorboard: bool,
    quality: Policy | None,
    machine: bool,
) -> None:
    """Score and explain RECORDINGS with MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.detector.conformal import ALPHA
    from eeg.workflows.detect import detect as one, output_name
    from trainers.errors import DataError

    one_thread()
    _apart([output_name(path, keep_names) for path in recordings if path.exists()])
    detector = opened(model, network, quality)
    if alpha is not None:
        detector.calibration.conformal.check(alpha)
    alpha = alpha or ALPHA
    made(out)
    stated = detector.calibration.prevalence if prevalence is None else prevalence
    if not machine:
        _before(detector, stated)
    told: list[dict[str, Any]] = []
    for number, path in enumerate(recordings, 1):
        try:
            decision, explanation, folder = one(
                detector,
                path,
                out,
                prevalence=prevalence,
                alpha=alpha,
                method=method,
                baseline=baseline,
                batch=batch,
                most=segments,
                keep_name=keep_names,
                tensorboard=tensorboard,
            )
        except DataError as error:
            click.echo(f"Error: {error}", err=True)
            continue
        count = len(explanation.segments)
        told.append(
            {
                "recording": number,
                "score": decision.probability,
                "answer": str(decision.answer),
                "segments": count,
                "folder": str(folder),
            }
        )
        if not machine:
            place = f"{number}/{len(recordings)}"
            click.echo(f"{place}  {decision.probability:.2f}  {count} segment(s)  {folder / 'report.html'}")
            click.echo(f"     {decision.answer}")
    if machine:
        stated_at = {"prevalence": stated, "alpha": alpha, "simulated": _simulated(detector)}
        echo_json({**stated_at, "recordings": told})
    else:
        _after(detector, alpha, out / "tensorboard" if tensorboard else None)
    end(len(told) < len(recordings))


def _simulated(detector: Detector) -> bool:
    return detector.training.simulated


def _before(detector: Detector, prevalence: float) -> None:
    from eeg.disclaimers import RESEARCH_USE

    click.echo(f"Score for epilepsy-like EEG at a stated prevalence of {prevalence:.2f}.  {RESEARCH_USE}")
    if _simulated(detector):
        click.echo("The model was trained on simulated EEG: its scores mean nothing for a real person.")


def _after(detector: Detector, alpha: float, pictures: Path | None) -> None:
    from eeg.detector.conformal import EXCHANGEABILITY
    from eeg.disclaimers import NORMAL_EEG

    subjects = detector.calibration.conformal
    if few := subjects.too_few(alpha):
        click.echo(f"Nobody is told a group: {few}.")
    else:
        click.echo(
            f"Groups are told with an error rate of at most {alpha:g} each, by n = {subjects.n} calibrating "
            f"subjects of\nthe smaller group. {EXCHANGEABILITY}"
        )
    if pictures is not None:
        click.echo(f"Pictures: tensorboard --logdir {pictures}")
    click.echo(NORMAL_EEG)


@click.command(short_help="Show which segments drive a score.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@NETWORK
@click.option("--out", type=FOLDER, required=True, help="A folder for the recording is made below it.")
@PREVALENCE
@METHOD
@BASELINE
@click.option(
    "--healthy",
    type=click.Path(path_type=Path),
    help="A control's recording, windows of which stand in for what is taken out, instead of --baseline.",
)
@BATCH
@SEGMENTS
@KEEP_NAMES
@TRAINED_QUALITY
def explain(
    model: Path,
    recording: Path,
    network: str | None,
    out: Path,
    prevalence: float | None,
    method: str,
    baseline: str,
    healthy: Path | None,
    batch: int,
    segments: int,
    keep_names: bool,
    quality: Policy | None,
) -> None:
    """Show which segments of RECORDING drive the score of MODEL, and how far that may be believed.

    Segments whose removal does not matter more than that of any others are not shown.
    """
    from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
    from eeg.workflows.explain import as_text, explain_recording

    one_thread()
    detector = opened(model, network, quality)
    baseline = baseline if healthy is None else "healthy"
    explanation, found, folder = explain_recording(
        detector,
        recording,
        made(out),
        method=method,
        baseline=baseline,
        most=segments,
        prevalence=prevalence,
        batch=batch,
        healthy=healthy,
        keep_name=keep_names,
    )
    click.echo(f"{method}, baseline {baseline}: {folder}.  {RESEARCH_USE}")
    click.echo(as_text(explanation, found))
    click.echo(NOT_A_FINDING)


def _apart(names: list[str]) -> None:
    """Refuse recordings whose results would go to one folder."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.UsageError(
            f"several recordings would go to {', '.join(twice)}; name another --out for each"
        )
