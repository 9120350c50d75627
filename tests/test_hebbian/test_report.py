"""What a rule reports on how each parameter learns, against theory."""

import copy
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, DifferenceTarget, DirectFeedback, FeedbackAlignment, Hebbian, Rule, frozen, oja
from hebbian.report import BY_CRITERION, BY_RULE, NOT
from tests.helpers import ROOT
from tests.test_hebbian import every_rule
from tests.test_hebbian.every_rule import NAMES, data, net
from tests.test_hebbian.helpers import batch, mlp

sys.path.append(str(ROOT / "benchmarks"))

from any_net import ResNet


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_learn_is_what_has_no_gradient_and_nothing_changes(name):
    rule, (x, y) = every_rule.build(name, net(name=name)), data()
    before, random = copy.deepcopy(rule.state_dict()), torch.get_rng_state()
    report = rule.report(x, y)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in rule.state_dict().items())
    rule(x, y).backward()
    assert all(p.grad is not None or report.learns[key].startswith(NOT) for key, p in rule.named_parameters())
    assert all(p.grad is None or not report.learns[key].startswith(NOT) for key, p in rule.named_parameters())


def test_backprop_is_the_criterion_everywhere_but_at_fixed_parameters():
    rule = Backprop(ResNet(), F.cross_entropy)
    rule.model.fc.requires_grad_(False)
    learns = rule.report(torch.rand(4, 1, 8, 8)).learns
    fixed = dict.fromkeys(("model.fc.weight", "model.fc.bias"), f"{NOT}: requires_grad is False")
    assert learns == dict.fromkeys(learns, BY_CRITERION) | fixed


@pytest.mark.parametrize(("hidden", "expected"), [((5,), BY_CRITERION), ((5, 5), BY_RULE)])
def test_target_propagation_with_one_hidden_block_is_backprop(hidden, expected):
    x, y = batch(6, 4)
    rule = DifferenceTarget(mlp(4, *hidden, 4), F.cross_entropy, x)
    assert rule.report(x, y).learns["model.0.0.weight"] == expected


def test_a_residual_block_learns_by_backprop_inside():
    rule = DirectFeedback(ResNet(), F.cross_entropy, torch.rand(2, 1, 8, 8))
    learns = rule.report(torch.rand(6, 1, 8, 8)).learns
    assert learns["model.conv.weight"] == learns["model.bn.bias"] == BY_RULE
    inside = "by backprop inside block 'layers.1.conv1 to layers.1.bn2' from the rule's error"
    assert learns["model.layers.1.conv1.weight"] == learns["model.layers.1.bn2.bias"] == inside
    assert learns["model.fc.weight"] == BY_CRITERION


def test_of_feedback_alignment_the_norms_learn_by_backprop_of_its_error():
    learns = FeedbackAlignment(ResNet(), F.cross_entropy).report(torch.rand(6, 1, 8, 8)).learns
    assert learns["model.layers.0.conv1.weight"] == BY_RULE
    assert learns["model.layers.0.bn1.weight"] == "by backprop from the rule's error"
    assert learns["feedback.0"] == f"{NOT}: requires_grad is False"


def test_of_a_hebbian_layer_the_bias_and_what_comes_before_do_not_learn():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    rule = Hebbian(model, {"1": oja}, F.binary_cross_entropy_with_logits)  # one logit
    assert rule.report(torch.randn(6, 4)).learns == {
        "model.0.weight": NOT,
        "model.0.bias": NOT,
        "model.1.weight": BY_RULE,
        "model.1.bias": NOT,
        "model.3.weight": BY_CRITERION,
        "model.3.bias": BY_CRITERION,
    }
    assert Hebbian(model, {"1": frozen}).report(torch.randn(6, 4)).learns["model.3.weight"] == NOT


def test_a_rule_from_elsewhere_has_a_report_that_can_be_printed():
    class Half(Rule):
        def forward(self, x, y=None):
            return self.model(x).square().mean() / 2

    printed = str(Half(nn.Linear(4, 3)).report(torch.randn(5, 4)))
    assert printed.splitlines() == [
        "Half of Linear",
        "",
        "parameter     shape   learns",
        "model.weight  (3, 4)  by the rule",
        "model.bias    (3,)    by the rule",
    ]
