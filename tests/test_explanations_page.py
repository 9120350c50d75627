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


def test_the_page_shows_means_with_intervals_of_what_is_known(generator):
    lines = [
        {
            "rule": "backprop",
            "method": "eeg explain",
            "subject": s,
            "pointing": p,
            "peak_error": e,
            "refused": r,
        }
        for s, p, e, r in (("001", 1.0, 0.02, 0.0), ("002", 0.0, float("nan"), 1.0))
    ]
    page = generator.page(lines)
    rows = [line for line in page.splitlines() if line.startswith("| eeg explain")]
    assert rows == ["| eeg explain | 0.50 (0.00–1.00) | – | – | – | 20 (20–20) | – | – |"]
    assert "refused 1 of its 2" in page
