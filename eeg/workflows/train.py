"""One training from a folder of recordings to a folder of results: what `eeg train` does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from eeg.budget import lasting
from eeg.datasets import Corpus, Entry, splits
from eeg.datasets.fingerprint import corpus_digest, file_hash, fingerprint
from eeg.detector import novelty
from eeg.detector.detector import Detector, load_detector, save_detector
from eeg.detector.prototypes import choose
from eeg.detector.provenance import Provenance
from eeg.evaluation.recording_metadata import read_confounds
from eeg.evaluation.results import Results, compute_results, fit_calibrations, write_predictions
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import read_recording
from eeg.models.embedding import find_readout
from eeg.models.local_readout import build_network, has_own_readout
from eeg.models.pooling import CHOSEN
from eeg.preprocessing.loading import load_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from eeg.reporting import model_card, tensorboard
from eeg.training import cross_validation, fit, fold_cache
from eeg.training.cross_validation import Scored
from eeg.training.fit import Loaded
from eeg.training.plan import Design, Plan
from eeg.workflows.run_folder import PARTS, RECORD, begin, finish
from trainers.callbacks import Progress
from trainers.errors import DataError
from trainers.files import replacing
from trainers.provenance import from_plain, to_plain, versions, write_record
from visualizers.tensorboard import TensorBoard


@dataclass(frozen=True)
class Run:
    """What a training gave."""

    detector: Detector
    cross_validated: Results
    held_out: Results | None
    unseen: tuple[Scored, ...]  # the held-out recordings, as the final network saw them


def default_channels(corpus: Corpus) -> tuple[str, ...]:
    """Return the 19 electrodes of 10-20 if the first readable recording has them, else all it has.

    Raises
    ------
    DataError
        If no recording can be read.
    """
    for entry in corpus.entries:
        try:
            names = read_recording(entry.path, preload=False).ch_names
        except DataError:  # it is reported when all recordings are loaded
            continue
        return TEN_TWENTY if set(TEN_TWENTY) <= set(names) else tuple(names)
    raise DataError(f"{corpus.name}: none of its {len(corpus.entries)} recordings can be read as EEG")


def load_corpus(
    corpus: Corpus,
    settings: Preprocessing,
    length: float,
    *,
    policy: Policy = "exclude",
    folder: Path | None = None,
    jobs: int = 1,
    on_error: Callable[[Entry, DataError], None] | None = None,
    unlabelled: bool = False,
) -> Loaded:
    """Load every recording whose subject has a diagnosis, and the ``unlabelled`` ones if they are wanted.

    For the rest see `eeg.preprocessing.loading.load_windows`.
    """
    known = splits.diagnosed(corpus)
    wanted = corpus.entries if unlabelled else known
    chosen = Corpus(corpus.name, wanted, corpus.simulated)
    return load_windows(chosen, settings, length, policy=policy, folder=folder, jobs=jobs, on_error=on_error)


def left_out(loaded: Loaded) -> str:
    """Tell what of the recordings is not learned from nor judged."""
    windows = loaded.values()
    flawed, ictal = sum(w.flawed for w in windows), sum(w.ictal for w in windows)
    total = sum(len(w.data) for w in windows) + flawed + ictal
    bad = sum(bool(w.quality and (w.quality.flat or w.quality.not_finite)) for w in windows)
    short = sum(w.short for w in windows)
    counts = {
        "within seizures": ictal,
        "that are no clean EEG": flawed,
        "stretch(es) between gaps that are too short": short,
    }
    found = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    lines = [f"Left out of {total} windows: {found or 'none'}."]
    if bad:
        lines.append(
            f"Channels are flat or not finite, and interpolated if used, in {bad} of {len(loaded)} "
            "recording(s)."
        )
    return "  ".join(lines)


def run(
    plan: Plan,
    corpus: Corpus,
    loaded: Loaded,
    design: Design,
    *,
    out: Path | None = None,
    jobs: int = 1,
    said: Callable[[str], object] = lambda line: None,
) -> Run:
    """Cross-validate, calibrate, train the final network and judge it, and write all that to ``out``.

    Parameters
    ----------
    plan, corpus, loaded
        How is learned, and from what.
    design
        Who is trained on and who is judged.
    out
        An existing folder; nothing is written without it.  If it holds the same training, unfinished, what
        is done of that is not done again, and the end is the same bit for bit.
    jobs
        Processes that work at once.
    said
        Told how long it will take, as soon as that is known.

    Raises
    ------
    DataError
        If ``out`` is of another training.
    ValueError
        As `refuse_prototypes`, if any are wanted.
    """
    if design.prototypes:
        refuse_prototypes(plan)
    entries = [entry for entry in loaded if entry.label is not None]
    train, held, parts = design.split(entries, plan.seed)
    asked = {
        **settings(plan, design, corpus),
        "corpus_sha256": corpus_digest(corpus),
        "held_out": fingerprint(held),
        "data_sha256": fold_cache.corpus_windows_digest(loaded),
    }
    folder = None if out is None else begin(out, asked)
    confounds = read_confounds(entries, jobs)
    scored = cross_validation.cross_validate(plan, loaded, parts, jobs, folder, partial(_tell, said))
    crossed = compute_results(plan, scored, None, folds=design.folds, confounds=confounds)
    final = replace(plan, aggregation=cross_validation.chosen(scored)) if plan.aggregation == CHOSEN else plan
    bare = _final(final, loaded, train, scored, design.prototypes, out)
    unseen = tuple(cross_validation.score(bare.network, loaded, held, "held out", final.aggregation))
    held_out = (
        compute_results(final, unseen, bare.calibration, folds=design.folds, confounds=confounds)
        if held
        else None
    )
    used = [*train, *fit.without_diagnosis(loaded, train)] if plan.finetune else train
    facts = Provenance(
        corpus=corpus.name,
        simulated=corpus.simulated,
        subjects=crossed.subjects,
        epilepsy=crossed.epilepsy,
        rule=plan.rule,
        seed=plan.seed,
        recordings=tuple(fingerprint(used)),
        versions=asked["versions"],
        splits=design.describe(len(parts)),
        results=to_plain({"cross_validated": crossed, "held_out": held_out}),
    )
    done = Run(replace(bare, training=facts), crossed, held_out, unseen)
    if out is not None:
        _write(done, asked, plan, scored, out)
    return done


def settings(plan: Plan, design: Design, corpus: Corpus) -> dict[str, Any]:
    """Return what a run is told, as far as that is known before anything is read; it names nobody."""
    return {"plan": plan, **design.record(), "corpus": corpus.name, "versions": versions()}


def _tell(said: Callable[[str], object], seconds: float, rounds: int) -> None:
    said(f"{lasting((rounds + 1) * seconds).capitalize()} more, for the other folds and the final network")


def _final(
    plan: Plan,
    loaded: Loaded,
    train: Sequence[Entry],
    scored: Sequence[Scored],
    prototypes: int,
    out: Path | None,
) -> Detector:
    """Return the detector of all training subjects, without figures; from ``out`` if it lies there."""
    path = None if out is None else out / PARTS / "model.safetensors"
    if path is not None and path.exists():
        return load_detector(path, plan.model)
    with ExitStack() as stack:
        callbacks: list[object] = [Progress()]
        if out is not None:
            shutil.rmtree(out / "tensorboard", ignore_errors=True)  # of a training that was killed
            callbacks.append(stack.enter_context(TensorBoard(out / "tensorboard")))
        network = fit.network_of(plan, loaded, train, callbacks)
    windows = [loaded[e] for e in train]
    learned = fit.labelled(windows, plan.labels)[:2] if prototypes else None
    found = Detector(
        network=network,
        model=plan.model,
        preprocessing=plan.preprocessing,
        window=plan.window,
        labels=plan.labels,
        aggregation=plan.aggregation,
        calibration=cross_validation.calibrate_subjects(plan, scored),
        gate=novelty.fit_novelty([novelty.statistics(w.data, plan.preprocessing.sfreq) for w in windows]),
        quality=plan.quality,
        prototypes=learned and choose(network, *learned, prototypes, plan.seed),
        readout=plan.rule if has_own_readout(plan.rule) else None,
    )
    if path is not None:
        save_detector(found, path)
    return found


def refuse_prototypes(plan: Plan) -> None:
    """Raise `ValueError` where nothing could tell, later, which of the kept windows a segment is like."""
    settings = plan.preprocessing
    own = plan.rule if has_own_readout(plan.rule) else None
    if (
        find_readout(
            build_network(plan.model, own, len(settings.inputs), round(plan.window * settings.sfreq))
        )
        is None
    ):
        raise ValueError(
            f"{plan.model} by {plan.rule} has no linear readout before which windows could be compared; "
            "train it without prototypes"
        )


def _write(done: Run, asked: Mapping[str, Any], plan: Plan, scored: Sequence[Scored], out: Path) -> None:
    """Write the model, its card, every window's score and what the run can be repeated from."""
    save_detector(done.detector, out / "model.safetensors")
    write_predictions(plan, [*scored, *done.unseen], out / "predictions.csv")
    judged = {"cross-validated": (scored, fit_calibrations(scored, None))}
    shown = {"windows of training subjects": scored}
    if done.unseen:
        judged["held out"] = done.unseen, fit_calibrations(done.unseen, done.detector.calibration)
        shown["windows of held-out subjects"] = done.unseen
    board = out / "tensorboard" / "evaluation"
    shutil.rmtree(board, ignore_errors=True)  # of a training that was killed
    tensorboard.write_training(done.detector.network, judged, shown, board)
    with replacing(out / "card.md") as part:
        part.write_text(model_card.render_card(done.detector), encoding="utf-8")
    accounts = {file_hash(s.entry.path): s.windows.account() for s in [*scored, *done.unseen]}
    write_record(out / "quality.json", dict(sorted(accounts.items())))
    finish(out, asked, done.detector.training)


def recorded_results(out: Path) -> dict[str, Results]:
    """Return the figures that a run wrote down, by what its subjects were to the network: see `card.TITLES`.

    Raises
    ------
    DataError
        If the folder holds no record of a run.
    """
    path = out / RECORD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["training"]["results"]
        return {
            key: from_plain(Results, found[key]) for key in model_card.RESULT_TITLES if found[key] is not None
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: no record of a run; expected a folder that `eeg train` wrote") from None
