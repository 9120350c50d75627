"""Amplitude statistics against their loops."""

import numpy as np
import pytest

from eeg.models import amplitude
from eeg.preprocessing.windows import Windows


def test_amplitude_statistics_are_their_loops() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 50)).astype(np.float32)
    slow: dict[str, list[float]] = {name: [] for name in amplitude.AMPLITUDE_STATISTICS}
    for window in x.astype(float):
        channels = []
        for c in window:
            steps = sum(abs(c[i + 1] - c[i]) for i in range(len(c) - 1))
            second, fourth = (sum((v - c.mean()) ** k for v in c) / len(c) for k in (2, 4))
            channels.append((steps, fourth / second**2 - 3, max(c) - min(c)))
        for name, values in zip(
            ("line length", "kurtosis", "peak-to-peak"), zip(*channels, strict=True), strict=True
        ):
            slow[name].append(max(values))
    for name, statistic in amplitude.AMPLITUDE_STATISTICS.items():
        np.testing.assert_allclose(statistic(x), slow[name], rtol=1e-4)
    found = amplitude.amplitude_scores(Windows(x, np.arange(4.0), 1.0, 1, None))
    assert found == pytest.approx({name: max(values) for name, values in slow.items()}, rel=1e-4)
