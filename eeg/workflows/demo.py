"""The whole pipeline on simulated EEG: run by `make demo`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from eeg.datasets import Corpus, Entry, open_corpus, splits
from eeg.detector.results import Estimate
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.evaluation.metrics import auc
from eeg.evaluation.results_text import describe_results
from eeg.labels import LABEL_MODES
from eeg.preprocessing.loading import cache_windows
from eeg.reporting.model_card import RESULT_TITLES
from eeg.simulation.write_bids import write_cohort
from eeg.training import cross_validation, fit
from eeg.training.plan import Plan
from eeg.workflows.choices import make_plan
from eeg.workflows.corpus import load_corpus
from eeg.workflows.detect import detect
from eeg.workflows.evaluate import locate_discharges
from eeg.workflows.train import TrainingRun, train
from trainers.comparison.process import exit_with_parent
from trainers.errors import DataError
from trainers.files import partial_folder

Say = Callable[[str], None]

_JOBS = 2
_HOLD_OUT = 0.4


def run_demo(out: Path, seed: int, say: Say) -> None:
    """Simulate, train, evaluate, detect and explain, and list the files to open.

    An existing cohort is used again; everything else is written again.

    Raises
    ------
    DataError
        If ``out`` holds a ``run`` that was not written by a demo.
    """
    folder = out / "run"
    if folder.exists() and not any(out.glob("cohort-*")):
        raise DataError(f"{folder}: exists and was not written by a demo; choose another --out")
    say(f"Everything here is SIMULATED and shows how the software works.  {RESEARCH_USE}\n")
    cohort = out / f"cohort-{seed}"
    if not cohort.exists():
        say("1/4  Simulating 80 subjects x 5 min with known discharges")
        write_cohort(cohort, seed=seed, jobs=_JOBS)
    corpus = open_corpus(cohort)
    shutil.rmtree(folder, ignore_errors=True)
    with (
        partial_folder(out / "windows") as cache,
        ProcessPoolExecutor(1, get_context("spawn"), exit_with_parent) as pool,
    ):
        say("2/4  Training t-VGG GAP by backprop on annotated discharges, cross-validated by subject")
        plan = make_plan(corpus, seed=seed)
        lengths = [LABEL_MODES[labels].window for labels in (plan.labels, "recording")]
        cache_windows(corpus, plan.preprocessing, lengths, cache, jobs=_JOBS)
        test = splits.hold_out(splits.diagnosed(corpus), _HOLD_OUT, seed)[1]
        diagnosis = pool.submit(_by_recording_labels, plan, corpus, test, cache)
        run = train(corpus, hold_out=_HOLD_OUT, prototypes=8, seed=seed, out=folder, cache=cache, jobs=_JOBS)
        say("3/4  The same network with each subject's diagnosis on every window instead, as in the paper")
        _report(run, diagnosis.result(), say)
    say("\n4/4  Detecting and explaining two held-out recordings")
    reports = []
    for label, group in ((1, "epilepsy"), (0, "control")):
        entry = next(s.entry for s in run.unseen if s.entry.label == label)
        found = detect(run.detector, entry.path, out / "detections")
        say(f"     score {found.analysis.decision.score:.2f} for a simulated subject of the {group} group")
        reports.append(found.folder / "report.html")
    say(f"\n{NORMAL_EEG}  {RESEARCH_USE}\nOpen these:")
    for report in reports:
        say(f"  {report}")
    say(f"  {reports[0].with_name('annotated.edf')}   (in any EDF+ viewer)")
    say(f"  tensorboard --logdir {folder / 'tensorboard'}")


def _by_recording_labels(plan: Plan, corpus: Corpus, test: Sequence[Entry], cache: Path) -> Estimate:
    """Return the subject-level ROC-AUC on the same unseen subjects when diagnoses are the labels."""
    torch.set_num_threads(1)  # of this process: the other trainings use the other cores
    mode = LABEL_MODES["recording"]
    other = replace(plan, labels="recording", window=mode.window, aggregation=mode.aggregation)
    loaded = load_corpus(corpus, other, cache=cache)
    network = fit.fit_network(other, [w for e, w in loaded.items() if e not in test])
    scores, labels, names = cross_validation.subject_scores(
        cross_validation.score_recordings(network, loaded, test, "held out", other.aggregation)
    )
    return auc(labels, scores, np.array(names))


def _report(run: TrainingRun, diagnosis: Estimate, say: Say) -> None:
    for key, results in run.all_results.items():
        say(f"\n{RESULT_TITLES[key]}:\n{describe_results(results, run.plan)}")
    say(f"trained on diagnoses instead of annotated discharges, ROC-AUC of subjects: {diagnosis}")
    for method in ("occlusion", "grad-cam"):
        precision = locate_discharges(run.detector, run.unseen, method)
        if precision is not None:
            say(precision.describe(method))
