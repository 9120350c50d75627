"""The `eeg` command: from recordings to an explained decision.  Research use only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from eeg.datasets import Corpus, Entry
    from eeg.derivation import Reference
    from eeg.detector import Detector
    from eeg.preprocess import Preprocessing
    from eeg.quality import Policy
    from eeg.training import Loaded, Plan
    from trainers.errors import DataError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_DATA = click.Path(path_type=Path)  # a corpus, or the table of one
_JOBS = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that work at once."
)
_QUALITY = click.option(
    "--quality",
    type=click.Choice(["keep", "exclude", "strict"]),
    default="exclude",
    show_default=True,
    help="Keep all windows, exclude those with flat or clipped signal, or also those with blinks and muscle, "
    "which discharges can resemble.  Seizures are never kept: they are not interictal.",
)
_CACHE = click.option(
    "--cache", type=_FOLDER, help="A folder that keeps prepared recordings, to be used by later runs."
)
_METHOD = click.option(
    "--method",
    type=click.Choice(
        [
            "grad-cam",
            "integrated-gradients",
            "gradient-shap",
            "deeplift",
            "occlusion",
            "ablation",
            "region-ablation",
            "shapley",
        ]
    ),
    default="occlusion",
    show_default=True,
    help="Where the attribution over time comes from.",
)
_BASELINE = click.option(
    "--baseline",
    type=click.Choice(["zero", "mean", "phase"]),
    default="zero",
    show_default=True,
    help="What stands in for what is taken out; phase: a surrogate of the same spectrum.",
)
_BATCH = click.option(
    "--batch",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Windows that the network sees at once: the fewer, the less memory.",
)
_SEGMENTS = click.option(
    "--segments", type=click.IntRange(1), default=10, show_default=True, help="At most so many."
)
_KEEP_NAMES = click.option(
    "--keep-names", is_flag=True, help="Name outputs after the files, even if these name people."
)


def _allow(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta["eeg.network"] = value


_NETWORK = click.option(
    "--network",
    metavar="CODE",
    expose_value=False,
    callback=_allow,
    help="package.module:function that MODEL may run, where it was trained with that.",
)


class _FloatRange(click.FloatRange):
    """A range without NaN, which compares as within every range, and without infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


_PREVALENCE = click.option(
    "--prevalence",
    type=_FloatRange(0, 1, min_open=True, max_open=True),
    help="Of epilepsy among those who are examined.  [default: that of the training subjects]",
)


class _OneLine(click.Group):
    """Turn bad data into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from trainers.errors import DataError

        try:
            return super().invoke(ctx)
        except DataError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hebbian-eeg")
def main() -> None:
    """Score routine EEG for epilepsy-like activity, and show which segments drove the score.

    Research use only: not a medical device.  A normal routine EEG does not exclude epilepsy.
    """


@main.command(short_help="The whole job on a simulated cohort.")
@click.option("--out", type=_FOLDER, default=Path("demo"), show_default=True, help="Where everything goes.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Simulate a cohort, train on a part of it, detect and explain a recording of the rest."""
    from eeg.demo import run

    _one_thread()
    run(_made(out), seed, click.echo)


