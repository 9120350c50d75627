"""A comparison is fair, can be resumed, and reports failures; a recorded run can be repeated."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from scipy.stats import ttest_1samp

from tests.helpers import ROOT, call_hebbian
from trainers import DataError, Split
from trainers.comparison import compare as module
from trainers.comparison.compare import Comparison, compare_rules, with_controls
from trainers.comparison.experiment import Experiment, Result, run_experiment
from trainers.comparison.process import JobError, peak_memory, run_in_process
from trainers.comparison.recipe_overrides import override, read_overrides
from trainers.comparison.results import read_run_results
from trainers.comparison.table import HEAD, format_cells, markdown, summarise
from trainers.data.batches import tensor_digest
from trainers.errors import SettingsError
from trainers.provenance import differences, git_state
from trainers.recipes import recommended

SMALL = Comparison(("dfa", "softhebb"), seeds=(0, 1), widths=(6,), epochs=1)


@pytest.fixture
def split():
    """Two classes in five dimensions, separated by their sign."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 2
    x = torch.randn(60, 5, generator=g) + 4.0 * y[:, None] - 2
    return Split(x[:40], y[:40], x[40:], y[40:])


@pytest.fixture
def here(monkeypatch):
    """Run all jobs in this process; return their keys."""
    calls = []

    def call(function, experiment, *args):
        calls.append((experiment.rule, experiment.seed))
        try:
            return function(experiment, *args)
        except ValueError as error:
            raise JobError(f"ValueError: {error}") from error

    monkeypatch.setattr(module, "run_in_process", call)
    return calls


def outcome(results):
    return {(r.rule, r.seed): (r.accuracy, r.weights, r.reason) for r in results}


def test_a_new_process_has_its_own_peak_memory():
    assert peak_memory() > 150  # torch is here
    assert run_in_process(peak_memory) < 60


def test_a_job_that_raises_or_dies_is_reported_in_one_line():
    assert run_in_process(divmod, 7, 2) == (3, 1)
    with pytest.raises(JobError, match=r"^ZeroDivisionError: "):
        run_in_process(divmod, 1, 0)
    with pytest.raises(JobError, match="killed or exited"):
        run_in_process(os._exit, 3)
    with pytest.raises(JobError, match="possibly because memory ran out"):
        run_in_process(signal.raise_signal, signal.SIGKILL)


def test_rules_with_the_same_initialisation_have_the_same_first_weights(split):
    first = {
        (rule, seed): tensor_digest(Experiment(rule, seed, recommended(rule)).model(split).parameters())
        for rule in ("backprop", "dfa", "pc", "frozen")
        for seed in (0, 1)
    }
    assert first["backprop", 0] == first["dfa", 0] == first["pc", 0]
    assert first["backprop", 0] != first["backprop", 1]
    assert first["backprop", 0] != first["frozen", 0]  # which draws random features as they are published


def test_frozen_features_update_the_readout_alone(split):
    frozen, backprop = (
        run_experiment(e, split)
        for e in replace(SMALL, rules=("frozen", "backprop"), seeds=(0,)).experiments()
    )
    assert frozen.updated == 6 * 2 + 2
    assert backprop.updated == 5 * 6 + 6 + 6 * 2 + 2


