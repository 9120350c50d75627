"""Evidence for the logit of a recording adds up to it for every pooling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage, attribute
from eeg.explanation.recording import contributions, pooling_weights
from eeg.models.pooling import POOLINGS, pool_logits


@pytest.mark.parametrize("name", POOLINGS)
def test_shares_add_up_to_what_the_recording_gains(name: str) -> None:
    rng = np.random.default_rng(0)
    logits, nothing = rng.normal(1, 3, 50), rng.normal(-2, 0.5, 50)
    gained = float(pool_logits(name, logits) - pool_logits(name, nothing))
    assert pooling_weights(name, logits, nothing) @ (logits - nothing) == pytest.approx(gained, rel=0.01)


def test_all_windows_have_the_same_weight_in_a_mean() -> None:
    found = pooling_weights("mean", np.arange(8.0), np.zeros(8))
    np.testing.assert_allclose(found, 1 / 8, rtol=1e-6)


def test_of_the_highest_windows_the_others_have_none() -> None:
    """From equal windows on, the four highest of fifty are the same all along the line."""
    logits = np.arange(50.0)
    found = pooling_weights("top", logits, np.zeros(50))
    np.testing.assert_allclose(found, np.r_[np.zeros(46), np.full(4, 0.25)], atol=0.01)


@pytest.mark.parametrize("name", POOLINGS)
def test_shares_are_the_mean_slope_written_out(name: str) -> None:
    rng = np.random.default_rng(1)
    logits, nothing = rng.normal(1, 2, 14), rng.normal(-1, 0.5, 14)
    slopes = []
    for along in np.linspace(0.00125, 0.99875, 400):
        here, width = nothing + along * (logits - nothing), 1e-6 * np.eye(14)
        slopes.append((pool_logits(name, here + width) - pool_logits(name, here - width)) / 2e-6)
    np.testing.assert_allclose(pooling_weights(name, logits, nothing), np.mean(slopes, 0), atol=0.01)


@pytest.mark.parametrize("aggregation", POOLINGS)
def test_complete_evidence_adds_up_to_the_recordings_logit(detector: Detector, aggregation: str) -> None:
    detector = replace(detector, aggregation=aggregation)
    readout = detector.network[-1][-1]
    nn.init.normal_(readout.weight, std=2, generator=torch.Generator().manual_seed(0))
    x = np.random.default_rng(0).normal(size=(30, 19, 256)).astype(np.float32)
    x *= np.linspace(0.1, 3, 30, dtype=np.float32)[:, None, None]
    nothing = np.zeros_like(x)
    gained = float(detector.score(detector.logits(x)) - detector.score(detector.logits(nothing)))
    logits, none = detector.logits(x), detector.logits(nothing)
    montage = Montage(detector.preprocessing.inputs, 128.0)
    pair = torch.from_numpy(x), torch.from_numpy(nothing)
    evidence = attribute(detector.network, *pair, montage, method="deeplift").double().numpy()
    found = evidence * pooling_weights(aggregation, logits, none)[:, None, None]
    assert found.shape == x.shape
    assert found.sum() == pytest.approx(gained, rel=0.02)
    by_window = contributions(aggregation, logits, none)
    assert by_window.sum() == pytest.approx(gained, rel=0.02)
    np.testing.assert_allclose(found.sum((1, 2)), by_window, atol=0.02 * abs(gained))
