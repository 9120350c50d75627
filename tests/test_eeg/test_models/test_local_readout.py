"""Rules with their own readout: a detector has the scores of the rule, also from a file, and is explained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eeg.detector.calibration import Calibration
from eeg.detector.detector import Detector, network_logits
from eeg.detector.model_file import load_detector, save_detector
from eeg.explanation.attribution import METHODS, Montage, attribute
from eeg.models.local_readout import OwnReadout, build_network, count_scores, has_own_readout
from eeg.models.tvgg import TVGG
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.training.fit import fit_network
from eeg.training.plan import Plan
from trainers.errors import DataError

CHANNELS = ("Fp1", "T7", "Cz", "O2")
SHAPE = (len(CHANNELS), 128)
OWN = ["mono-forward", "forward-forward", "eqprop"]
WINDOWS = np.random.default_rng(0).standard_normal((5, *SHAPE)).astype(np.float32)


def network(rule: str) -> OwnReadout:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = build_network("tvgg-gap", rule, *SHAPE)
    assert isinstance(found, OwnReadout)
    return found.eval()


def detector(rule: str) -> Detector:
    settings = Preprocessing(CHANNELS)
    calibration = Calibration(1.0, 0.0, 0.5, 20)
    return Detector(
        network=network(rule),
        model="tvgg-gap",
        preprocessing=settings,
        window=1.0,
        labels="events",
        aggregation="top",
        calibration=calibration,
        readout=rule,
    )


def test_rules_with_their_own_readout() -> None:
    assert [rule for rule in (*OWN, "backprop", "predsim") if has_own_readout(rule)] == OWN
    assert [count_scores(rule) for rule in (*OWN, "backprop")] == [1, 2, 2, 1]
    assert isinstance(build_network("tvgg", None, *SHAPE), TVGG)


@pytest.mark.parametrize("rule", OWN)
def test_the_logit_is_that_of_the_rule_and_not_of_the_network(rule: str) -> None:
    found = network(rule)
    scores = found.rule.predict(torch.from_numpy(WINDOWS)).detach()
    logit = scores[:, -1] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
    np.testing.assert_allclose(network_logits(found, WINDOWS), logit, rtol=1e-4, atol=1e-5)
    own = found.rule.model(torch.from_numpy(WINDOWS)).detach()
    assert not torch.allclose(own, scores, atol=1e-3)


@pytest.mark.parametrize("rule", OWN)
def test_a_loaded_detector_has_the_same_logits(rule: str, tmp_path: Path) -> None:
    made = detector(rule)
    save_detector(made, tmp_path / "model.safetensors")
    again = load_detector(tmp_path / "model.safetensors")
    assert again.readout == rule
    np.testing.assert_array_equal(again.logits(WINDOWS), made.logits(WINDOWS))


def test_an_unknown_readout_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule named 'telepathy'"):
        replace(detector("mono-forward"), readout="telepathy")


def bumps(label: int, seed: int) -> Windows:
    """Noise, in which two of six windows of those with label 1 contain a bump."""
    x = np.random.default_rng(seed).standard_normal((6, *SHAPE)).astype(np.float32)
    if label:
        x[[0, 2], :, 26:39] += 4
    events = (np.array([0.2, 2.2]), np.array([0.1, 0.1])) if label else (np.array([]), np.array([]))
    return Windows(x, np.arange(6.0), 1.0, label, events)


@pytest.mark.parametrize("rule", ["mono-forward", "forward-forward"])
def test_it_is_trained_and_the_same_plan_gives_the_same_weights(rule: str) -> None:
    plan = Plan(Preprocessing(CHANNELS), "events", 1.0, "top", rule=rule, epochs=2)
    data = [bumps(i % 2, i) for i in range(4)]
    once, again = fit_network(plan, data), fit_network(plan, data)
    pairs = zip(once.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert isinstance(once, OwnReadout)
    assert not once.training
    assert np.isfinite(network_logits(once, data[0].data)).all()


@pytest.mark.slow
def test_mono_forward_learns_without_the_readout_of_the_network() -> None:
    plan = Plan(Preprocessing(CHANNELS), "events", 1.0, "top", rule="mono-forward", epochs=30)
    network = fit_network(plan, [bumps(i % 2, i) for i in range(12)])
    for seed in range(100, 106):
        assert set(np.argsort(network_logits(network, bumps(1, seed).data))[-2:]) == {0, 2}


# --- explained


def evidence(rule: str, method: str) -> Tensor:
    x = torch.from_numpy(WINDOWS)
    return attribute(network(rule), x, torch.zeros_like(x), Montage(CHANNELS, 128.0), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_mono_forward_is_explained_by_every_method(method: str) -> None:
    found = evidence("mono-forward", method)
    assert found.shape in {(5, 4, 128), (5, 1, 128)}
    assert found.abs().sum() > 0
    if METHODS[method].complete and method != "gradient-shap":  # which adds up in the mean only
        whole, nothing = network_logits(network("mono-forward"), np.stack([WINDOWS[0], 0 * WINDOWS[0]]))
        assert float(found[0].sum()) == pytest.approx(whole - nothing, rel=0.05, abs=0.01)


@pytest.mark.parametrize("rule", ["forward-forward", "eqprop"])
def test_rules_without_gradients_are_explained_by_occlusion(rule: str) -> None:
    assert evidence(rule, "occlusion").abs().sum() > 0
    for method in ("integrated-gradients", "grad-cam", "deeplift", "gradient-shap"):
        with pytest.raises(DataError, match="occlusion"):
            evidence(rule, method)
