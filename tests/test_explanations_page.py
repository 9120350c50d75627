"""The page of explanations is what its stored results say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
    page = generator.page(lines)
    rows = [line for line in page.splitlines() if line.startswith("| eeg explain")]
    assert rows == ["| eeg explain | 2 | 0.50 (0.00–1.00) | – | – | – | 20 (20–20) | – | – | – |"]
    assert "refused 1 of its 2" in page


def test_measures_have_tables_of_their_own(generator):
    one = {"rule": "backprop", "method": "shapley", "subject": "001"}
    measures = [{"measure": "found", "auroc": 0.75}, {"measure": "faithful", "deletion": 0.25}]
    layers = {f"depth {depth}": depth / 10 for depth in range(1, 8)}
    page = generator.page([one | measures[0], one | measures[1] | layers])
    rows = [line for line in page.splitlines() if line.startswith("| shapley")]
    assert len(rows) == 3
    assert ["0.75 (0.75–0.75)" in row for row in rows] == [True, False, False]
    assert ["0.25 (0.25–0.25)" in row for row in rows] == [False, True, False]
    assert rows[2] == "| shapley | 1 | " + " | ".join(f"0.{d}0 (0.{d}0–0.{d}0)" for d in range(1, 8)) + " |"
