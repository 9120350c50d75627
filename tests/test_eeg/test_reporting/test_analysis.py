"""The parts of an analysis other than segments, for a network with a known output."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eeg.detector.calibration import Calibration, fit_calibration, score_interval
from eeg.detector.conformal import Conformal
from eeg.detector.detector import Detector
from eeg.explanation.attribution import Montage
from eeg.explanation.baselines import zero
from eeg.explanation.explain import SpanRemoval
from eeg.explanation.faithfulness import highest_windows, removal_curves
from eeg.preprocessing.pipeline import Preprocessing

CHANNELS = ("Fp1", "T7", "Cz", "O2")
WEIGHTS = torch.tensor([0.0, 2.0, -1.0, 0.5])


class Weighed(nn.Module):
    """The logit is the weighted sum over channels and time."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.sum(2) @ WEIGHTS)[:, None]


@pytest.fixture
def detector() -> Detector:
    settings = Preprocessing(CHANNELS, sfreq=128.0)
    return Detector(
        network=Weighed(),
        model="own",
        preprocessing=settings,
        window=1.0,
        labels="events",
        aggregation="top",
        calibration=Calibration(1.0, 0.0, 0.5, 20),
    )


@pytest.fixture
def windows() -> np.ndarray:
    return 0.01 * np.random.default_rng(0).standard_normal((12, 4, 128)).astype(np.float32)


def test_a_channels_effect_is_what_its_part_of_the_segment_adds(
    detector: Detector, windows: np.ndarray
) -> None:
    nothing, montage = np.zeros_like(windows), Montage(CHANNELS, 128.0)
    removal = SpanRemoval(detector, windows, detector.logits(windows), batch=64)
    signal = windows.swapaxes(0, 1).reshape(4, -1)
    spans = (slice(64, 192), slice(416, 448))
    expected = [WEIGHTS.numpy() * signal[:, span].sum(1) for span in spans]
    found = [removal.channel_effects(nothing, (span.start, span.stop), montage) for span in spans]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_removal_runs_from_the_windows_to_nothing_and_back(detector: Detector, windows: np.ndarray) -> None:
    logits = detector.logits(windows)
    chosen = windows[highest_windows(logits)]
    evidence = (chosen * WEIGHTS.numpy()[:, None]).sum(1, keepdims=True)
    found = removal_curves(detector.network, chosen, evidence, Montage(CHANNELS, 128.0), zero)
    highest = np.sort(logits)[-10:]
    full = float(np.mean(1 / (1 + np.exp(-highest))))
    for falling, rising in (
        (found.deletion, found.insertion),
        (found.deletion_random, found.insertion_random),
    ):
        assert falling.shape == rising.shape == (9,), "a second has eight eighths"
        assert (falling[0], falling[-1]) == (pytest.approx(full, abs=1e-5), pytest.approx(0.5))
        assert (rising[0], rising[-1]) == (pytest.approx(0.5), pytest.approx(full, abs=1e-5))
    assert (found.deletion <= found.deletion_random + 1e-6).all(), "nothing falls faster where logits add up"
    assert (found.insertion >= found.insertion_random - 1e-6).all()


def test_the_interval_of_a_score_holds_it_and_shrinks_with_more_subjects() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (20, 500):
        labels = np.repeat([1, 0], n)
        found = fit_calibration(rng.normal(labels * 1.5), labels)
        low, high = score_interval(found, 0.75)
        assert 0 < low < 1 / (1 + np.exp(-float(found.logit(0.75)))) < high < 1
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 5, rel=0.4), "as one over the root of n"


def test_an_interval_needs_the_subjects() -> None:
    with pytest.raises(ValueError, match="a"):
        score_interval(Calibration(1.0, 0.0, 0.5, 20, Conformal()), 0.0)