@main.command(short_help="Write a cohort with known discharges.")
@click.argument("out", type=_FOLDER)
@click.option("--subjects", type=click.IntRange(2), default=80, show_default=True)
@click.option("--minutes", type=_FloatRange(1), default=5.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@_JOBS
def simulate(out: Path, subjects: int, minutes: float, seed: int, jobs: int) -> None:
    """Write a simulated cohort with known discharges to the new folder OUT, in BIDS layout."""
    from eeg.datasets.simulated import write_cohort

    write_cohort(out, subjects=subjects, minutes=minutes, seed=seed, jobs=jobs)
    click.echo(f"{subjects} simulated subjects of {minutes:g} min: {out}")


@main.command(short_help="What is in a folder, and what is wrong with it.")
@click.argument("path", type=_DATA)
@click.option("--json", "machine", is_flag=True, help="For machines.")
@click.option("--show-ids", is_flag=True, help="Tell files, subjects and dates too.")
def inspect(path: Path, machine: bool, show_ids: bool) -> None:
    """Show what is in PATH, a corpus, a table, a folder or a file, and what is wrong with it.

    Recordings are numbered; neither names nor dates are told.  The exit code is 1 where one cannot be read.
    """
    from eeg.inspect import as_json, as_text
    from eeg.inspect import inspect as look

    found = look(path, show_ids=show_ids)
    click.echo(as_json(found) if machine else as_text(found))
    _end([one for one in found.recordings if one.amplitude is None])


@main.command(short_help="What predicts the diagnoses without any EEG.")
@click.argument("data", type=_DATA)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "machine", is_flag=True, help="For machines.")
@_JOBS
def audit(data: Path, folds: int, seed: int, machine: bool, jobs: int) -> None:
    """Tell how well the diagnoses in DATA are predicted by how its recordings were made, without any EEG.

    Date, hour, site, sex, age, device, sampling rate, duration, channels, filters and the band of the
    signal, one at a time, cross-validated by subject.  Values are compared and never shown.
    """
    import json
    from dataclasses import asdict

    from eeg.audit import as_text
    from eeg.cues import audit_of, read_cues
    from eeg.datasets import open_corpus
    from eeg.splits import subjects_of

    corpus = open_corpus(data)
    known = [entry for entry in corpus.entries if entry.label is not None]
    subjects_of(known)
    found = audit_of(read_cues(known, jobs), folds=folds, seed=seed)
    if machine:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{corpus.name}: {len(known)} recording(s), {len(subjects_of(known))} subject(s)")
    click.echo(as_text(found))


