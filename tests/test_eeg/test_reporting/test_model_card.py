"""The card contains the required facts, and no name or date of a subject."""

import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import markdown
import numpy as np
import pytest
import torch

from eeg.datasets import Entry
from eeg.detector.detector import Detector
from eeg.detector.model_file import load_detector, save_detector
from eeg.detector.prototypes import Prototypes
from eeg.detector.provenance import Provenance
from eeg.detector.results import Estimate, Results
from eeg.evaluation.results import compute_results
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.reporting.html import _render_markdown
from eeg.reporting.model_card import detector_results, render_card
from eeg.training.cross_validation import Scored
from eeg.training.plan import Plan
from tests.helpers import without_numbers


@cache
def invented(preprocessing: Preprocessing) -> Results:
    """Return results of 48 subjects, whose dates are their labels."""
    rng = np.random.default_rng(0)
    scored = []
    for i in range(48):
        entry = Entry(Path(f"Mueller-{i}.edf"), f"Mueller{i}", i % 2, recorded=datetime(2020, 5, 1 + i % 2))
        windows = Windows(rng.normal(size=(6, 3, 64)), np.arange(6.0), 1.0, i % 2, None)
        scored.append(Scored(entry, f"fold {1 + i // 24}", windows, i % 2 + rng.normal(size=6), "mean"))
    plan = Plan(preprocessing, "recording", 1.0, "mean")
    confounds = {s.entry: {"recording date": str(s.entry.recorded), "sex": None} for s in scored}
    return compute_results(plan, scored, None, folds=4, confounds=confounds)


def evaluated(detector: Detector) -> Detector:
    """Add the results to a detector."""
    facts = {"cross_validated": invented(detector.preprocessing)}
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
    assert "2020" not in without_numbers(text)


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


HOSTILE = (
    "[See](javascript:alert(1)) ![.](http://203.0.113.1/a.png) <img src=x onerror=alert(1)> "
    "<https://b.example> <!-- --> &lt;b&gt; `code` **bold** "
    "_it_ # h | c | www.c.example https://d.example \\[e](f) [1] $x$ ~~s~~"
)


@pytest.mark.parametrize("render", [markdown.markdown, _render_markdown])
def test_texts_of_a_model_are_plain_text_in_its_card(
    detector: Detector, render: Callable[[str], str]
) -> None:
    tame = evaluated(detector)
    results = tame.training.results["cross_validated"]
    facts = {
        "corpus": HOSTILE,
        "rule": HOSTILE,
        "splits": f"{HOSTILE}\n\n[1]: http://g.example\n# heading\n<form action='http://h.example'>",
        "versions": {HOSTILE: HOSTILE},
        "results": {
            "cross_validated": replace(
                results,
                baselines={HOSTILE: Estimate(0.5, 0.4, 0.6)},
                audit=replace(results.audit, unknown=("```", HOSTILE), constant=("\n```\n" + HOSTILE,)),
            )
        },
    }
    wild = replace(tame, model=HOSTILE, training=replace(tame.training, **facts))
    settings: dict[str, Any] = {} if render is _render_markdown else {"extensions": ["tables", "fenced_code"]}
    pages = [render(render_card(one), **settings) for one in (tame, wild)]
    expected, found = (Counter(re.findall("<[^>]*>", page)) for page in pages)
    assert found == expected  # the same elements, whatever the texts
    if render is _render_markdown:
        assert html.unescape(pages[1]).count(HOSTILE) == 7  # as it is written; two in the title


def test_the_card_states_whether_the_file_contains_eeg_of_people(detector: Detector) -> None:
    assert "training windows in the file: none" in render_card(detector)
    kept = Prototypes(torch.zeros(3, 19, 256), torch.zeros(2, 19, 256))
    keeping = replace(detector, prototypes=kept)
    assert "in the file: 3 with a discharge and 2 without a discharge, 2 s each" in render_card(keeping)
    pseudo = replace(keeping, labels="pseudo")  # the classes are those of subjects
    assert "in the file: 3 of the epilepsy group and 2 of the control group, 2 s each" in render_card(pseudo)


def test_results_need_a_curve_of_risk(detector: Detector) -> None:
    results = invented(detector.preprocessing)
    for coverage, risk in (((), ()), ((0.5,), ()), ((0.5,), (0.1, 0.2))):
        with pytest.raises(ValueError, match="coverage and risk: expected as many values of each"):
            replace(results, coverage=coverage, risk=risk)
