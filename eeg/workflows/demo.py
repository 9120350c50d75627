"""The main job from first to last on simulated EEG: what `make demo` runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from eeg.datasets import Corpus, Entry, open_corpus
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.evaluation.metrics import Estimate, auc
from eeg.evaluation.results import describe_results
from eeg.io.electrodes import TEN_TWENTY
from eeg.labels import LABEL_MODES
from eeg.preprocessing.pipeline import Preprocessing
from eeg.reporting.model_card import RESULT_TITLES
from eeg.simulation.write_bids import write_cohort
from eeg.training import cross_validation, fit
from eeg.training.cross_validation import Scored
from eeg.training.plan import Design, Plan
from eeg.workflows import train as train_workflow
from eeg.workflows.detect import detect
from eeg.workflows.evaluate import explained
from trainers.errors import DataError

Say = Callable[[str], None]

_DESIGN = Design(folds=5, hold_out=0.4, prototypes=8)
_JOBS = 2


def run(out: Path, seed: int, say: Say) -> None:
    """Simulate, train, evaluate, detect and explain, and say what to open.

    A cohort that is there already is used again; the rest is made anew.

    Raises
    ------
    DataError
        ``out`` holds a ``run`` that is of no demo.
    """
    folder = out / "run"
    if folder.exists() and not any(out.glob("cohort-*")):
        raise DataError(f"{folder}: is of no demo, which would replace it; name another --out")
    say(f"Everything here is SIMULATED and shows how the software works.  {RESEARCH_USE}\n")
    cohort = out / f"cohort-{seed}"
    if not cohort.exists():
        say("1/4  Simulating 80 subjects x 5 min with known discharges")
        write_cohort(cohort, seed=seed, jobs=_JOBS)
    corpus = open_corpus(cohort)
    mode = LABEL_MODES["events"]
    plan = Plan(Preprocessing(TEN_TWENTY), "events", mode.window, mode.aggregation, seed=seed)
    say("2/4  Training t-VGG GAP by backprop on annotated discharges, cross-validated by subject")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    loaded = train_workflow.load_corpus(corpus, plan.preprocessing, plan.window)
    done = train_workflow.run(plan, corpus, loaded, _DESIGN, out=folder, jobs=_JOBS)
    del loaded
    say("3/4  The same network with each subject's diagnosis on every window instead, as in the paper")
    diagnosis = _by_recording_labels(plan, corpus, done.unseen)
    _tell(done, folder, plan, diagnosis, say)
    say("\n4/4  Detecting and explaining two recordings that no training has seen")
    reports = []
    for label, group in ((1, "epilepsy"), (0, "control")):
        entry = next(s.entry for s in done.unseen if s.entry.label == label)
        analysis, made = detect(done.detector, entry.path, out / "detections")
        say(f"     score {analysis.decision.probability:.2f} for a simulated subject of the {group} group")
        reports.append(made / "report.html")
    say(f"\n{NORMAL_EEG}  {RESEARCH_USE}\nOpen these:")
    for report in reports:
        say(f"  {report}")
    say(f"  {reports[0].with_name('annotated.edf')}   (in any EDF+ viewer)")
    say(f"  tensorboard --logdir {folder / 'tensorboard'}")


def _by_recording_labels(plan: Plan, corpus: Corpus, unseen: tuple[Scored, ...]) -> Estimate:
    """Return the subject-level ROC-AUC on the same unseen subjects when diagnoses are the labels."""
    mode = LABEL_MODES["recording"]
    other = replace(plan, labels="recording", window=mode.window, aggregation=mode.aggregation)
    loaded = train_workflow.load_corpus(corpus, other.preprocessing, other.window)
    held: list[Entry] = [s.entry for s in unseen]
    network = fit.fit_network(other, [w for e, w in loaded.items() if e not in held])
    scores, labels, names = cross_validation.subject_scores(
        cross_validation.score(network, loaded, held, "held out", other.aggregation)
    )
    return auc(labels, scores, np.array(names))


def _tell(done: train_workflow.Run, folder: Path, plan: Plan, diagnosis: Estimate, say: Say) -> None:
    for key, results in train_workflow.recorded_results(folder).items():
        say(f"\n{RESULT_TITLES[key]}:\n{describe_results(results, plan)}")
    say(f"trained on diagnoses instead of annotated discharges, ROC-AUC of subjects: {diagnosis}")
    for method in ("occlusion", "grad-cam"):
        found = explained(done.detector, done.unseen, method)
        if found is not None:
            say(found.describe(method))