@main.command(short_help="Print what a model is and is not.")
@click.argument("model", type=click.Path(path_type=Path))
@_NETWORK
def card(model: Path) -> None:
    """Print the card of MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.card import card as written

    click.echo(written(_detector(model)))


@main.command(short_help="Train a detector, cross-validated by subject.")
@click.argument("data", type=_DATA)
@click.option("--out", type=_FOLDER, required=True, help="A new folder for the model and its figures.")
@click.option(
    "--model",
    default="tvgg-gap",
    show_default=True,
    help="tvgg, tvgg-gap, eegnet, shallow, deep4, or a package.module:function of yours.",
)
@click.option("--rule", default="backprop", show_default=True, help="See `hebbian rules`.")
@click.option(
    "--finetune",
    is_flag=True,
    help="Let a rule without labels learn first, also on recordings without a diagnosis, and then backprop.",
)
@click.option(
    "--augment",
    multiple=True,
    type=click.Choice(["turn", "gain", "silence", "flip", "shift", "whiten", "mix", "none"]),
    help="What hides whose EEG it is from a network; once for each.  [default: turn, none for bipolar]",
)
@click.option(
    "--labels",
    type=click.Choice(["events", "recording", "bag"]),
    help="Learn annotated discharges, or each subject's diagnosis on every window or on all together.  "
    "[default: events where the corpus annotates them]",
)
@click.option(
    "--channels", help="Comma-separated.  [default: the 19 of 10-20, or all of the first recording]"
)
@click.option(
    "--preset",
    type=click.Choice(["default", "paper"]),
    default="default",
    show_default=True,
    help="0.5-45 Hz at 128 Hz and the mean logit, or as Uyttenhove et al. 2020 did it.",
)
@click.option(
    "--reference",
    type=click.Choice(["average", "mastoids", "bipolar", "laplacian"]),
    default="average",
    show_default=True,
    help="What each channel is measured against.",
)
@click.option(
    "--notch",
    metavar="COUNTRY",
    help="Take out the mains: 50, 60 or a country's two letters.  [default: none up to 45 Hz; paper: 60]",
)
@click.option("--window", type=_FloatRange(0.5), help="Seconds.  [default: 10 for recording, else 2]")
@click.option(
    "--aggregation",
    type=click.Choice(["mean", "mean-probability", "top", "peak", "noisy-or", "attention", "chosen"]),
    help="From windows to a recording; chosen: inside each fold, at the cost of another training.  "
    "[default: mean for recording, else top]",
)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--by-site", is_flag=True, help="Leave out one site in each fold instead.")
@click.option(
    "--shuffle-labels",
    type=click.IntRange(0),
    metavar="SEED",
    help="Deal the diagnoses out anew first: the control, which must find nothing.",
)
@click.option(
    "--hold-out",
    type=_FloatRange(0, 0.9),
    default=0.0,
    show_default=True,
    help="Share of subjects kept from all training, to test the final model.",
)
@click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@_QUALITY
@_CACHE
@_JOBS
def train(
    data: Path,
    out: Path,
    folds: int,
    by_site: bool,
    shuffle_labels: int | None,
    hold_out: float,
    quality: str,
    cache: Path | None,
    jobs: int,
    **choices: Any,
) -> None:
    """Train a detector on the corpus in DATA, cross-validated by subject.

    DATA is a folder (BIDS, TUEP, Guinea-Bissau) or a CSV with the columns path, subject and label.
    """
    from eeg import runs
    from eeg.datasets import open_corpus
    from eeg.results import describe

    _one_thread()
    _known(choices["model"], choices["rule"])
    corpus = open_corpus(data)
    plan = _plan(corpus, **choices)
    _fits(plan)
    if shuffle_labels is not None:
        corpus = _shuffled(corpus, plan, shuffle_labels)
    _new(out)
    failed: list[Entry] = []
    how: dict[str, Any] = {"policy": quality, "folder": cache, "jobs": jobs, "unlabelled": plan.finetune}
    loaded = _load(corpus, plan.preprocessing, plan.window, failed, **how)
    click.echo(_about(plan, corpus))
    runs.run(plan, corpus, loaded, folds=folds, hold_out=hold_out, by_site=by_site, out=out, jobs=jobs)
    for title, results in runs.recorded_results(out):
        click.echo(f"\n{title}:\n{describe(results, plan)}")
    click.echo(f"\nModel: {out / 'model.safetensors'}   card: {out / 'card.md'}")
    click.echo(f"Curves: tensorboard --logdir {out / 'tensorboard'}")
    _end(failed)


@main.command(short_help="Models and rules on the same folds.")
@click.argument("data", type=_DATA)
@click.option("--out", type=_FOLDER, help="Where scores are kept, so that a second call goes on.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["tangent-bands", "tvgg-gap"],
    show_default=True,
    help="Once for each: as `eeg train` has them, or svm, rf, tangent, tangent-bands.",
)
@click.option(
    "--rule", "rules", multiple=True, default=["backprop"], show_default=True, help="Once for each."
)
@click.option(
    "--labels",
    type=click.Choice(["events", "recording", "bag"]),
    default="recording",
    show_default=True,
    help="What networks learn; feature models learn each recording's diagnosis.",
)
@click.option("--window", type=_FloatRange(0.5), help="Seconds.  [default: 10 for recording, else 2]")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="By subject.")
@click.option("--epochs", type=click.IntRange(1), help="[default: the recipe's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "machine", is_flag=True, help="For machines.")
@_QUALITY
@_CACHE
@_JOBS
def compare(
    data: Path,
    out: Path | None,
    models: tuple[str, ...],
    rules: tuple[str, ...],
    folds: int,
    machine: bool,
    quality: str,
    cache: Path | None,
    jobs: int,
    **choices: Any,
) -> None:
    """Cross-validate models on the same folds of DATA: every network by every rule, and feature models.

    All are tested against the first.
    """
    import json

    from eeg import compare as comparison
    from eeg.datasets import open_corpus
    from eeg.features import FEATURES
    from eeg.splits import folds as split
    from eeg.statements import RESEARCH_USE
    from trainers.record import plain

    _one_thread()
    corpus = open_corpus(data)
    plans = [
        _plan(corpus, model=model, rule=rule, **choices, **_USUAL)
        for model in models
        for rule in (rules[:1] if model in FEATURES else rules)
    ]
    for plan in plans:
        if plan.model not in FEATURES:
            _known(plan.model, plan.rule)
            _fits(plan)
    failed: list[Entry] = []
    how: dict[str, Any] = {"policy": quality, "folder": cache, "jobs": jobs}
    loaded = _load(corpus, plans[0].preprocessing, plans[0].window, failed, **how)
    parts = split(list(loaded), folds, plans[0].seed)
    rows = comparison.compare(plans, loaded, parts, jobs=jobs, folder=out and _made(out))
    subjects = len({entry.subject for entry in loaded})
    if machine:
        click.echo(json.dumps({"subjects": subjects, "folds": folds, "rows": plain(rows)}, indent=2))
    else:
        click.echo(f"{corpus.name}{' (SIMULATED)' if corpus.simulated else ''}.  {RESEARCH_USE}")
        click.echo(comparison.as_text(rows, subjects))
    _end(failed)


_USUAL: dict[str, Any] = {
    "channels": None,
    "preset": "default",
    "reference": "average",
    "notch": None,
    "aggregation": None,
    "augment": (),
}
"""How `compare` prepares recordings and windows: as `train` does where nothing is said."""


@main.command(short_help="Judge a model on subjects it has not seen.")
@click.argument("run", type=_FOLDER)
@click.argument("data", type=_DATA, required=False)
@_NETWORK
@click.option(
    "--against", type=_FOLDER, metavar="RUN", help="Another model, to compare on the same subjects."
)
@_METHOD
@_QUALITY
@_CACHE
@_JOBS
def evaluate(
    run: Path,
    data: Path | None,
    against: Path | None,
    method: str,
    quality: str,
    cache: Path | None,
    jobs: int,
) -> None:
    """Judge the model of RUN on the recordings in DATA that it was not trained on.

    Without DATA, show the figures of the subjects that its training kept unseen.
    """
    from eeg import runs
    from eeg.datasets import open_corpus
    from eeg.results import describe
    from eeg.statements import RESEARCH_USE

    _one_thread()
    detector = _detector(run)
    plan = runs.plan_of(detector)
    if data is None:
        if against is not None:
            raise click.UsageError("--against needs DATA that both models can judge")
        for title, results in runs.recorded_results(run):
            click.echo(f"{title}:\n{describe(results, plan)}\n")
        click.echo(RESEARCH_USE)
        return
    corpus = open_corpus(data)
    failed: list[Entry] = []
    how: dict[str, Any] = {"policy": quality, "folder": cache, "jobs": jobs}
    loaded = _load(corpus, detector.preprocessing, detector.window, failed, **how)
    scored, seen = runs.unseen(detector, corpus, loaded)
    click.echo(_about(plan, corpus))
    if seen:
        click.echo(f"{seen} recording(s) were in its training data and are left out.")
    click.echo(describe(runs.judged(detector, scored), plan))
    found = runs.explained(detector, scored, method)
    if found is not None:
        click.echo(found.describe(method))
    if against is not None:
        rival = _detector(against)
        others = _load(corpus, rival.preprocessing, rival.window, [], **how)
        click.echo(runs.compared(scored, runs.unseen(rival, corpus, others)[0]))
    _end(failed)


@main.command(short_help="Score and explain recordings.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@_NETWORK
@click.option("--out", type=_FOLDER, required=True, help="One folder a recording is made below it.")
@_PREVALENCE
@click.option(
    "--alpha",
    type=_FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of each group that may be taken for the other one.  [default: 0.1]",
)
@_METHOD
@_BASELINE
@_BATCH
@_SEGMENTS
@_KEEP_NAMES
@click.option("--tensorboard", is_flag=True, help="Write the report's pictures for TensorBoard as well.")
@_QUALITY
def detect(
    model: Path,
    recordings: tuple[Path, ...],
    out: Path,
    prevalence: float | None,
    alpha: float | None,
    method: str,
    baseline: str,
    batch: int,
    segments: int,
    keep_names: bool,
    tensorboard: bool,
    quality: Policy,
) -> None:
    """Score and explain RECORDINGS with MODEL, a file or a folder that `eeg train` wrote."""
    from eeg.conformal import ALPHA, EXCHANGEABILITY
    from eeg.detect import detect as one
    from eeg.detect import output_name
    from eeg.statements import NORMAL_EEG, RESEARCH_USE
    from trainers.errors import DataError

    _one_thread()
    _apart([output_name(path, keep_names) for path in recordings if path.exists()])
    detector = _detector(model)
    if alpha is not None:
        detector.calibration.conformal.check(alpha)
    alpha = alpha or ALPHA
    _made(out)
    stated = detector.calibration.prevalence if prevalence is None else prevalence
    click.echo(f"Score for epilepsy-like EEG at a stated prevalence of {stated:.2f}.  {RESEARCH_USE}")
    if detector.training.get("simulated"):
        click.echo("The model was trained on simulated EEG: its scores mean nothing for a real person.")
    failed = 0
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
                policy=quality,
                tensorboard=tensorboard,
            )
        except DataError as error:
            click.echo(f"Error: {error}", err=True)
            failed += 1
            continue
        count = len(explanation.segments)
        place = f"{number}/{len(recordings)}"
        click.echo(f"{place}  {decision.probability:.2f}  {count} segment(s)  {folder / 'report.html'}")
        click.echo(f"     {decision.answer}")
    n = detector.calibration.conformal.n
    click.echo(
        f"Groups are told with an error rate of at most {alpha:g} each, by n = {n} calibrating subjects of"
    )
    click.echo(f"the smaller group. {EXCHANGEABILITY}")
    if tensorboard:
        click.echo(f"Pictures: tensorboard --logdir {out / 'tensorboard'}")
    click.echo(NORMAL_EEG)
    _end(failed)


@main.command(short_help="Show which segments drive a score.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recording", type=click.Path(path_type=Path))
@_NETWORK
@click.option("--out", type=_FOLDER, required=True, help="A folder for the recording is made below it.")
@_PREVALENCE
@_METHOD
@_BASELINE
@click.option(
    "--healthy",
    type=click.Path(path_type=Path),
    help="A control's recording, windows of which stand in for what is taken out, instead of --baseline.",
)
@_BATCH
@_SEGMENTS
@_KEEP_NAMES
def explain(
    model: Path,
    recording: Path,
    out: Path,
    prevalence: float | None,
    method: str,
    baseline: str,
    healthy: Path | None,
    batch: int,
    segments: int,
    keep_names: bool,
) -> None:
    """Show which segments of RECORDING drive the score of MODEL, and how far that may be believed.

    Segments whose removal does not matter more than that of any others are not shown.
    """
    from eeg.explain import as_text, explain_recording
    from eeg.statements import NOT_A_FINDING, RESEARCH_USE

    _one_thread()
    detector = _detector(model)
    baseline = baseline if healthy is None else "healthy"
    explanation, found, folder = explain_recording(
        detector,
        recording,
        _made(out),
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


def _detector(model: Path) -> Detector:
    """Load a model's file or that of a folder, with the code that --network allows."""
    from eeg.detector import load

    path = model / "model.safetensors" if model.is_dir() else model
    return load(path, click.get_current_context().meta["eeg.network"])


