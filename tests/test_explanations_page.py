"""The page of explanations is what its stored results say."""

import importlib.util

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs" / "make_explanations.py"
    spec = importlib.util.spec_from_file_location("make_explanations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.current(), "run `make docs`"


def test_the_page_shows_means_with_intervals_and_how_many_of_what_is_known(generator):
    known = (("001", 1.0, 0.02, 0.0), ("002", 0.0, float("nan"), 1.0))
    lines = [
        {
            "rule": "backprop",
            "measure": "found",
            "method": "eeg explain",
            "subject": subject,
            "pointing": pointing,
            "peak_error": error,
            "refused": refused,
        }
        for subject, pointing, error, refused in known
    ]
    window = {"rule": "backprop", "measure": "found", "method": "highest windows", "subject": "002"}
    page = generator.page(
        [*lines, {**window, "pointing": 0.0}, {**window, "subject": "001", "pointing": 0.0}]
    )
    rows = [line for line in page.splitlines() if line.startswith("| eeg explain")]
    assert rows == ["| eeg explain | 2 | 0.50 (0.00–1.00) | – | – | – | 20 (20–20) | – | – |"]
    assert "refused 1 of its 2" in page
    assert "Of the 1\nrecordings whose first segment misses, 1 hold no discharge" in page


def test_measures_have_tables_of_their_own(generator):
    one = {"rule": "backprop", "method": "shapley", "subject": "001"}
    measures = [
        {"measure": "found", "auroc": 0.75},
        {"measure": "faithful", "deletion": 0.25},
        {"measure": "forgotten", "labels": 0.5, **{f"depth {depth}": depth / 10 for depth in range(1, 8)}},
    ]
    page = generator.page([one | measure for measure in measures])
    rows = [line for line in page.splitlines() if line.startswith("| shapley")]
    assert len(rows) == 3
    assert ["0.75 (0.75–0.75)" in row for row in rows] == [True, False, False]
    assert ["0.25 (0.25–0.25)" in row for row in rows] == [False, True, False]
    depths = " | ".join(f"0.{depth}0 (0.{depth}0–0.{depth}0)" for depth in range(1, 8))
    assert rows[2] == f"| shapley | 1 | 0.50 (0.50–0.50) | – | {depths} |"
