"""The page of rules is what the registry and the results say today."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from scipy.stats import ttest_1samp

from hebbian.registry import BUILT_IN, MODULES
from tests.helpers import ROOT

PAGE = ROOT / "docs" / "rules.md"


def test_the_page_is_current():
    code = (
        "import make_rules, sys; sys.stdout.reconfigure(encoding='utf-8'); "
        "sys.stdout.write(make_rules.current())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "docs", check=True
    )
    assert PAGE.read_text(encoding="utf-8") == made.stdout, "run `make docs`"


@pytest.mark.parametrize("entry", [*BUILT_IN, *MODULES], ids=lambda entry: entry.name)
def test_every_rule_has_its_equation_on_the_page(entry):
    _, section = PAGE.read_text(encoding="utf-8").split(f"\n## {entry.name}\n")
    equation, *facts = section.strip("\n").splitlines()
    assert equation == f"    {entry.equation}"
    assert f"- Source: {entry.source}" in facts


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_rules", ROOT / "docs" / "make_rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("entry", [*BUILT_IN, *MODULES], ids=lambda entry: entry.name)
def test_the_oracle_of_every_rule_names_a_test_that_exists(entry):
    theory, file, name = re.fullmatch(r"(.+) \((tests/[\w/]+\.py)::(test_\w+)\)", entry.oracle).groups()
    assert len(theory.split()) > 1
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_tables_which_rules_compile_in_one_graph(generator):
    broken = replace(BUILT_IN[0], traits=frozenset({"graph breaks"}))
    for entry, cell in ((BUILT_IN[0], "yes"), (broken, "no")):
        head, _, row = generator._table([entry], {}).splitlines()
        column = head.split(" | ").index("one graph")
        assert row.split(" | ")[column] == cell


def test_seeds_come_to_a_mean_with_its_t_interval(generator):
    values = [0.91, 0.94, 0.92]
    mean, half_width = generator.journal.interval(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx(tuple(expected))


def test_a_later_run_replaces_an_earlier_one_and_one_failure_fails_the_rule(generator, tmp_path):
    journal, path = generator.journal, tmp_path / "new" / "runs.jsonl"
    assert journal.read(path) == []
    old, new = (journal.Run("oja", "mlp", 0, "settings", share, 1.0) for share in (0.1, 0.9))
    failed = journal.Run("oja", "mlp", 1, "settings", None, 0.0, "failed: why")
    for run in (old, new):
        journal.append(path, run)
    assert journal.read(path) == [new]
    assert journal.cell(journal.summarise([new])["oja", "mlp"]) == "90.0"
    assert journal.cell(journal.summarise([new, failed])["oja", "mlp"]) == "failed: why"


def test_runs_with_older_settings_do_not_count(generator, tmp_path):
    journal, path = generator.journal, tmp_path / "runs.jsonl"
    for seed, settings, share in ((0, "slow", 0.2), (1, "slow", 0.4), (2, "fast", 0.7), (0, "fast", 0.9)):
        journal.append(path, journal.Run("oja", "mlp", seed, settings, share, 1.0))
    summary = journal.summarise(journal.read(path))["oja", "mlp"]
    assert (summary.accuracy, summary.seeds, summary.settings) == (pytest.approx(0.8), 2, "fast")


def test_one_seed_is_told_as_one(generator):
    runs = [generator.journal.Run("oja", "mlp", seed, "fast", 0.9, 1.0) for seed in (0, 1)]
    for n, told in ((1, "1 seed,"), (2, "2 seeds,")):
        assert told in generator._told(generator.journal.summarise(runs[:n])["oja", "mlp"])


def test_every_rule_behind_random_features_and_no_other_has_a_measured_reason(generator):
    measured = generator.journal.summarise(generator.journal.read(generator.journal.RULES))
    behind = {entry.name for entry in BUILT_IN if generator.behind(entry.name, measured)}
    assert "oja" in behind  # by theory, see the page
    assert set(generator.REASONS) == behind