@pytest.mark.parametrize(
    ("net", "sample", "message"),
    [
        ("convnet", (5,), r"is for images, the samples have the shape \(5,\)"),
        ("lenet", (3, 28, 28), "grey images of 28 x 28"),
        ("convnet", (4, 4), "too small"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(net, sample, message):
    x, y = torch.zeros(4, *sample), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match=message):
        compare_rules(replace(SMALL, net=net, widths=()), Split(x, y, x, y), Path("unused"))
    assert not Path("unused").exists()


@pytest.mark.parametrize(("net", "sample"), [("convnet", (3, 16, 16)), ("lenet", (28, 28))])
def test_nets_for_images_take_grey_and_coloured_ones(net, sample):
    x, y = torch.rand(4, *sample), torch.tensor([0, 1, 0, 1])
    recipe = recommended("backprop")
    short = replace(recipe, learn=replace(recipe.learn, epochs=1, least_steps=0))
    assert run_experiment(Experiment("backprop", 0, short, net=net), Split(x, y, x, y)).accuracy is not None


@pytest.mark.slow
def test_a_comparison_in_processes_equals_one_without(split, tmp_path, monkeypatch):
    small = replace(SMALL, seeds=(0,))
    results = compare_rules(small, split, tmp_path / "apart")
    assert all(r.memory > 100 for r in results)  # MiB: torch alone is more
    monkeypatch.setattr(module, "run_in_process", lambda function, *args: function(*args))
    assert outcome(compare_rules(small, split, tmp_path / "here")) == outcome(results)


def test_a_resumed_comparison_runs_only_what_is_missing(split, tmp_path, here):
    whole = outcome(compare_rules(SMALL, split, tmp_path / "whole"))
    assert here == [("dfa", 0), ("softhebb", 0), ("dfa", 1), ("softhebb", 1)]
    here.clear()
    lines = []

    def stop_at_second(line):
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_rules(SMALL, split, tmp_path / "cut", report=stop_at_second)
    kept = {(r.rule, r.seed) for r in read_run_results(tmp_path / "cut")}
    assert len(kept) == 2
    here.clear()
    assert outcome(compare_rules(SMALL, split, tmp_path / "cut")) == whole
    assert set(here) == set(whole) - kept
    here.clear()
    assert outcome(compare_rules(SMALL, split, tmp_path / "cut")) == whole
    assert here == []


def test_a_folder_takes_more_rules_and_seeds_and_nothing_else(split, tmp_path, here):
    compare_rules(SMALL, split, tmp_path / "a")
    here.clear()
    wider = replace(SMALL, rules=("dfa", "frozen"), seeds=(0, 2))
    assert len(compare_rules(wider, split, tmp_path / "a")) == 4
    assert set(here) == {("frozen", 0), ("dfa", 2), ("frozen", 2)}
    noted = json.loads((tmp_path / "a" / "run.json").read_text())
    assert noted["settings"]["rules"] == ["dfa", "softhebb", "frozen"]
    assert noted["settings"]["seeds"] == [0, 1, 2]
    assert set(noted["recipes"]) == {"dfa", "softhebb", "frozen"}
    other = Split(split.x_train + 1, split.y_train, split.x_test, split.y_test)
    changed = {"dfa": {"learn": {"lr": 0.5}}}
    for comparison, data, message in (
        (replace(SMALL, epochs=2), split, "settings.epochs was 1, is 2"),
        (replace(SMALL, overrides=changed), split, "recipes.dfa.recipe.learn.optimizer.lr was 0.001, is 0.5"),
        (SMALL, other, "data was"),
    ):
        with pytest.raises(DataError, match=message):
            compare_rules(comparison, data, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "letter").touch()
    with pytest.raises(SettingsError, match="b: not empty; expected a new or empty folder"):
        compare_rules(SMALL, split, tmp_path / "b")


def test_a_failed_run_is_a_row_with_its_reason(split, tmp_path, here):
    results = compare_rules(replace(SMALL, rules=("krotov", "dfa"), widths=(1,)), split, tmp_path / "a")
    failed = [r for r in results if r.rule == "krotov"]
    assert all(r.accuracy is None and "ranks 2 units" in r.reason for r in failed)
    *_, last = summarise(results)
    assert format_cells(last)[0] == "krotov"
    assert format_cells(last)[-1].startswith("2: ValueError: ")
    with (tmp_path / "a" / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    wrote = [asdict(r) for r in results]
    assert table == [{k: "" if v is None else str(v) for k, v in row.items()} for row in wrote]


def test_nothing_begins_after_the_budget(split, tmp_path, here):
    assert compare_rules(SMALL, split, tmp_path / "a", minutes=0) == []
    assert here == []
    assert (tmp_path / "a" / "run.json").exists()


def test_seeds_are_summarised_by_a_mean_and_its_t_interval():
    values = [0.91, 0.94, 0.92]
    results = [Result("a", i, v, seconds=1.0, updated=3) for i, v in enumerate(values)]
    results += [Result("b", 0, 0.95, seconds=1.0, updated=3), Result("b", 1, reason="why | so")]
    b, a = summarise(results)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (a.accuracy - a.half_width, a.accuracy + a.half_width) == pytest.approx(tuple(expected))
    assert format_cells(b) == ("b", "95.00", "1.0", "", "3", "1", "1: why | so")
    assert (
        markdown([HEAD, format_cells(b)]).splitlines()[2] == r"| b | 95.00 | 1.0 |  | 3 | 1 | 1: why \| so |"
    )


def test_greedy_and_epochs_mean_the_same_for_a_rule_and_its_controls(split, tmp_path, here):
    greedy = replace(SMALL, rules=with_controls(("softhebb",)), seeds=(0,), widths=(6, 5), greedy=True)
    assert [r.reason for r in compare_rules(greedy, split, tmp_path / "a")] == ["", "", ""]
    recipes = {e.rule: e.recipe for e in replace(greedy, epochs=7).experiments()}
    assert {rule: recipe.greedy for rule, recipe in recipes.items()} == {
        "softhebb": True,
        "backprop": False,
        "frozen": True,
    }
    for recipe in recipes.values():
        for phase in (recipe.learn, recipe.readout):
            assert phase.epochs_for(1) == 7


def test_every_comparison_includes_the_controls():
    assert with_controls(("dfa", "frozen", "dfa")) == ("dfa", "frozen", "backprop")
    with pytest.raises(ValueError, match="did you mean 'oja'"):
        Comparison(("oj",))


def test_a_file_changes_recipes(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(
        "[softhebb]\n"
        'scale = "none"\n'
        "greedy = true\n"
        "learn = {lr = 0.125, momentum = 0.5, batch = 7}\n"
        "finetune = {epochs = 2}\n"
        "settings = {temperature = 0.5}\n"
    )
    before = recommended("softhebb")
    after = override(before, read_overrides(path)["softhebb"])
    assert after.settings == {"temperature": 0.5}
    assert (after.scale, after.greedy, after.learn.batch, after.finetune.epochs) == ("none", True, 7, 2)
    assert after.learn.epochs == before.learn.epochs
    assert after.readout == before.readout
    weights = [torch.zeros(1, requires_grad=True)]
    group = after.learn.optimizer(weights).param_groups[0]
    assert (group["lr"], group["momentum"]) == (0.125, 0.5)
    assert before.learn.optimizer(weights).param_groups[0]["momentum"] == 0


def test_options_that_are_pairs_or_have_no_default_are_taken():
    changes = {"readout": {"betas": [0.5, 0.75], "foreach": False, "weight_decay": 1}}
    after = override(recommended("softhebb"), changes)
    group = after.readout.optimizer([torch.zeros(1, requires_grad=True)]).param_groups[0]
    assert (group["betas"], group["foreach"], group["weight_decay"]) == ((0.5, 0.75), False, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 1}, "unknown setting 'rate'; expected one of learn, readout"),
        ({"readot": {}}, "unknown setting 'readot'; did you mean 'readout'?"),
        ({"learn": {"rate": 1}}, "unknown setting 'learn.rate'; expected one of epochs, batch, least_steps"),
        ({"learn": {"batchs": 1}}, "unknown setting 'learn.batchs'; did you mean 'batch'?"),
        ({"learn": {"epochs": "two"}}, "learn.epochs = 'two'; expected an integer"),
        ({"learn": {"epochs": "x" * 10**6}}, "learn.epochs = 'xxx.{5,30}; expected an integer"),
        ({"learn": {"epochs": 0}}, "learn.epochs = 0; expected an integer of at least 1"),
        ({"learn": {"batch": -1}}, "learn.batch = -1; expected an integer of at least 1"),
        ({"learn": {"batch": 10**30}}, "learn.batch = .*; expected an integer of at least 1"),
        ({"learn": {"lr": float("nan")}}, "learn.lr = nan; expected a finite number"),
        ({"learn": {"lr": 10**400}}, "learn.lr = 10*.*; expected a finite number"),
        ({"learn": 3}, "learn = 3; expected a table"),
        ({"settings": 3}, "settings = 3; expected a table"),
        ({"learn": {"epochs": True}}, "learn.epochs = True; expected an integer"),
        ({"learn": {"lr": True}}, "learn.lr = True; expected a number"),
        ({"greedy": 1}, "greedy = 1; expected true or false"),
        ({"readout": {"betas": [0.9]}}, r"readout.betas = \[0.9\]; expected 2 values like \(0.9, 0.999\)"),
        ({"readout": {"betas": ["a", "b"]}}, "readout.betas = 'a'; expected a number"),
        ({"scale": "log"}, "scale = 'log'; expected none, mean, standard"),
    ],
)
def test_a_mistake_in_the_file_is_refused(changes, message):
    with pytest.raises(SettingsError, match=message) as caught:
        override(recommended("softhebb"), changes)
    assert len(str(caught.value)) < 500
    with pytest.raises(SettingsError, match=f"^softhebb: {message}"):
        Comparison(("softhebb",), overrides={"softhebb": changes}).experiments()


@pytest.mark.parametrize(
    "content",
    [b"[softhebb", b"lr = 1", b"\xff\xfe", b"a = " + 5000 * b"1", b"a = " + 9999 * b"[", b"[a]\n[a]", b"\0"],
)
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=str(path)):
        read_overrides(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[krotv]", r"\[krotv\]: no rule named 'krotv'; did you mean 'krotov'"),
        ("[oja]\nlearn = {rate = 1}", r"\[oja\]: unknown setting 'learn.rate'; expected one of"),
        ("[softhebb]\nsettings = {temprature = 1}", r"\[softhebb\]: unknown setting 'settings.temprature'"),
    ],
)
def test_a_mistake_in_a_file_is_refused_by_the_name_of_the_file(tmp_path, content, message):
    path = tmp_path / "settings.toml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=f"^{path}: {message}"):
        read_overrides(path)


