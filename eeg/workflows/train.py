"""Train a detector on a corpus: `eeg train` and `eeg.train`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eeg.datasets import Corpus, Entry, splits
from eeg.datasets.copies import hash_signals
from eeg.datasets.fingerprint import corpus_digest, file_hash, fingerprint
from eeg.detector import novelty
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector, save_detector
from eeg.detector.prototypes import choose
from eeg.detector.provenance import LONGEST, SUBJECTS, Provenance, printable
from eeg.detector.results import Results
from eeg.evaluation.recording_metadata import read_confounds
from eeg.evaluation.results import compute_results, fit_calibrations, write_predictions
from eeg.labels import Labels
from eeg.models.local_readout import has_own_readout
from eeg.models.pooling import CHOSEN
from eeg.reporting import model_card, tensorboard
from eeg.training import fit, fold_cache
from eeg.training.cross_validation import (
    Scored,
    calibrate_subjects,
    choose_aggregation,
    cross_validate,
    score_recordings,
)
from eeg.training.design import Design
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from eeg.workflows.choices import check_names, check_plan, describe_plan, make_plan
from eeg.workflows.corpus import OnError, OnMessage, load_corpus, usable
from eeg.workflows.run_folder import PARTS, RECORD, begin, finish, finished, open_run_folder, started
from trainers.callbacks import Progress
from trainers.errors import DataError, SettingsError, concerning
from trainers.files import partial_folder, replacing
from trainers.provenance import from_plain, read_record, versions, write_record
from visualizers.tensorboard import TensorBoard


@dataclass(frozen=True)
class TrainingRun:
    """The outcome of a training.

    Parameters
    ----------
    plan
        What was trained and how.
    detector
        The network trained on all training subjects, calibrated on out-of-fold scores.
    results
        Out-of-fold metrics of the training subjects, with intervals and confounds.
    held_out
        The same of the held-out subjects, scored by the detector; None without any.
    unseen
        The held-out recordings with their window scores; empty if the run was read from its folder.
    """

    plan: Plan
    detector: Detector
    results: Results
    held_out: Results | None
    unseen: tuple[Scored, ...] = ()

    @property
    def all_results(self) -> dict[str, Results]:
        """The results by their key in `eeg.reporting.model_card.RESULT_TITLES`."""
        results = {"cross_validated": self.results, "held_out": self.held_out}
        return {key: value for key, value in results.items() if value is not None}


def train(
    corpus: Corpus,
    *,
    model: str = "tvgg-gap",
    rule: str = "backprop",
    labels: Labels | None = None,
    folds: int = 5,
    by_site: bool = False,
    hold_out: float | Path | Collection[str] = 0.0,
    prototypes: int = 0,
    shuffle_labels: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    cache: Path | None = None,
    jobs: int = 1,
    on_error: OnError | None = None,
    on_message: OnMessage | None = None,
    **settings: Any,
) -> TrainingRun:
    """Train a detector on a corpus, cross-validated by subject.

    Parameters
    ----------
    corpus
        Recordings and diagnoses; see `eeg.datasets.open_corpus`.
    model, rule, labels, seed, **settings
        What is trained and how; see `eeg.workflows.choices.make_plan`.
    folds, by_site
        Number of folds by subject, or one fold per site instead.
    hold_out
        The fraction of subjects, the names of the subjects, or a table with the column ``subject``, that no
        training uses.
    prototypes
        Number of training windows per class that the detector stores for comparison with segments.
    shuffle_labels
        A seed to permute the diagnoses across subjects: a negative control, expected at chance level.
    out
        A new folder for the model, its card, all scores and the record of the run; None writes nothing.
    resume
        Continue an interrupted training in ``out``; the result is the same bit for bit.  If there is none, it
        starts, and ``on_message`` is called.
    cache
        A folder that stores preprocessed windows for later calls.
    jobs
        Number of processes.
    on_error
        Called with each unusable recording, which is left out; None raises its error.
    on_message
        Called with lines on what is trained and what is excluded.

    Raises
    ------
    SettingsError
        If a setting is unknown or excludes another, or ``out`` is not empty.
    DataError
        If the corpus cannot be used or split, or ``out`` belongs to another training.
    """
    check_names(model, rule)
    corpus = usable(corpus, on_error=on_error, on_message=on_message)
    plan = make_plan(corpus, model=model, rule=rule, labels=labels, seed=seed, **settings)
    check_plan(plan, prototypes=prototypes)
    if shuffle_labels is not None:
        corpus = _permute(corpus, plan, shuffle_labels)
    if resume and out is not None and on_message is not None and not started(out):
        on_message(f"{out}: no training to resume; it starts from the beginning.")
    design = Design(folds, _held_out(hold_out, corpus), by_site, prototypes)
    with (
        nullcontext() if out is None else open_run_folder(out, resume, _record(plan, design, corpus), corpus)
    ):
        if out is not None and finished(out):
            shutil.rmtree(out / PARTS, ignore_errors=True)  # of a training killed after its last record
            return read_run(out, plan)
        design.split(splits.diagnosed(corpus), seed)  # refused before anything is loaded
        with partial_folder((out or Path(tempfile.gettempdir())) / "windows") as overflow:
            loaded = load_corpus(
                corpus,
                plan,
                unlabelled=plan.finetune,
                cache=cache,
                overflow=overflow,
                jobs=jobs,
                on_error=on_error,
                on_message=on_message,
            )
            if on_message is not None:
                on_message(describe_plan(plan, corpus))
            return train_plan(plan, corpus, loaded, design, out=out, jobs=jobs, on_message=on_message)


def train_plan(
    plan: Plan,
    corpus: Corpus,
    loaded: Loaded,
    design: Design,
    *,
    out: Path | None = None,
    jobs: int = 1,
    on_message: OnMessage | None = None,
) -> TrainingRun:
    """Cross-validate, calibrate, train the final network, evaluate it, and write all that to ``out``.

    Parameters
    ----------
    plan
        What is trained and how.
    corpus, loaded
        The recordings, and the windows of each.
    design
        How the subjects are split.
    out
        An existing folder; None writes nothing.  The finished parts of an interrupted training in it are
        used again.
    jobs
        Number of processes.
    on_message
        Called with one line if the scores of a fold cannot be stored.

    Raises
    ------
    DataError
        If ``out`` belongs to another training.
    """
    entries = [entry for entry in loaded if entry.label is not None]
    train, held_out, folds = design.split(entries, plan.seed)
    record = {
        **_record(plan, design, corpus),
        "corpus_sha256": corpus_digest(corpus),
        "held_out": fingerprint(held_out),
        "data_sha256": fold_cache.corpus_windows_digest(loaded),
    }
    folder = None if out is None else begin(out, record)
    confounds = read_confounds(entries, jobs)
    scored = cross_validate(plan, loaded, folds, jobs, folder, on_message)
    results = compute_results(plan, scored, None, folds=design.folds, confounds=confounds)
    final = replace(plan, aggregation=choose_aggregation(scored)) if plan.aggregation == CHOSEN else plan
    detector = _train_final(final, loaded, train, scored, design.prototypes, out)
    unseen = tuple(score_recordings(detector.network, loaded, held_out, "held out", final.aggregation))
    held_out_results = None
    if unseen:
        held_out_results = compute_results(
            final, unseen, detector.calibration, folds=design.folds, confounds=confounds
        )
    used = [*train, *fit.without_diagnosis(loaded, train)] if plan.finetune else train
    provenance = Provenance(
        corpus=printable(corpus.name)[:LONGEST],
        simulated=corpus.simulated,
        subjects=results.subjects,
        epilepsy=results.epilepsy,
        rule=plan.rule,
        seed=plan.seed,
        recordings=tuple(fingerprint(used)),
        signals=tuple(sorted(filter(None, hash_signals(used, jobs)))),
        versions=record["versions"],
        splits=design.describe(len(folds)),
        results={k: v for k, v in zip(SUBJECTS, (results, held_out_results), strict=True) if v is not None},
    )
    run = TrainingRun(plan, replace(detector, training=provenance), results, held_out_results, unseen)
    if out is not None:
        _write(run, record, scored, out)
    return run


def read_run(out: Path, plan: Plan) -> TrainingRun:
    """Return a finished run from its folder, without the window scores."""
    results = read_results(out)
    detector = load_detector(out / "model.safetensors", plan.model)
    return TrainingRun(plan, detector, results["cross_validated"], results.get("held_out"))


def _permute(corpus: Corpus, plan: Plan, seed: int) -> Corpus:
    if plan.labels == "events":
        raise SettingsError("--shuffle-labels: a negative control of --labels recording, not of events")
    entries = splits.permute_labels([e for e in corpus.entries if e.label is not None], seed)
    return Corpus(f"{corpus.name}, diagnoses shuffled (seed {seed})", entries, corpus.simulated)


def _held_out(hold_out: float | Path | Collection[str], corpus: Corpus) -> float | frozenset[str]:
    if isinstance(hold_out, Path):
        with concerning("--hold-out"):
            return splits.read_subjects(hold_out, corpus.entries)
    return float(hold_out) if isinstance(hold_out, (int, float)) else frozenset(hold_out)


def _record(plan: Plan, design: Design, corpus: Corpus) -> dict[str, Any]:
    """Return the settings of a run that are known before anything is read; they identify no subject."""
    return {"plan": plan, **design.record(), "corpus": corpus.name, "versions": versions()}


def _train_final(
    plan: Plan,
    loaded: Loaded,
    train: Sequence[Entry],
    scored: Sequence[Scored],
    prototypes: int,
    out: Path | None,
) -> Detector:
    """Train the detector on all training subjects, or read it from ``out`` if it was trained before."""
    path = None if out is None else out / PARTS / "model.safetensors"
    if path is not None and path.exists():
        return load_detector(path, plan.model)
    with ExitStack() as stack:
        callbacks: list[object] = [Progress()]
        if out is not None:
            shutil.rmtree(out / "tensorboard", ignore_errors=True)  # of an interrupted training
            callbacks.append(stack.enter_context(TensorBoard(out / "tensorboard")))
        network = fit.train_network(plan, loaded, train, callbacks)
    windows = [loaded[e] for e in train]
    examples = fit.stack_examples(windows, plan.labels)[:2] if prototypes else None
    detector = Detector(
        network=network,
        model=plan.model,
        preprocessing=plan.preprocessing,
        window=plan.window,
        labels=plan.labels,
        aggregation=plan.aggregation,
        calibration=calibrate_subjects(plan, scored),
        gate=novelty.fit_novelty([novelty.statistics(w.data, plan.preprocessing.sfreq) for w in windows]),
        quality=plan.quality,
        prototypes=examples and choose(network, *examples, prototypes, plan.seed),
        readout=plan.rule if has_own_readout(plan.rule) else None,
    )
    if path is not None:
        save_detector(detector, path)
    return detector


def _write(run: TrainingRun, record: Mapping[str, Any], scored: Sequence[Scored], out: Path) -> None:
    """Write the model, its card, every window's score and the record of the run."""
    save_detector(run.detector, out / "model.safetensors")
    write_predictions(run.plan, [*scored, *run.unseen], out / "predictions.csv")
    evaluated = {"cross-validated": (scored, fit_calibrations(scored, None))}
    windows = {"windows of training subjects": scored}
    if run.unseen:
        evaluated["held out"] = run.unseen, fit_calibrations(run.unseen, run.detector.calibration)
        windows["windows of held-out subjects"] = run.unseen
    board = out / "tensorboard" / "evaluation"
    shutil.rmtree(board, ignore_errors=True)  # of an interrupted training
    tensorboard.write_training(run.detector.network, evaluated, windows, board)
    with replacing(out / "card.md") as part:
        part.write_text(model_card.render_card(run.detector), encoding="utf-8")
    accounts = {file_hash(s.entry.path): s.windows.account() for s in [*scored, *run.unseen]}
    write_record(out / "quality.json", dict(sorted(accounts.items())))
    finish(out, record, run.detector.training)


def read_results(out: Path) -> dict[str, Results]:
    """Return the results in the record of a run, by their key in `eeg.reporting.model_card.RESULT_TITLES`.

    Raises
    ------
    DataError
        If the folder contains no record of a run.
    """
    path = out / RECORD
    try:
        return dict(from_plain(Provenance, read_record(path)["training"]).results)
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: no record of a run; expected a folder that `eeg train` wrote") from None
