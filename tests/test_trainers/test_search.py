"""A search improves bad rates, does not use test data, and is reproducible."""

import importlib.util
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import SGD

from trainers import DataError, Split
from trainers.comparison import compare as module, search as searching
from trainers.comparison.compare import Comparison, compare_rules
from trainers.comparison.experiment import Experiment
from trainers.comparison.results import read_run_results
from trainers.comparison.search import SearchResult, scale_rates, search_rates, split_training
from trainers.recipes import Phase, Recipe


@pytest.fixture
def split():
    """Two overlapping classes in five dimensions; the test data must not be used."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    x = torch.randn(200, 5, generator=g) + y[:, None]
    split = Split(x, y, torch.zeros(3, 5), torch.tensor([0, 1, 1]))
    split.x_test.fill_(torch.nan)
    return split


def slow(rate):
    return Experiment("backprop", 0, Recipe(Phase(partial(SGD, lr=rate), epochs=2, batch=20)), widths=(6,))


def test_a_fifth_of_each_class_of_the_training_data_is_held_out(split):
    inner = split_training(split)
    assert torch.bincount(inner.y_test).tolist() == [20, 20]
    both = torch.cat([inner.x_train, inner.x_test])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, split.x_train.tolist()))


def test_rates_are_multiplied():
    found = scale_rates(slow(0.5), SearchResult("backprop", learn=4.0, readout=2.0)).recipe
    weights = [torch.zeros(1, requires_grad=True)]
    assert found.learn.optimizer(weights).param_groups[0]["lr"] == 2.0
    assert found.readout.optimizer(weights).param_groups[0]["lr"] == 2e-3


def test_a_search_corrects_a_rate_that_is_too_small_and_is_reproducible(split):
    pytest.importorskip("optuna")
    alone = search_rates(slow(1e-3), split, 1)
    assert alone.learn == 1.0  # the first trial is the recipe
    found = search_rates(slow(1e-3), split, 12)
    assert found == search_rates(slow(1e-3), split, 12)
    assert 1 / 30 <= found.learn <= 30
    assert found.learn > 3
    assert found.accuracy > alone.accuracy
    assert found.readout == 1.0  # a supervised rule has none


def test_a_recipe_without_a_rate_is_refused(split):
    pytest.importorskip("optuna")
    odd = replace(slow(1.0), recipe=Recipe(Phase(lambda p: SGD(p, lr=1.0), epochs=1)))
    with pytest.raises(ValueError, match="define its optimizer as partial"):
        search_rates(odd, split, 1)
    assert scale_rates(odd, SearchResult("backprop", reason="failed")) == odd  # it then runs as it is


def test_a_comparison_searches_once_a_rule_and_uses_the_result(split, tmp_path, monkeypatch):
    calls = []

    def sought(experiment, inner, trials, threads):
        calls.append(experiment.rule)
        return SearchResult(experiment.rule, learn=2.0, accuracy=0.9)

    def measured(experiment, inner, threads):
        weights = [torch.zeros(1, requires_grad=True)]
        rate = experiment.recipe.learn.optimizer(weights).param_groups[0]["lr"]
        return module.Result(experiment.rule, experiment.seed, accuracy=rate, seconds=0.0)

    monkeypatch.setattr(module, "run_in_process", lambda function, *args: function(*args))
    monkeypatch.setattr(module, "_search_rates", sought)
    monkeypatch.setattr(module, "_measure", measured)
    monkeypatch.setattr(module, "require_optuna", lambda: None)
    comparison = Comparison(("backprop", "dfa"), seeds=(0, 1), trials=5)
    for _ in range(2):
        results = compare_rules(comparison, split, tmp_path / "a")
    assert calls == ["backprop", "dfa"]
    assert [r.accuracy for r in results] == [2e-3] * 4  # twice the recipe's 1e-3
    assert read_run_results(tmp_path / "a") == results


def test_without_optuna_a_search_states_what_to_install(split, tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "find_spec", lambda name: importlib.util.find_spec("no_such_package"))
    with pytest.raises(DataError, match=r"pip install 'hebbian-eeg\[search\]'"):
        compare_rules(Comparison(("backprop",), trials=1), split, tmp_path / "a")
    assert not (tmp_path / "a").exists()
