"""One training from a folder of recordings to a folder of results: `eeg train` and `eeg evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eeg import splits, training
from eeg.datasets import Corpus, Entry
from eeg.detector import Detector, save
from eeg.faithfulness import Precision, precision
from eeg.preprocess import Preprocessing
from eeg.recording import TEN_TWENTY, read
from eeg.results import Results, judge, recorded, write_predictions
from eeg.training import Loaded, Plan, Scored, file_hash
from eeg.windows import load
from trainers.callbacks import Progress
from trainers.errors import DataError
from trainers.record import versions, write
from visualizers.tensorboard import TensorBoard

_STRONG_CUE = 0.7


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
            names = read(entry.path).ch_names
        except DataError:  # it is reported when all recordings are loaded
            continue
        return TEN_TWENTY if set(TEN_TWENTY) <= set(names) else tuple(names)
    raise DataError(f"{corpus.name}: none of its {len(corpus.entries)} recordings can be read as EEG")


def load_corpus(
    corpus: Corpus,
    settings: Preprocessing,
    length: float,
    *,
    jobs: int = 1,
    on_error: Callable[[Entry, DataError], None] | None = None,
) -> Loaded:
    """Load every recording whose subject has a diagnosis."""
    known = tuple(e for e in corpus.entries if e.label is not None)
    if not known:
        raise DataError(f"{corpus.name}: no recording has a diagnosis; name them in the table of subjects")
    splits.subjects_of(known)
    return load(Corpus(corpus.name, known, corpus.simulated), settings, length, jobs=jobs, on_error=on_error)


def run(
    plan: Plan,
    corpus: Corpus,
    loaded: Loaded,
    *,
    folds: int,
    hold_out: float = 0.0,
    out: Path | None = None,
    jobs: int = 1,
) -> Run:
    """Cross-validate, calibrate, train the final network and judge it, and write all that to ``out``.

    ``hold_out`` is the share of subjects that no training, also not that of a fold, ever sees.
    """
    entries = list(loaded)
    held: Sequence[Entry] = ()
    train: Sequence[Entry] = entries
    if hold_out:
        train, held = splits.hold_out(entries, hold_out, plan.seed)
    scored = training.cross_validate(plan, loaded, train, folds, jobs)
    calibration = training.fit_calibration(plan, scored)
    with ExitStack() as stack:
        callbacks: list[object] = [Progress()]
        if out is not None:
            callbacks.append(stack.enter_context(TensorBoard(out / "tensorboard")))
        network = training.fit_network(plan, [loaded[e] for e in train], callbacks)
    unseen = tuple(training.score(network, loaded, held, "held out"))
    crossed = judge(plan, scored, None, folds=folds)
    facts = {
        "corpus": corpus.name,
        "simulated": corpus.simulated,
        "subjects": crossed.subjects,
        "epilepsy": crossed.epilepsy,
        "rule": plan.rule,
        "seed": plan.seed,
        "recordings": training.fingerprint(train),
        "versions": versions(),
        "cross_validated": {name: asdict(e) for name, e in crossed.levels["subjects"].items()},
        "cues": [
            f"{name} has a ROC-AUC of {e}"
            for name, e in crossed.baselines.items()
            if "alone" in name and e.value > _STRONG_CUE
        ],
    }
    done = Run(
        detector=training.detector(plan, network, calibration, facts),
        cross_validated=crossed,
        held_out=judge(plan, unseen, calibration, folds=min(folds, _rarest(held))) if held else None,
        unseen=unseen,
    )
    if out is not None:
        save(done.detector, out / "model.safetensors")
        write_predictions(plan, [*scored, *unseen], out / "predictions.csv")
        record = {"plan": plan, "folds": folds, "hold_out": hold_out, "training": facts}
        figures = {"cross_validated": done.cross_validated, "held_out": done.held_out}
        write(out / "run.json", {**record, "results": figures})
    return done


def unseen(detector: Detector, corpus: Corpus, loaded: Loaded) -> tuple[list[Scored], int]:
    """Return what a detector gives for recordings that it was not trained on, and how many it was.

    Raises
    ------
    DataError
        If nothing is left that it has not seen, or of one class only.
    """
    known = set(detector.training.get("recordings", []))
    fresh = [e for e in loaded if file_hash(e.path) not in known]
    if not fresh:
        raise DataError(f"{corpus.name}: the model was trained on every recording; evaluate it on others")
    splits.subjects_of(fresh)
    return training.score(detector.network, loaded, fresh, "held out"), len(loaded) - len(fresh)


def judged(detector: Detector, scored: Sequence[Scored]) -> Results:
    """Return the figures of recordings that the detector had not seen."""
    folds = min(5, _rarest([s.entry for s in scored]))
    return judge(plan_of(detector), scored, detector.calibration, folds=folds)


def recorded_results(out: Path) -> list[tuple[str, Results]]:
    """Return the figures that a run wrote down, each with what its subjects were to the network.

    Raises
    ------
    DataError
        If the folder holds no record of a run.
    """
    path = out / "run.json"
    titles = {
        "cross_validated": "Training subjects, each as seen by a fold that was not trained on him",
        "held_out": "Held-out subjects, whom no training had seen",
    }
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["results"]
        return [(title, recorded(found[key])) for key, title in titles.items() if found[key] is not None]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: no record of a run; expected a folder that `eeg train` wrote") from None


def plan_of(detector: Detector) -> Plan:
    """Return the part of the plan that a detector remembers."""
    return Plan(
        preprocessing=detector.preprocessing,
        labels=detector.labels,
        window=detector.window,
        aggregation=detector.aggregation,
        model=detector.model,
        rule=detector.training.get("rule", "unknown"),
    )


def explained(detector: Detector, scored: Sequence[Scored], method: str = "occlusion") -> Precision | None:
    """Return the mean precision at R over the recordings with annotated discharges, None if none has."""
    found = [p for p in (precision(detector, s, method) for s in scored) if p is not None]
    if not found:
        return None
    return Precision(*(float(np.mean([getattr(p, f) for p in found])) for f in Precision.__annotations__))


def _rarest(entries: Sequence[Entry]) -> int:
    labels = list(splits.subjects_of(entries).values())
    return min(labels.count(0), labels.count(1))
