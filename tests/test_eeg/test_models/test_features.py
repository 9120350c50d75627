"""Feature models against a slow spectrum, and on recordings that differ by one thing only."""

from typing import Any

import numpy as np
import pytest
from scipy.signal import csd
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from eeg.models.features import FEATURES, FeatureModel, band_covariances, band_power, covariances_at_rest

SFREQ = 128.0


def noise(n: int, channels: int = 4, times: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, channels, times)).astype(np.float32)


def cohort(kind: str, subjects: int = 40, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Noise; patients (every second one) have more power at 11 Hz, or two correlated channels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(subjects) % 2
    recordings = []
    for label in labels:
        x = rng.normal(size=(6, 4, 256))
        if kind == "power":
            phase = rng.uniform(0, 2 * np.pi, (6, 4, 1))
            x += 0.7 * label * np.sin(2 * np.pi * 11.2 * np.arange(256) / SFREQ + phase)
        if kind == "coupling" and label:
            x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]  # of the same power as before
        recordings.append(x.astype(np.float32))
    return recordings, labels


def auc(name: str, kind: str) -> float:
    recordings, labels = cohort(kind)
    model = FEATURES[name](SFREQ, 0).fit(recordings[:20], labels[:20])
    return float(roc_auc_score(labels[20:], [model(x) for x in recordings[20:]]))


# --- features


@pytest.mark.parametrize("band", [(1.0, 4.0), (8.0, 13.0), (10.5, 11.0)])
def test_covariances_are_scipys_cross_spectra(band: tuple[float, float]) -> None:
    x = noise(3)
    found = band_covariances(x, SFREQ, band)
    for i in range(4):
        for j in range(4):
            frequency, density = csd(x[:, i], x[:, j], SFREQ, "hann", nperseg=256, detrend=False)
            inside = (frequency >= band[0]) & (frequency < band[1])
            power = density[:, inside].real.mean(-1) * SFREQ * (np.hanning(257)[:-1] ** 2).sum() / 2
            np.testing.assert_allclose(found[:, i, j], power, rtol=1e-4, atol=1e-4)


def test_power_is_that_of_the_oscillating_channel() -> None:
    x = np.zeros((1, 3, 256), np.float32)
    x[0, 1] = 5 * np.sin(2 * np.pi * 10 * np.arange(256) / SFREQ)
    power = band_power(x, SFREQ, [(1, 4), (8, 13)]).reshape(2, 3)
    assert power.argmax() == 4  # the second band of the second channel
    twice = band_power(2 * x, SFREQ, [(8, 13)])[0, 1]
    assert twice - power[1, 1] == pytest.approx(np.log(4))


@pytest.mark.parametrize("name", ["svm", "rf", "tangent-bands"])
def test_windows_that_resolve_no_band_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"windows of 0\.25 s resolve no frequency from .* or more"):
        FEATURES[name](SFREQ, 0).fit([noise(3, times=32)] * 4, np.array([0, 1, 0, 1]))


def test_movement_in_a_few_windows_has_no_effect() -> None:
    x = noise(10)
    calm = x[np.argsort(np.trace(band_covariances(x, SFREQ, (8, 13)), axis1=1, axis2=2))]
    moved = calm.copy()
    moved[8:] *= 100
    np.testing.assert_allclose(
        covariances_at_rest(moved, SFREQ, [(8, 13)]), covariances_at_rest(calm, SFREQ, [(8, 13)])
    )


def test_covariances_of_an_average_reference_are_not_singular() -> None:
    x = noise(10)
    found = covariances_at_rest(x - x.mean(1, keepdims=True), SFREQ, [(1, 4), (8, 13)])
    assert found.shape == (1, 2, 4, 4)
    assert (np.linalg.eigvalsh(found) > 1e-3 * np.trace(found, axis1=-2, axis2=-1)[..., None] / 4).all()


# --- models


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_power_separates_the_groups(name: str) -> None:
    assert auc(name, "power") > 0.9


@pytest.mark.parametrize("name", ["tangent", "tangent-bands"])
def test_coupling_separates_the_groups_in_tangent_space(name: str) -> None:
    assert auc(name, "coupling") > 0.9


@pytest.mark.parametrize("name", ["svm", "rf"])
def test_coupling_does_not_separate_them_by_power(name: str) -> None:
    assert auc(name, "coupling") < 0.85


@pytest.mark.parametrize("name", ["tangent", "tangent-bands"])
def test_tangent_space_is_invariant_to_gain_and_order_of_channels(name: str) -> None:
    recordings, labels = cohort("power")
    permuted = [3 * x[:, [2, 0, 3, 1]] for x in recordings]
    one = FEATURES[name](SFREQ, 0).fit(recordings[:20], labels[:20])
    other = FEATURES[name](SFREQ, 1).fit(permuted[:20], labels[:20])
    np.testing.assert_allclose(
        [one(x) for x in recordings[20:]], [other(x) for x in permuted[20:]], rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("name", ["svm", pytest.param("rf", marks=pytest.mark.slow)])
def test_scores_depend_on_the_seed_only(name: str) -> None:
    recordings, labels = cohort("power", 12)
    scores = [FEATURES[name](SFREQ, seed).fit(recordings, labels)(recordings[0]) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]


class Spy(BaseEstimator):
    """A classifier that records the weights of its samples."""

    weights_: np.ndarray

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> "Spy":
        self.weights_ = sample_weight
        return self

    def decision_function(self, x: np.ndarray) -> Any:
        return x.mean((1, 2))


def test_a_long_recording_weighs_as_much_as_a_short_one() -> None:
    spy = Spy()
    model = FeatureModel(lambda x: x, make_pipeline(spy)).fit([noise(2), noise(6)], np.array([0, 1]))
    assert spy.weights_[:2].sum() == pytest.approx(spy.weights_[2:].sum())
    assert spy.weights_.mean() == pytest.approx(1)
    assert model(noise(3)) == pytest.approx(noise(3).mean())


def test_a_certain_forest_has_a_finite_score() -> None:
    recordings, labels = cohort("power", 40)
    model = FEATURES["rf"](SFREQ, 0).fit(
        [x * (1 + 99 * y) for x, y in zip(recordings, labels, strict=True)], labels
    )
    assert np.isfinite([model(1e6 * recordings[0]), model(1e-6 * recordings[0])]).all()
