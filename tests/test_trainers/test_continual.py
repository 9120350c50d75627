"""Tasks one after the other, against cases in which what is forgotten is known."""

from dataclasses import replace
from functools import partial, reduce

import pytest
import torch
from torch.optim import SGD

from tests.helpers import call_hebbian
from trainers import Split, accuracy, mlp
from trainers.comparison.continual import forgetting, make_tasks
from trainers.comparison.experiment import Experiment, run_experiment
from trainers.comparison.results import read_run_results
from trainers.errors import SettingsError
from trainers.phases import train_tasks
from trainers.readout import Scaling, fit_scaling, fold_scaling, unfold_scaling
from trainers.recipes import Phase, recommended

STILL = Phase(partial(SGD, lr=0.0), epochs=1, batch=10)


@pytest.fixture
def split():
    """Four classes at the corners of a square, in two of five dimensions."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 4
    x = torch.randn(160, 5, generator=g)
    x[:, 0] += torch.where(y % 2 == 0, 6.0, -6.0)
    x[:, 1] += torch.where(y < 2, 6.0, -6.0)
    return Split(x[:120], y[:120], x[120:], y[120:])


def run(split, rule, protocol, **recipe):
    recipe = replace(recommended(rule), **recipe)
    return run_experiment(Experiment(rule, 0, recipe, widths=(20,), protocol=protocol, tasks=2), split)


def test_every_class_is_in_one_of_the_tasks_with_all_its_samples(split):
    first, second = make_tasks(split, "split", 2)
    assert set(first.y_train.tolist()) == set(first.y_test.tolist()) == {0, 1}
    assert set(second.y_train.tolist()) == set(second.y_test.tolist()) == {2, 3}
    for whole, parts in zip(split.tensors, zip(first.tensors, second.tensors, strict=True), strict=True):
        rows = [tuple(row.reshape(-1).tolist()) for row in torch.cat(parts)]
        assert sorted(rows) == sorted(tuple(row.reshape(-1).tolist()) for row in whole)
    with pytest.raises(SettingsError, match="5 tasks need as many classes, and the data have 4"):
        make_tasks(split, "split", 5)


def test_a_task_permutes_the_values_of_all_samples_alike():
    x = torch.arange(12.0).view(3, 2, 2)
    y = torch.arange(3)
    first, *others = make_tasks(Split(x, y, x, y), "permuted", 3)
    assert torch.equal(first.x_train, x)
    orders = set()
    for task in others:
        assert torch.equal(task.x_train, task.x_test)
        flat = task.x_train.flatten(1)
        assert torch.equal(flat - flat[:1], (x - x[:1]).flatten(1))  # the same order for all samples
        assert sorted(flat[0].tolist()) == [0, 1, 2, 3]
        orders.add(tuple(flat[0].tolist()))
    assert len(orders | {(0.0, 1.0, 2.0, 3.0)}) == 3


def test_forgetting_by_hand():
    assert forgetting([[0.9, 0.0, 0.0], [0.5, 0.8, 0.0], [0.6, 0.7, 0.9]]) == pytest.approx((0.3 + 0.1) / 2)
    assert forgetting([[0.5, 0.0], [0.7, 1.0]]) == pytest.approx(-0.2)
    assert forgetting([[0.9]]) is None


@pytest.mark.parametrize("protocol", ["split", "permuted"])
def test_what_learns_nothing_forgets_nothing(split, protocol):
    result = run(split, "backprop", protocol, learn=STILL)
    assert result.accuracies[0] == result.accuracies[1]
    assert result.forgetting == 0


@pytest.mark.parametrize("rule", ["backprop", "frozen"])
def test_inputs_with_new_labels_lose_their_old_ones(split, rule):
    first, second = split.x_train[split.y_train < 2], split.y_train[split.y_train < 2]
    split = Split(*2 * (torch.cat([first, first]), torch.cat([second, second + 2])))
    steps = Phase(partial(SGD, lr=0.1), epochs=20, batch=10)
    result = run(split, rule, "split", **{"learn" if rule == "backprop" else "readout": steps})
    assert result.accuracies == ((1.0, 0.0), (0.0, 1.0))
    assert (result.accuracy, result.forgetting) == (0.5, 1.0)


def test_one_task_is_the_ordinary_training(split):
    result = run(split, "frozen", "joint")
    assert result.accuracies == ()
    assert result.forgetting is None


def test_a_readout_continues_from_what_it_has_learned(split):
    """With the same features it is the same readout, whatever their scaling."""
    model = mlp(5, [20], 4)
    recipe, data = replace(recommended("frozen"), readout=STILL), split.training_data()
    before = model(split.x_test).detach()
    for _ in train_tasks("frozen", model, [data], replace(recipe, scale="none")):
        torch.testing.assert_close(model(split.x_test), before, rtol=1e-4, atol=1e-4)
    seen = [rule.predict(split.x_test).detach() for rule in train_tasks("frozen", model, 2 * [data], recipe)]
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-4, atol=1e-4)


def test_a_readout_learns_a_task_whose_features_hardly_varied_before():
    """As random features of permuted images.

    Scaled by each task alone, a weight of 1 for noise of 1e-3 would be one of 1000 for the new signal.
    """
    g = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    signal, noise = 2.0 * y[:, None] - 1, torch.randn(200, 1, generator=g)
    inputs = torch.cat([signal, 1e-3 * noise], 1), torch.cat([noise, signal], 1)
    tasks = [Split(x, y, x, y).training_data() for x in inputs]
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.zero_()
        model[1].weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))  # wrong for the signal to come
    for task, rule in zip(tasks, train_tasks("frozen", model, tasks, recommended("frozen")), strict=True):
        learned = accuracy(rule.predict(task.x), task.y)
    assert learned > 0.9


def test_the_pooled_scaling_is_that_of_the_union():
    g = torch.Generator().manual_seed(0)
    h = torch.randn(50, 3, generator=g, dtype=torch.float64) * torch.tensor([1.0, 0.01, 30.0]) + 5
    parts = [h[:10], h[10:30] - 7, h[30:]]
    first, *others = [fit_scaling(part, "standard") for part in parts]
    pooled, union = reduce(Scaling.pool, others, first), fit_scaling(torch.cat(parts), "standard")
    torch.testing.assert_close((pooled.shift, pooled.scale), (union.shift, union.scale))
    assert pooled.samples == 50
    a, b = Scaling(torch.zeros(()), torch.tensor(3.0), 1), Scaling(torch.zeros(()), torch.tensor(5.0), 1)
    assert a.pool(b).scale.item() == pytest.approx(17**0.5)
    assert a.pool(b).shift == 0


def test_a_rule_keeps_what_it_has_learned_beside_the_network(split):
    """The projections of Mono-Forward predict: with new ones a second task would forget the first."""
    result = run(split, "mono-forward", "permuted", learn=STILL)
    assert result.accuracies[0] == result.accuracies[1]
    model = mlp(5, [20], 4)
    tasks, recipe = 2 * [split.training_data()], replace(recommended("mono-forward"), learn=STILL)
    first, second = train_tasks("mono-forward", model, tasks, recipe)
    assert first is second
    with pytest.raises(ValueError, match="are for one task; train several without"):
        next(train_tasks("mono-forward", model, tasks, replace(recipe, frozen_blocks=1)))


def test_unfolding_inverts_folding():
    torch.manual_seed(0)
    h, readout = 3 * torch.rand(50, 6, dtype=torch.float64) + 1, torch.nn.Linear(6, 4).double()
    scaling = fit_scaling(h, "standard")
    expected = readout(h)
    unfold_scaling(scaling, readout)
    torch.testing.assert_close(readout(scaling(h)), expected)
    fold_scaling(scaling, readout)
    torch.testing.assert_close(readout(h), expected)


def test_the_command_reports_and_stores_what_is_forgotten(tmp_path):
    words = ["compare", "--rules", "frozen", "--no-controls", "--protocol", "split", "--epochs", "1"]
    result = call_hebbian(*words, "--tasks", "2", "--seeds", "1", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "forgetting, points" in result.output
    (stored,) = read_run_results(tmp_path / "out")
    assert len(stored.accuracies) == len(stored.accuracies[0]) == 2
    assert stored.forgetting == pytest.approx(stored.accuracies[0][0] - stored.accuracies[1][0])
    refused = call_hebbian(*words, "--tasks", "11", "--out", str(tmp_path / "other"))
    assert refused.exit_code == 2
    assert "11 tasks need as many classes, and the data have 10" in refused.output
