"""The page on recording labels is what its stored results say."""

import importlib.util

import pytest

from tests.helpers import ROOT

NAME = "bags, mean"


@pytest.fixture(scope="module")
def generator():
    path = ROOT / "docs" / "make_recording_labels.py"
    spec = importlib.util.spec_from_file_location("make_recording_labels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.current(), "run `make docs`"


def outcome(name, seed, value):
    scores = dict.fromkeys(("mean", "top", "peak", "noisy-or"), (value, value - 0.1, value + 0.1))
    return {"name": name, "seed": seed, "aggregation": "top", "scores": scores, "seconds": 61.7}


def test_each_seed_has_a_table_of_the_last_outcome_of_each_ingredient(generator):
    page = generator.page([outcome(NAME, 3, 0.6), outcome(NAME, 0, 0.7), outcome(NAME, 0, 0.8)])
    below = page[page.index("## Measured") :].splitlines()
    found = [line for line in below if line.startswith(("###", f"| {NAME}"))]
    assert found == [
        "### Seed 0",
        f"| {NAME} | 0.800 (0.700–0.900) | top | 0.800 | 0.800 | 0.800 | 0.800 |",
        "### Seed 3",
        f"| {NAME} | 0.600 (0.500–0.700) | top | 0.600 | 0.600 | 0.600 | 0.600 |",
    ]


def test_three_seeds_have_a_mean_and_two_have_none(generator):
    three = [outcome("a", seed, value) for seed, value in enumerate((0.6, 0.7, 0.8))]
    table = generator._means([*three, outcome("b", 0, 0.5), outcome("b", 1, 0.5)])
    # Student's t with 2 degrees of freedom reaches 4.303 in 2.5 % of cases; 4.303 * 0.1 / sqrt(3) = 0.248.
    assert table.splitlines()[2:] == ["| a | 3 | 0.700 ± 0.248 |"]
