"""The fast filter is verified by a convolution of the mirrored signal in double precision."""

from fractions import Fraction

import mne
import numpy as np
import pytest
from hypothesis import given, strategies as st

from eeg.preprocessing.fir import design, filter_signals


def convolved(volts: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve each signal, mirrored at a point at both ends and zero where this ends."""
    reach = len(response) // 2
    inside = min(reach, volts.shape[1] - 1)
    wide = np.pad(volts, ((0, 0), (inside, inside)), "reflect", reflect_type="odd")
    wide = np.pad(wide, ((0, 0), (reach - inside, reach - inside)))
    return np.stack([np.convolve(row, response, "valid") for row in wide])


@given(st.integers(1, 40), st.integers(2, 900), st.integers(0, 99))
def test_a_filter_is_a_convolution(reach: int, samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    half, volts = rng.standard_normal(reach), rng.standard_normal((2, samples))
    response = np.concatenate([half, [1.0], half[::-1]])
    got = filter_signals(volts, response)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, convolved(volts, response), atol=1e-6 * np.abs(response).sum())


@pytest.mark.parametrize("shortest", [1, 1 << 13])
def test_blocks_of_transforms_are_seamless(shortest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eeg.preprocessing.fir._SHORTEST", shortest)
    volts = np.cumsum(np.random.default_rng(0).standard_normal((3, 20_000)), axis=1)
    response = design(256, 0.5, 45, h_trans_bandwidth=5)
    np.testing.assert_allclose(
        filter_signals(volts, response), convolved(volts, response), atol=1e-6 * np.ptp(volts)
    )


@pytest.mark.parametrize("ratio", [Fraction(1, 2), Fraction(64, 125), Fraction(2, 3), Fraction(5, 4)])
def test_samples_of_the_new_rate_are_those_between_of_the_old_one(ratio: Fraction) -> None:
    """Of a sum of sines below the new Nyquist frequency, at the rate of a hundred samples a second."""
    old, new = np.arange(4000), np.arange(round(4000 * ratio)) / float(ratio)
    sines = [(0.03, 0.4), (0.11, 1.0), (0.2, 2.0)]
    before, after = (sum(np.sin(2 * np.pi * f * at + p) for f, p in sines) for at in (old, new))
    got = filter_signals(before[None], design(1.0, None, 0.225, h_trans_bandwidth=0.02), ratio)[0]
    inner = slice(300, -300)
    np.testing.assert_allclose(got[inner], after[inner], atol=0.01)  # the ripple of a Hamming window


@pytest.mark.parametrize("phase", ["zero", "zero-double"])
@pytest.mark.parametrize("samples", [300, 5000])
def test_it_filters_as_mne_does(phase: str, samples: int) -> None:
    volts = np.random.default_rng(0).standard_normal((2, samples))
    settings = {"phase": phase, "fir_design": "firwin2", "fir_window": "hann", "filter_length": 801}
    expected = mne.filter.filter_data(volts, 100, 2, 20, **settings, verbose="error")
    np.testing.assert_allclose(filter_signals(volts, design(100, 2, 20, **settings)), expected, atol=2e-6)