def test_the_commit_is_that_of_git(tmp_path):
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    state = git_state(ROOT / "setup.cfg")
    assert (state["commit"] if state else "") == head.stdout.strip()
    (tmp_path / "file").touch()
    assert git_state(tmp_path / "file") is None


def test_a_digest_depends_on_values_types_and_shapes():
    x = torch.arange(6)
    others = [x.flip(0), x.int(), x.view(2, 3)]
    assert tensor_digest([x]) == tensor_digest([x.clone()])
    assert len({tensor_digest([t]) for t in (x, *others)}) == 4


def test_differences_are_named_by_their_path():
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}) == ["a.b was 1, is 3"]


def test_a_recorded_training_is_repeated(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    result = call_hebbian(
        "train", "--rule", "dfa", "--epochs", 1, "--hidden", 8, "--no-controls", "--out", first
    )
    assert result.exit_code == 0, result.output
    again = call_hebbian("run", first / "run.json", "--out", second)
    assert again.exit_code == 0, again.output
    assert "All 1 results are the same, bit for bit, on this processor." in again.output
    assert "contains the record itself" in call_hebbian("run", first / "run.json", "--out", first).output
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "run.json").write_text((first / "run.json").read_text())
    nothing = call_hebbian("run", tmp_path / "alone" / "run.json", "--out", tmp_path / "new")
    assert nothing.exit_code == 1
    assert "contains no results to compare with" in nothing.output
    path = second / "results.json"
    path.write_text(path.read_text().replace('"weights": "', '"weights": "0'))
    differs = call_hebbian("run", second / "run.json", "--out", tmp_path / "third")
    assert differs.exit_code == 1
    assert differs.output.splitlines()[-1] == "Error: 1 of 1 results differ"
    noted = json.loads((first / "run.json").read_text())
    (tmp_path / "odd.json").write_text(json.dumps({**noted, "command": "dance"}))
    for path in (tmp_path / "odd.json", first / "results.json"):
        assert "not of `hebbian train`" in call_hebbian("run", path, "--out", tmp_path / "x").output
    (first / "results.json").write_text('[{"figure": 1}]')
    assert (
        "not results of this version"
        in call_hebbian("run", first / "run.json", "--out", tmp_path / "x").output
    )


