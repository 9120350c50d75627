"""The card contains the required facts, and no name or date of a subject."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from eeg.datasets import Entry
from eeg.detector.detector import Detector, load_detector, save_detector
from eeg.detector.prototypes import Prototypes
from eeg.detector.provenance import Provenance
from eeg.evaluation.results import compute_results
from eeg.preprocessing.windows import Windows
from eeg.reporting.model_card import detector_results, render_card
from eeg.training.cross_validation import Scored
from eeg.training.plan import Plan


def evaluated(detector: Detector) -> Detector:
    """Add invented results of 48 subjects, whose dates are their labels."""
    rng = np.random.default_rng(0)
    scored = []
    for i in range(48):
        entry = Entry(Path(f"Mueller-{i}.edf"), f"Mueller{i}", i % 2, recorded=datetime(2020, 5, 1 + i % 2))
        windows = Windows(rng.normal(size=(6, 3, 64)), np.arange(6.0), 1.0, i % 2, None)
        scored.append(Scored(entry, f"fold {1 + i // 24}", windows, i % 2 + rng.normal(size=6), "mean"))
    plan = Plan(detector.preprocessing, "recording", 1.0, "mean")
    confounds = {s.entry: {"recording date": str(s.entry.recorded), "sex": None} for s in scored}
    results = compute_results(plan, scored, None, folds=4, confounds=confounds)
    facts = {"cross_validated": results}
    return replace(detector, training=replace(detector.training, results=facts, recordings=("ab",) * 48))


def test_the_card_has_all_its_parts(detector: Detector) -> None:
    text = render_card(evaluated(detector))
    for words in (
        "# tvgg-gap (learning rule: oja)",
        "Research use only",
        "mean nothing for a real person",
        "## Intended use",
        "## Not tested on",
        "training subjects: 20",
        "0.5 to 45 Hz at 128 Hz",
        "48 subjects, 24 with epilepsy",
        "| ROC-AUC |",
        "| sensitivity at 90 % specificity |",
        "labels permuted across subjects: p = ",
        "ROC-AUC of amplitude",
        "Abstention: ",
        "they may not hold for another hospital",
        "the recording date alone (ROC-AUC 1.000",
        "unknown: sex",
    ):
        assert words in text, words
    assert "Mueller" not in text
    assert "2020" not in text


def test_the_card_travels_in_the_models_file(detector: Detector, tmp_path: Path) -> None:
    original = evaluated(detector)
    save_detector(original, tmp_path / "m.safetensors")
    again = load_detector(tmp_path / "m.safetensors")
    assert render_card(again) == render_card(original)
    assert repr(detector_results(again)) == repr(detector_results(original))  # they contain NaN


def test_a_model_without_results_has_a_card_that_claims_nothing(detector: Detector) -> None:
    text = render_card(replace(detector, training=Provenance()))
    assert "learning rule: unknown" in text
    assert "ROC-AUC" not in text
    assert "simulated" not in text


def test_the_card_states_whether_the_file_contains_eeg_of_people(detector: Detector) -> None:
    assert "training windows in the file: none" in render_card(detector)
    kept = Prototypes(torch.zeros(3, 19, 256), torch.zeros(2, 19, 256))
    keeping = replace(detector, prototypes=kept)
    assert "in the file: 3 with a discharge and 2 without a discharge, 2 s each" in render_card(keeping)
    pseudo = replace(keeping, labels="pseudo")  # the classes are those of subjects
    assert "in the file: 3 of the epilepsy group and 2 of the control group, 2 s each" in render_card(pseudo)
