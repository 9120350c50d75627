"""Which rules ask for labels, what they take for one, and one logit in place of two scores."""

import copy
import inspect
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DirectFeedback, Hebbian, oja, probabilities, registry
from hebbian.rule import has_classes
from tests.test_hebbian.every_rule import NAMES, build, data, grads, net
from tests.test_hebbian.helpers import batch


def test_no_label_reaches_predict(rule):
    x, y = data()
    assert list(inspect.signature(rule.predict).parameters) == ["x"]
    twin = copy.deepcopy(rule)
    rule(x, y)
    twin(x, (y + 1) % 4)
    assert torch.equal(rule.predict(x), twin.predict(x))


def test_a_rule_that_learns_from_labels_asks_for_them(name, rule):
    if registry.find_rule(name).supervised:
        with pytest.raises(ValueError, match=r"needs? targets"):
            rule(data()[0])


def test_targets_are_asked_for_where_they_are_needed():
    x = data()[0]
    for rule in (
        Backprop(net(), F.cross_entropy),
        DirectFeedback(net(), F.cross_entropy, x),
        Hebbian(net(), {"0.0": oja}, F.cross_entropy),
    ):
        with pytest.raises(ValueError, match="needs targets"):
            rule(x)


def test_a_rule_that_learns_from_labels_needs_a_criterion():
    with pytest.raises(ValueError, match="needs a criterion, got None"):
        registry.build("fa", net(), None, example=data()[0], classes=4)


@pytest.mark.parametrize("name", [n for n in NAMES if not registry.find_rule(n).supervised])
def test_an_unsupervised_rule_learns_at_the_hidden_layers_without_labels(name):
    rule = registry.build(name, net(), None, example=data()[0], classes=4)
    found = set(grads(rule, data()[0], None))
    assert found >= {"model.0.0.weight", "model.1.0.weight"}
    assert not any(n.startswith("model.2.") for n in found)


@pytest.mark.parametrize("label", [-1, 4, 255])
def test_a_label_that_is_not_a_class_is_refused(name, rule, label):
    x, y = data()
    y[2] = label
    if registry.find_rule(name).supervised:
        with pytest.raises((ValueError, IndexError), match=rf"(Target|label) {label}\b"):
            rule(x, y).backward()


@pytest.mark.parametrize("name", ["node-perturbation", "three-factor"])
def test_rules_that_need_the_loss_of_each_sample_refuse_one_that_the_criterion_ignores(name):
    x, y = data()
    y[2] = -100
    with pytest.raises(ValueError, match="label -100; expected classes 0 to 3: leave out samples"):
        build(name, net())(x, y)


@pytest.mark.parametrize("name", ["forward-forward", "eqprop", "sim", "predsim", "rstdp"])
@pytest.mark.parametrize("targets", [F.one_hot(batch(8, 20)[1], 4).double(), batch(1, 20)[1]])
def test_a_rule_that_needs_a_class_of_every_sample_refuses_other_targets(name, targets):
    model = nn.Sequential(nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    expected = "expected one class for each of 8 samples|to match target batch_size"
    with pytest.raises(ValueError, match=expected):
        build(name, model)(batch(8, 20)[0], targets)


def test_one_logit_is_learned_from_or_refused_at_construction(name):
    entry = registry.find_rule(name)
    x, y = data()[0], (data()[1] > 1).float()[:, None]
    with nullcontext() if entry.one_logit else pytest.raises(ValueError, match="one unit a class"):
        rule = registry.build(name, net(1, name), nn.BCEWithLogitsLoss(), example=x, classes=1)
        assert all(g.isfinite().all() for g in grads(rule, x, y).values())
        assert rule.predict(x).shape == (8, 1)


def test_one_logit_and_two_scores_agree():
    z = torch.linspace(-3, 3, 7)[:, None]
    two = torch.cat([torch.zeros_like(z), z], 1)
    torch.testing.assert_close(probabilities(z), probabilities(two))
    with pytest.raises(ValueError, match="N, K"):
        probabilities(z[:, 0])


@pytest.mark.parametrize(
    ("k", "y", "expected"),
    [
        (3, [0, 2], True),
        (3, [0, 3], False),
        (3, [-1, 2], False),
        (1, [0, 1], True),
        (1, [0, 2], False),
        (1, [0.0, 1.0], True),
        (1, [0.0, 0.5], False),
        (2, [0.0, 1.0], False),
        (2, [0.0, 0.5], False),
        (2, [[0], [1]], True),
        (2, [0, 1, 1], False),
        (2, [], False),
    ],
)
def test_classes_are_integers_below_their_number_or_0_and_1_of_one_logit(k, y, expected):
    assert has_classes(torch.zeros(2 if y else 0, k), torch.tensor(y)) is expected
