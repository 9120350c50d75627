"""The page on recording labels is what its stored results say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs" / "make_recording_labels.py"
    spec = importlib.util.spec_from_file_location("make_recording_labels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.current(), "run `make docs`"


def test_each_seed_has_a_table_of_the_last_outcome_of_each_ingredient(generator):
    def outcome(name, seed, value):
        scores = dict.fromkeys(("mean", "top", "peak", "noisy-or"), (value, value - 0.1, value + 0.1))
        return {"name": name, "seed": seed, "aggregation": "top", "scores": scores, "seconds": 61.7}

    page = generator.page([outcome("a", 3, 0.6), outcome("a", 0, 0.7), outcome("a", 0, 0.8)])
    below = page[page.index("## Measured") :].splitlines()
    found = [line for line in below if line.startswith(("###", "| a"))]
    assert found == [
        "### Seed 0",
        "| a | 0.800 (0.700–0.900) | top | 0.800 | 0.800 | 0.800 | 0.800 | 62 |",
        "### Seed 3",
        "| a | 0.600 (0.500–0.700) | top | 0.600 | 0.600 | 0.600 | 0.600 | 62 |",
    ]