def test_a_recorded_comparison_is_repeated(tmp_path, here):
    words = ["compare", "--rules", "dfa", "--seeds", 1, "--epochs", 1, "--hidden", 8]
    late = call_hebbian(*words, "--out", tmp_path / "first", "--budget-minutes", 0)
    assert late.output.splitlines()[-1] == "3 runs are missing; the same command resumes them."
    result = call_hebbian(*words, "--out", tmp_path / "first")
    assert result.exit_code == 0, result.output
    shown = [line.split()[0] for line in result.output.splitlines()[-4:]]
    assert shown[0] == "rule"
    assert set(shown[1:]) == {"dfa", "backprop", "frozen"}
    again = call_hebbian("run", tmp_path / "first" / "run.json", "--out", tmp_path / "second")
    assert "All 3 results are the same, bit for bit, on this processor." in again.output


@pytest.mark.slow
def test_a_comparison_that_is_killed_repeatedly_has_the_same_results(tmp_path):
    """By SIGKILL of the command and its runs together, at random moments."""
    command = [sys.executable, "-m", "trainers", "compare", "--rules", "dfa,softhebb", "--seeds", "2"]
    command += ["--epochs", "3", "--hidden", "8", "--out"]
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True)
    whole = read_run_results(tmp_path / "whole")
    assert len(whole) == 8
    cut, draws, killed = tmp_path / "cut", random.Random(0), 0
    while len(read_run_results(cut)) < len(whole):
        running = subprocess.Popen(
            [*command, cut], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        before, start = len(read_run_results(cut)), time.monotonic()
        while running.poll() is None and len(read_run_results(cut)) < before + draws.randint(1, 3):
            assert time.monotonic() - start < 120
            time.sleep(0.01)
        time.sleep(draws.uniform(0, 2))
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            killed += 1
        assert running.wait() in (0, -signal.SIGKILL)
    assert killed >= 2
    assert outcome(read_run_results(cut)) == outcome(whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"settings": {"p": "a"}}, r"settings.p = 'a'; expected a number"),
        ({"settings": {"q": 1}}, r"unknown setting 'settings.q'"),
        ({"settings": {"layers": {"0.1": {"k": 2.5}}}}, r"settings.layers.0.1.k = 2.5; expected an integer"),
        ({"settings": {"layers": 3}}, r"settings.layers = 3; expected a list of paths"),
        ({"learn": {"lr": -1.0}}, "learn: invalid learning rate"),
    ],
)
def test_settings_of_a_rule_are_checked_before_anything_runs(settings, message):
    with pytest.raises(SettingsError, match=message):
        Comparison(("krotov",), overrides={"krotov": settings}).experiments()