def _shuffled(corpus: Corpus, plan: Plan, seed: int) -> Corpus:
    """Deal the diagnoses out anew, where it is these that are learned."""
    from eeg.datasets import Corpus
    from eeg.splits import shuffled

    if plan.labels == "events":
        raise click.UsageError("--shuffle-labels is a control of --labels recording")
    known = [entry for entry in corpus.entries if entry.label is not None]
    return Corpus(f"{corpus.name}, diagnoses shuffled", shuffled(known, seed), corpus.simulated)


def _one_thread() -> None:
    """Small networks gain nothing from more threads; --jobs takes the other cores."""
    import torch

    torch.set_num_threads(1)


def _end(failed: object) -> None:
    """Leave with exit code 1 where something failed on the way."""
    if failed:
        raise SystemExit(1)


def _made(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise click.BadParameter(f"{out} cannot be written: {error.strerror}", param_hint="--out") from error
    return out


def _new(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.BadParameter(f"{out} is not empty; name a new folder", param_hint="--out")
    return _made(out)


def _apart(names: list[str]) -> None:
    """Refuse recordings whose results would go to one folder."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise click.UsageError(
            f"several recordings would go to {', '.join(twice)}; name another --out for each"
        )


def _known(model: str, rule: str) -> None:
    """Refuse names that are unknown, or of rules that cannot train a detector, before anything is read."""
    from eeg.models import find as network
    from hebbian.registry import find

    try:
        network(model)
        entry = find(rule)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not entry.one_logit or "own readout" in entry.traits:
        raise click.UsageError(
            f"{rule} does not train a network of one logit that reads out by itself, as a detector must; "
            "choose another rule (`hebbian rules`)"
        )


def _fits(plan: Plan) -> None:
    """Refuse choices that do not go together, and windows that are too short for the network."""
    from eeg.models import build

    settings = plan.preprocessing
    try:
        plan.check()
        build(plan.model, len(settings.inputs), round(plan.window * settings.sfreq))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _plan(
    corpus: Corpus,
    *,
    labels: str | None,
    channels: str | None,
    preset: str,
    reference: Reference,
    notch: str | None,
    window: float | None,
    aggregation: str | None,
    augment: tuple[str, ...],
    **same: Any,
) -> Plan:
    from dataclasses import replace

    from eeg import runs
    from eeg.mains import mains
    from eeg.preprocess import Preprocessing
    from eeg.recording import harmonise
    from eeg.training import AGGREGATION, WINDOW, Plan

    kind = labels or ("events" if all(e.events for e in corpus.entries) else "recording")
    names = (
        tuple(harmonise(name.strip()) for name in channels.split(","))
        if channels
        else runs.default_channels(corpus)
    )
    try:
        settings = Preprocessing.paper(names) if preset == "paper" else Preprocessing(names)
        settings = replace(settings, reference=reference, notch=mains(notch) if notch else settings.notch)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    paper = preset == "paper" and kind == "recording"
    return Plan(
        preprocessing=settings,
        labels=kind,  # type: ignore[arg-type]
        window=window or WINDOW[kind],  # type: ignore[index]
        augment=tuple(
            a for a in augment or (("none",) if reference == "bipolar" else ("turn",)) if a != "none"
        ),
        aggregation=aggregation or ("mean-probability" if paper else AGGREGATION[kind]),  # type: ignore[index]
        **same,
    )


def _load(corpus: Corpus, settings: Preprocessing, length: float, failed: list[Entry], **how: Any) -> Loaded:
    from eeg import runs

    def note(entry: Entry, error: DataError) -> None:
        failed.append(entry)
        click.echo(f"Error: {error}; it is left out", err=True)

    loaded = runs.load_corpus(corpus, settings, length, on_error=note, **how)
    click.echo(runs.left_out(loaded))
    return loaded


def _about(plan: Plan, corpus: Corpus) -> str:
    from eeg.statements import RESEARCH_USE

    kind = "SIMULATED" if corpus.simulated else "recorded"
    return (
        f"{plan.model} by {plan.rule}, labels: {plan.labels}, windows of {plan.window:g} s, "
        f"{len(plan.preprocessing.inputs)} channels, {corpus.name} ({kind}).  {RESEARCH_USE}"
    )
