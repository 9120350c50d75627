"""The statistics behind the tables of the documentation, and the conclusions drawn from them."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from hebbian.registry import list_rules
from tests.helpers import ROOT
from trainers.data.batches import Split

sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "benchmarks")]

import journal  # noqa: E402
import kills  # noqa: E402
import published  # noqa: E402
import setups  # noqa: E402
import speed  # noqa: E402
import tables_eeg  # noqa: E402
import tables_rules  # noqa: E402
import tables_system  # noqa: E402
import timing  # noqa: E402
from subject_scores import Scores  # noqa: E402

pytestmark = pytest.mark.usefixtures("few_resamples")


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_seeds_come_to_a_mean_with_its_t_interval():
    values = [0.91, 0.94, 0.92]
    summary = journal.summarise(journal.Run("oja", "mlp", i, "", x, 1.0) for i, x in enumerate(values))
    found = summary["oja", "mlp"]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    interval = (found.accuracy - found.half_width, found.accuracy + found.half_width)
    assert interval == pytest.approx(tuple(expected))


def test_a_later_run_replaces_an_earlier_one_and_one_failure_fails_the_rule(tmp_path):
    path = tmp_path / "new" / "runs.jsonl"
    assert journal.read(path) == []
    old, new = (journal.Run("oja", "mlp", 0, "settings", value, 1.0) for value in (0.1, 0.9))
    failed = journal.Run("oja", "mlp", 1, "settings", None, 0.0, "failed: why")
    for run in (old, new):
        journal.append(path, run)
    assert journal.read(path) == [new]
    assert journal.cell(journal.summarise([new])["oja", "mlp"]) == "90.0"
    assert journal.cell(journal.summarise([new, failed])["oja", "mlp"]) == "failed: why"


def test_runs_with_older_settings_do_not_count(tmp_path):
    path = tmp_path / "runs.jsonl"
    for seed, settings, value in ((0, "slow", 0.2), (1, "slow", 0.4), (2, "fast", 0.7), (0, "fast", 0.9)):
        journal.append(path, journal.Run("oja", "mlp", seed, settings, value, 1.0))
    summary = journal.summarise(journal.read(path))["oja", "mlp"]
    assert (summary.accuracy, summary.seeds, summary.settings) == (pytest.approx(0.8), 2, "fast")


def test_every_rule_behind_random_features_and_no_other_has_a_measured_reason():
    behind = tables_rules.behind_random_features()
    assert "oja" in behind  # by theory
    assert set(tables_rules.reasons()) == behind


@pytest.mark.parametrize("rule", list_rules().values(), ids=lambda rule: rule.name)
def test_every_rule_has_its_section(rule):
    _, section = f"\n\n{tables_rules.rule_sections()}\n\n".split(f"\n\n## {rule.name}\n\n")
    assert section.startswith(f"    {rule.equation}\n\n- Source: {rule.source}\n")


def test_results_of_several_seeds_are_means_and_the_first_seed_is_tested(monkeypatch):
    labels, right, wrong = [0, 0, 0, 1, 1, 1], [0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0]
    closed = [1.0, 1, 0, 1, 1, 0]
    runs = {
        "subjects whose eyes were closed first": [Scores("", 0, labels, closed, 1.0)],
        "tangent-bands": [Scores("", 0, labels, right, 1.0)],
        "net": [Scores("", seed, labels, scores, 1.0) for seed, scores in enumerate((wrong, right))],
    }
    monkeypatch.setattr(tables_eeg, "runs", lambda name: runs)
    reference, net = rows(tables_eeg.eeg_guinea_bissau())
    assert reference[:4] == ["tangent-bands", "1", "1.000 (1.000-1.000)", "1.000 (1.000-1.000)"]
    assert net[:4] == ["net", "2", "0.500 (0.500-0.500)", "0.500 (0.500-0.500)"]
    assert net[4].startswith("-1.000 (")


def test_undefined_values_of_explanations_are_left_out_of_the_mean(monkeypatch):
    lines = [
        {"rule": "backprop", "measure": "found", "method": "occlusion", "pointing": p, "peak_error": e}
        for p, e in ((1.0, 0.02), (0.0, float("nan")))
    ]
    monkeypatch.setattr(tables_eeg, "read_lines", lambda name: lines)
    (row,) = rows(tables_eeg.explanations("found").partition("\n\n")[2])
    assert row == ["occlusion", "2", "0.50 (0.00–1.00)", "–", "–", "–", "20 (20–20)", "–", "–"]


def test_the_conclusions_on_guinea_bissau_follow_from_the_results():
    runs = tables_eeg.runs("eeg_models_guinea-bissau.jsonl")
    auc = {name: tables_eeg.mean_auc(seeds).value for name, seeds in runs.items() if " by " in name}
    best, network = tables_eeg.mean_auc(runs["tangent-bands"]).value, auc["tvgg-gap by backprop"]
    assert max(auc.values()) == network
    assert network < best < runs["confounds"][0].facts["recording date"][0]


def test_pretraining_by_softhebb_does_not_help_as_stated_in_the_docs():
    for corpus in ("simulated", "guinea-bissau"):
        runs = tables_eeg.runs(f"label_efficiency_{corpus}.jsonl")
        for count in tables_eeg.LABELLED:
            scratch, pretrained = (
                np.mean([run.auc().value for run in runs[f"{way}, {count}"]])
                for way in ("from scratch", "SoftHebb first")
            )
            assert scratch > pretrained


WRITER = """
import sys, time
from pathlib import Path
out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "log").open("a") as log:
    for line in range(len((out / "log").read_text().splitlines()), 3):
        time.sleep(0.05)
        print({content}, file=log, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.slow
@pytest.mark.parametrize(("content", "same"), [("line", True), ("'-'.join(sys.argv[2:])", False)])
def test_a_killed_command_is_run_again_and_compared(content, same, tmp_path, monkeypatch):
    """The second writer writes other lines when it continues."""
    (tmp_path / "writer.py").write_text(WRITER.format(content=content))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kills, "PRELOAD", ["trainers.comparison.table"])
    command = kills.Command(("writer",), ("--resume",))
    monkeypatch.setitem(kills.COMMANDS, "writer", command)
    runner = kills.Runner(tmp_path)
    whole = kills.reference(runner, command, tmp_path / "reference")
    trial = kills.kill(runner, "writer", 0, replace(whole, seconds=0.0), tmp_path / "trial")
    assert trial.killed
    assert (trial.same, trial.error, trial.left, trial.damaged) == (same, "", 0, 0)


