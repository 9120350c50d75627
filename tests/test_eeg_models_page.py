"""The page of EEG models is what its stored results say."""

import importlib.util
import sys

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs" / "make_eeg_models.py"
    spec = importlib.util.spec_from_file_location("make_eeg_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores(generator):
    return sys.modules["subject_scores"]


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.current(), "run `make docs`"


def test_a_model_stands_once_with_what_it_was_told(generator, scores):
    def run(name, wrong):
        return name, [scores.Scores(name, 0, [0, 0, 1, 1], [0.0, 2.0 if wrong else 0.0, 1.0, 1.0], 1.0)]

    told = dict(
        [run("svm", True), run("tvgg by dfa, diagnoses", True), run("tvgg by dfa, discharges", False)]
    )
    rows = generator._simulated(told).splitlines()[2:]
    assert [[cell.strip()[:5] for cell in row.strip("| ").split("|")] for row in rows] == [
        ["svm", "0.500", "–"],
        ["tvgg ", "0.500", "1.000"],
    ]


def test_seeds_are_averaged_and_the_first_is_tested(generator, scores):
    labels, closed = [0, 0, 0, 1, 1, 1], [True, True, False, True, True, False]
    right, wrong = [0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]
    runs = {
        "tangent-bands": [scores.Scores("tangent-bands", 0, labels, right, 1.0)],
        "net": [scores.Scores("net", s, labels, found, 1.0) for s, found in enumerate((wrong, right))],
    }
    _, _, first, net = generator._guinea_bissau(runs, runs["tangent-bands"][0], closed).splitlines()
    assert first == "| tangent-bands | 1 | 1.000 (1.000-1.000) | 1.000 (1.000-1.000) |  |  |"
    assert net.startswith("| net | 2 | 0.500 (0.500-0.500) | 0.500 (0.500-0.500) | -1.000 (")


def test_labels_are_summed_up_over_draws(generator, scores):
    def runs(*aucs):
        pairs = {0.0: [1.0, 0.0], 0.5: [0.0, 0.0], 1.0: [0.0, 1.0]}
        return [scores.Scores("", i, [0, 1], pairs[value], 1.0) for i, value in enumerate(aucs)]

    table = generator._labels(
        {"somewhere": {"from scratch, 5": runs(0.5, 1.0), "from scratch, all": runs(1.0)}}
    )
    row = table.splitlines()[2]
    # The t-interval of two values d apart is 12.706 * d / 2 to either side.
    assert row == "| somewhere | from scratch | 0.750 ± 3.177 | – | – | – |"


def test_a_conclusion_that_no_longer_follows_stops_the_page(generator, scores):
    right, wrong = ([scores.Scores("", 0, [0, 1], found, 1.0)] for found in ([0.0, 1.0], [1.0, 0.0]))
    counts = ("5", "10", "20", "all")
    better, worse = (
        {f"{way}, {n}": of for n in counts for way, of in (("from scratch", a), ("SoftHebb first", b))}
        for a, b in ((right, wrong), (wrong, right))
    )
    generator._check_labels({"somewhere": better})
    with pytest.raises(ValueError, match="somewhere, 5 subjects: SoftHebb first helps"):
        generator._check_labels({"somewhere": worse})
