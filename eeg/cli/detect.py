"""The `eeg` commands that apply a model to recordings: detect and explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eeg.cli.common import create_out, echo, echo_error, echo_json, end, resumable
from eeg.cli.options import (
    BASELINE,
    BATCH,
    FOLDER,
    JOBS,
    KEEP_NAMES,
    MACHINE,
    METHOD,
    NETWORK,
    PREVALENCE,
    SEGMENTS,
    TRAINED_ICTAL,
    TRAINED_QUALITY,
    FloatRange,
    Shard,
)
from eeg.threads import one_thread

if TYPE_CHECKING:
    from eeg.detector.detector import Detector
    from eeg.explanation.options import ExplanationOptions
    from eeg.preprocessing.quality import Policy
    from eeg.workflows.detect_recordings import Outcome


@click.command("detect", short_help="Score and explain recordings.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--list",
    "listing",
    type=click.Path(path_type=Path),
    help="A file with one more path on each line, relative to it.",
)
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
@JOBS
@click.option(
    "--resume", is_flag=True, help="Skip recordings whose results an earlier run completed in --out."
)
@click.option(
    "--shard",
    type=Shard(),
    metavar="I/N",
    default="1/1",
    help="Take every N-th recording, from the I-th; the other parts run elsewhere.",
)
@TRAINED_QUALITY
@TRAINED_ICTAL
@MACHINE
def detect_command(
    model: Path,
    recordings: tuple[Path, ...],
    listing: Path | None,
    network: str | None,
    out: Path,
    quality: Policy | None,
    ictal: str | None,
    machine: bool,
    alpha: float | None,
    prevalence: float | None,
    keep_names: bool,
    **options: Any,
) -> None:
    """Score and explain RECORDINGS with MODEL, a file or a folder that `eeg train` wrote.

    RECORDINGS are files, and folders that are searched for them.  `eeg merge` makes one table of all results.
    """
    from eeg.workflows.detect_recordings import detect_recordings, find_recordings
    from eeg.workflows.load_model import load_model

    if not recordings and listing is None:
        raise click.UsageError("Missing argument 'RECORDINGS...'; specify files, folders or --list")
    one_thread()
    of_model: dict[str, Any] = {"network": network, "quality": quality, "ictal": ictal}
    detector = load_model(model, **of_model)
    stated = _stated(detector, prevalence, alpha)
    found = find_recordings(recordings, listing, out=out)
    how = {"prevalence": prevalence, "alpha": stated["alpha"], "keep_name": keep_names, **_parsed(options)}
    first, count = options["shard"]
    total = len(found[first - 1 :: count])
    with resumable():
        outcomes = detect_recordings(model, found, create_out(out), **of_model, **how)
        if machine:
            results = list(_readable(outcomes, out))
            echo_json({**stated, "recordings": results})
            failed = any(facts["missing"] for facts in results), len(results)
        else:
            failed = _echo_all(detector, stated, outcomes, total, out, figures=options["tensorboard"])
    end(failed[0] or failed[1] < total)


def _parsed(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of the command as `detect_recordings` takes them."""
    running = {name: options[name] for name in ("tensorboard", "jobs", "resume", "shard")}
    explanation = {name: value for name, value in options.items() if name not in running}
    return {"options": _options(**explanation), **running}


def _stated(detector: Detector, prevalence: float | None, alpha: float | None) -> dict[str, Any]:
    """Return at what prevalence and error rate scores and answers are given."""
    from eeg.detector.conformal import ALPHA

    if alpha is not None:
        detector.calibration.conformal.check(alpha)
    prevalence = detector.calibration.prevalence if prevalence is None else prevalence
    return {"prevalence": prevalence, "alpha": alpha or ALPHA, "simulated": _simulated(detector)}


def _echo_all(
    detector: Detector,
    stated: dict[str, Any],
    outcomes: Iterable[Outcome],
    total: int,
    out: Path,
    *,
    figures: bool,
) -> tuple[bool, int]:
    """Print each result; return whether an output of one is missing, and the number of results."""
    _echo_before(detector, stated["prevalence"])
    missing, count = False, 0
    for facts in _readable(outcomes, out):
        _echo_recording(facts, total)
        missing, count = missing or bool(facts["missing"]), count + 1
    if not count:
        echo("No recording could be scored.")
    else:
        _echo_after(detector, stated["alpha"], out / "tensorboard" if figures else None)
    return missing, count


def _readable(outcomes: Iterable[Outcome], out: Path) -> Iterator[dict[str, Any]]:
    """Yield the facts on each recording, numbered; report those that cannot be used."""
    first: dict[str | None, int] = {}  # recording by the hash of its content
    for number, outcome in enumerate(outcomes, 1):
        if outcome.error is not None:
            echo_error(outcome.error)
            continue
        hidden = ("key", "state", "digest")
        facts = {name: value for name, value in outcome.facts.items() if name not in hidden}
        same = first.setdefault(outcome.facts["digest"], number)
        yield {
            "recording": number,
            **facts,
            "folder": str(out / facts["folder"]),
            "same_as": same if same < number else None,
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


@click.command("merge", short_help="Make one table of all detections.")
@click.argument("out", type=FOLDER)
def merge_command(out: Path) -> None:
    """Write OUT/detections.csv, a row for each recording that `eeg detect --out OUT` has finished.

    It is the same whatever the number of processes, shards and interruptions.  The exit code is 1 if it has
    errors.
    """
    from eeg.workflows.journal import merge_journals

    table, results, errors = merge_journals(out)
    echo(f"{results} result(s) and {errors} error(s): {table}")
    end(errors)


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
    from eeg.workflows.load_model import load_model

    one_thread()
    detector, options = load_model(model, network, quality, ictal), _options(**explanation)
    how: dict[str, Any] = {"prevalence": prevalence, "healthy": healthy, "keep_name": keep_names}
    analysis, folder = explain_recording(detector, recording, create_out(out), options, **how)
    found = analysis.explanation
    echo(f"{found.method}, baseline {found.baseline}: {folder}.  {RESEARCH_USE}")
    for line in analysis.annotated.describe():
        echo(line)
    echo(format_explanation(found, analysis.measures or {}))
    echo(NOT_A_FINDING)