def test_files_of_an_earlier_result_are_damaged_unless_they_are_whole(tmp_path):
    earlier, out = tmp_path / "earlier", tmp_path / "out"
    for folder, contents in ((earlier, "1111"), (out, "123")):
        folder.mkdir()
        for name, content in zip("abcd", contents, strict=False):
            (folder / name).write_text(content)
    whole = kills.Reference({**kills.files(earlier), "b": kills.files(out)["b"]}, 0.0, earlier)
    assert kills.count_damaged(kills.files, out, whole) == 2  # c is neither, d is missing


def test_the_page_of_speed_shows_whatever_rows_are_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "SPEED", tmp_path / "speed.jsonl")
    assert "No measurement" in tables_system.speed()
    older = timing.Ratio("step", "oja", "backprop", None, 2.0, 3.0, 1.5, 1.4, 1.6, 7, 1.25, "one CPU", "a")
    for row in (
        older,
        replace(older, ratio=1.2, low=1.1, high=1.3, goal=2.0),
        replace(older, machine="other"),
    ):
        timing.append(row)
    one, other = tables_system.speed().split("## other")
    assert "| oja | backprop | 2 | 3 | 1.20 (1.10–1.30) | 1.25 | 2 | a |" in one
    assert "| oja | backprop | 2 | 3 | 1.50 (1.40–1.60) | 1.25 | – | a |" in other


def test_a_prediction_counts_the_products_of_both_steps():
    # Hebb's rule needs two products with 784 x 500 weights, backprop also three with 500 x 10.
    large, small = 784 * 500, 500 * 10
    assert speed.predicted("hebb", 5) == pytest.approx(2 * large / (2 * large + 3 * small))


CELLS = {(cell.rule, cell.setup): i for i, cell in enumerate(setups.CELLS)}


@pytest.fixture
def results(tmp_path, monkeypatch):
    path = tmp_path / "published.jsonl"
    for module in (published, journal):
        monkeypatch.setattr(module, "PUBLISHED", path)
    return path


def test_published_figures_stand_beside_their_controls(results):
    for rule, seed, value in (("fa", 0, 0.98), ("fa", 1, 0.97), ("backprop", 0, 0.99)):
        cell = setups.CELLS[CELLS[rule, "lenet"]]
        journal.append_line(results, published.key(cell, seed) | {"accuracy": value})
    control, (rule, _, epochs, own, backprop, frozen, figure, difference) = rows(tables_rules.published())
    assert (control[0], control[3], control[-1]) == ("backprop", "99.00 (1)", "-0.09")
    half_width = ttest_1samp([98, 97], 0).confidence_interval(0.95).high - 97.5
    assert (rule, epochs, own) == ("fa", "100", f"97.50 ± {half_width:.2f} (2)")
    assert (backprop, frozen, figure, difference) == ("99.00 (1)", "not run", "98.30, BioTorch", "-0.80")


def test_a_published_run_with_another_recipe_does_not_count(results):
    cell = setups.CELLS[CELLS["fa", "lenet"]]
    journal.append_line(results, published.key(replace(cell, settings={"generator": None}), 0))
    assert published.stored(cell) == {}


@pytest.mark.parametrize("name", setups.SETUPS)
def test_each_set_up_has_its_rules_and_random_features_on_nets_that_take_its_images(name):
    setup = setups.SETUPS[name]
    image = torch.rand(2, *((3, 32, 32) if setup.data == "cifar10" else (1, 28, 28)))
    assert setup.net().eval()(setup.prepare(image)).shape == (2, 10)
    rules = [cell.rule for cell in setups.CELLS if cell.setup == name]
    assert "frozen" in rules or name == "deep"  # which ends with a factor and not with a readout
    assert len(rules) == len(set(rules)) >= 2


def test_a_published_run_learns_and_counts_its_time():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(10).repeat(20)
    x = torch.rand(10, 1, 28, 28, generator=generator)[y]  # ten images, one a class
    cell = setups.CELLS[CELLS["fa", "lenet"]]
    quick = replace(cell, learn=replace(cell.recipe.learn, epochs=20))
    result = published.learn(quick, 0, Split(x, y, x, y))
    assert result["accuracy"] > 0.9  # chance is 0.1
    assert len(result["curve"]) == 20
    assert result["seconds"] > 0
    assert len(result["angles"]) == 4


def test_jittered_images_are_shifted_each_by_itself():
    x = torch.zeros(50, 1, 9, 9)
    x[:, :, 4, 4] = 1
    shifted = setups.jitter(x, torch.Generator().manual_seed(0))
    places = shifted.flatten(1).argmax(1)
    assert set((places // 9).tolist()) == set((places % 9).tolist()) == {2, 3, 4, 5, 6}
    assert (shifted.flatten(1).sum(1) == 1).all()