def test_settings_of_a_rule_reach_its_recipe_in_its_types():
    layers = {"0.1": {"p": 3}}
    changes = {"krotov": {"settings": {"k": 3, "reduction": "sum", "layers": layers}}}
    (first,) = Comparison(("krotov",), (0,), overrides=changes).experiments()
    assert first.recipe.settings == changes["krotov"]["settings"]
    pairs = {"eqprop": {"settings": {"steps": [3, 2]}}}
    (first,) = Comparison(("eqprop",), (0,), overrides=pairs).experiments()
    assert first.recipe.settings == {"steps": (3, 2)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": "oja"}, r"rules = 'oja'; expected a tuple such as \('oja',\)"),
        ({"rules": ("oja",), "seeds": 3}, r"seeds = 3; expected a tuple such as \(0,\)"),
        ({"rules": ("oja",), "widths": 50}, r"widths = 50; expected a tuple such as \(100,\)"),
    ],
)
def test_one_value_in_place_of_several_is_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Comparison(**settings)


def test_a_comparison_takes_any_sequence():
    assert Comparison(["oja"], seeds=range(3)) == Comparison(("oja",), seeds=(0, 1, 2))


SCRIPT = """
import torch
from trainers import Comparison, Split, compare_rules

x, y = torch.ones(20, 3), torch.arange(20) % 2
{guard}compare_rules(Comparison(("oja",), (0,), widths=(4,), epochs=1), Split(x, y, x, y), "out")
"""


@pytest.mark.slow
def test_a_script_that_new_processes_run_again_is_told_so(tmp_path):
    script, results = tmp_path / "script.py", tmp_path / "out" / "results.json"

    def call(guard):
        script.write_text(SCRIPT.format(guard=guard))
        return subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = call("")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr  # the caller's own, no process's
    assert "DataError: a new process ended before its job began: " in done.stderr
    assert 'under `if __name__ == "__main__":`' in done.stderr
    assert not results.exists()
    assert call('if __name__ == "__main__": ').returncode == 0
    assert json.loads(results.read_text())[0]["accuracy"] is not None
