"""Every option of a rule has an effect or is refused, and so is what is no model, criterion or plasticity."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import (
    Backprop,
    DirectFeedback,
    FeedbackAlignment,
    Hebbian,
    Krotov,
    NodePerturbation,
    PairSTDP,
    PredictiveCoding,
    SoftHebb,
    oja,
    registry,
)
from tests.test_hebbian import helpers
from tests.test_hebbian.every_rule import NAMES, build, data, grads, net

CHANGED = {
    "activation": torch.tanh,
    "alpha": 0.3,
    "beta": 0.1,
    "delta": 0.1,
    "feedback": "symmetric",
    "gamma": 0.3,
    "k": 3,
    "layers": ["0.0"],
    "leak": 3.0,
    "magnitude": "batch",
    "noise": 0.3,
    "nudge": "one-sided",
    "p": 3.0,
    "patch": 2,
    "peak": 0.9,
    "penalty": 0.3,
    "precision": 0.5,
    "rate": 0.3,
    "rate_power": 1.0,
    "reduction": "sum",
    "samples": 5,
    "sigma": 0.2,
    "similarity": 0.5,
    "slope": 0.1,
    "solver": "states",
    "stateful": True,
    "stdp": PairSTDP(a_plus=0.1),
    "steps": 4,
    "strength": 0.5,
    "temperature": 0.3,
    "thresholds": (1.0, 2.0),
    "tolerance": 0.1,
    "trace": 0.5,
    ("dual-propagation", "beta"): 1.0,
    ("eqprop", "steps"): (4, 2),
    ("foldiak", "p"): 0.3,
    ("pc", "steps"): 1,
    ("pc-fixed", "steps"): 1,
}
"""For each option of any rule, a value that is not its default."""


def options():
    given = {"self", "model", "criterion", "example", "classes", "units", "u", "w", "loss", "maps"}
    for name in NAMES:
        info = registry.find_rule(name)
        own = (
            inspect.signature(info.build.args[0]).parameters.keys() - given - {"low_memory"}
        )  # the same result
        summed = {"reduction"} if info.layer_settings and name != "frozen" else set()
        for option in sorted({*own, "layers"} | summed):
            yield name, option


def outcome(name, **settings):
    """Return the updates of two calls and the state after them."""
    rule = build(name, net(name=name), **settings)
    updates = [helpers.grads(rule, *data(seed=seed), seed=seed) for seed in (1, 2)]
    return {**{f"{i} {k}": g for i, u in enumerate(updates) for k, g in u.items()}, **rule.state_dict()}


@pytest.mark.parametrize(("name", "option"), [*options()])
def test_every_option_has_an_effect_or_is_refused(name, option):
    changed = helpers.seeded(7) if option == "generator" else CHANGED.get((name, option)) or CHANGED[option]
    try:
        found = outcome(name, **{option: changed})
    except (TypeError, ValueError) as refusal:
        assert option in str(refusal)  # noqa: PT017, as an effect is as good
        return
    expected = outcome(name)
    assert found.keys() != expected.keys() or any(not torch.equal(found[k], v) for k, v in expected.items())


def test_a_two_factor_rule_is_built_to_add_over_samples():
    x, _ = data()
    mean, total = (
        grads(registry.build("oja", net(), None, example=x, classes=4, reduction=how), x, None)
        for how in ("mean", "sum")
    )
    torch.testing.assert_close(total["model.0.0.weight"], 8 * mean["model.0.0.weight"])


def test_settings_reach_the_plasticity():
    rule = registry.build("krotov", net(), None, example=data()[0], classes=4, layers=["0.0"], k=3, delta=0.1)
    (plasticity,) = rule.plasticity.values()
    assert (plasticity.k, plasticity.delta) == (3, 0.1)
    for name in ("krotov", "oja"):
        with pytest.raises(TypeError, match="unheard"):
            registry.build(name, net(), None, example=data()[0], classes=4, unheard=1)


def test_only_rules_with_plasticities_accept_settings_for_single_layers():
    layers = {"0.0": {"k": 3}, "1.0": {}}
    rule = registry.build("krotov", net(), None, example=data()[0], classes=4, layers=layers, k=4)
    assert [p.k for p in rule.plasticity.values()] == [3, 4]
    with pytest.raises(TypeError, match="'fa' takes no settings for single layers"):
        registry.build("fa", net(), F.cross_entropy, example=data()[0], classes=4, layers=layers)


@pytest.mark.parametrize("name", [n for n in NAMES if not registry.find_rule(n).at_layers])
def test_a_rule_that_acts_at_all_layers_refuses_layers(name):
    with pytest.raises(TypeError, match=f"'{name}' acts at all layers of the model; give no layers"):
        build(name, net(name=name), layers=["0.0"])


def test_a_criterion_that_is_not_one_is_refused(name):
    wrong = nn.CrossEntropyLoss, SoftHebb(), SoftHebb, oja, "mse", nn.CrossEntropyLoss(reduction="none")
    for criterion in wrong:
        with pytest.raises(
            TypeError, match=r"^the criterion is (the class|an instance|the function|'mse').*; expected"
        ):
            registry.build(name, net(name=name), criterion, example=data()[0], classes=4)


def test_a_model_that_is_not_one_is_refused(name):
    inner = net(name=name)
    wrong = {
        "the model is the class Sequential; expected an nn.Module": nn.Sequential,
        "the model is the function relu; expected an nn.Module": F.relu,
        "the model is an instance of Backprop; expected": Backprop(inner, F.cross_entropy),
        "the model is an nn.DataParallel.*use the module inside it": nn.DataParallel(inner),
        "layer '0' is an nn.DataParallel": nn.Sequential(nn.DataParallel(inner), nn.ReLU()),
    }
    for message, model in wrong.items():
        with pytest.raises(TypeError, match=message):
            registry.build(name, model, F.cross_entropy, example=data()[0], classes=4)


@pytest.mark.parametrize("make", [FeedbackAlignment, NodePerturbation, DirectFeedback])
def test_a_constructor_refuses_what_is_not_a_model(make):
    with pytest.raises(TypeError, match="the model is the class Sequential"):
        make(nn.Sequential, F.cross_entropy, *([data()[0]] if make is DirectFeedback else []))


@pytest.mark.parametrize(
    ("plasticity", "message"),
    [
        (SoftHebb(), "the plasticity is an instance of SoftHebb; expected a mapping from paths"),
        (SoftHebb, "the plasticity is the class SoftHebb; expected a mapping"),
        (oja, "the plasticity is the function oja; expected a mapping"),
        (["0.0"], "the plasticity is an instance of list; expected a mapping"),
        ({"0.0": F.cross_entropy}, "plasticity of layer '0.0' is the function cross_entropy"),
        ({"0.0": nn.CrossEntropyLoss()}, "plasticity of layer '0.0' is an instance of CrossEntropyLoss"),
    ],
)
def test_a_plasticity_that_is_not_one_is_refused(plasticity, message):
    with pytest.raises(TypeError, match=message):
        Hebbian(net(), plasticity)


@pytest.mark.filterwarnings("ignore:The .grad attribute of")
def test_what_is_made_in_inference_mode_is_refused(name):
    model = net(name=name)
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"nothing made in torch.inference_mode learns"),
    ):
        build(name, model)
    with torch.inference_mode():
        model = net(name=name)
    with pytest.raises(RuntimeError, match=r"nothing made in torch.inference_mode learns"):
        build(name, model)


def test_a_layer_without_weights_is_refused_at_construction():
    model = nn.Sequential(nn.Linear(20, 16), nn.Sequential(nn.ReLU(), nn.LazyLinear(4)))
    with pytest.raises(ValueError, match=r"layer '1.1' has no weights yet; run the model on a batch"):
        Backprop(model, F.cross_entropy)
    model(data()[0])
    Backprop(model, F.cross_entropy)(*data()).backward()


def test_the_least_settings_are_allowed():
    assert Krotov(k=1, p=1.0).p == 1
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    assert PredictiveCoding(model, F.cross_entropy, steps=1, rate=1e-9).steps == 1


@pytest.mark.parametrize("settings", [{"steps": 0}, {"rate": 0.0}, {"rate": -0.1}])
def test_settling_needs_a_step_and_a_rate(settings):
    with pytest.raises(ValueError, match="steps must be at least 1 and rate positive"):
        PredictiveCoding(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), F.cross_entropy, **settings)
