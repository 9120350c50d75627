"""Fixtures: a small simulated cohort and a small detector."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from eeg.detector.calibration import Calibration
from eeg.detector.conformal import Conformal
from eeg.detector.detector import Detector
from eeg.detector.provenance import Provenance
from eeg.evaluation import metrics
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.registry import build_model
from eeg.preprocessing.pipeline import Preprocessing
from eeg.simulation.write_bids import write_cohort

# A slow machine is not a failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# PyTorch's own also records the stack, for three kinds of device that no test uses: longer than many tests.
torch.manual_seed = torch.default_generator.manual_seed
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed PyTorch, so that the outcome of a test does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight subjects of half a minute, four of them with discharges."""
    return write_cohort(
        tmp_path_factory.mktemp("cohort") / "c", subjects=8, minutes=0.5, seed=3, progress=False
    )


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Draw 10 resamples, not 1000, for intervals of metrics: for modules whose tests refer to none."""
    few = partial(metrics.bootstrap_interval, resamples=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "bootstrap_interval", lambda *data, seed, resamples: few(*data, seed=seed))
        yield


@pytest.fixture
def detector() -> Detector:
    """An untrained t-VGG GAP of windows of 2 s, with all other parts of a detector."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model("tvgg-gap", len(TEN_TWENTY), 256).eval()
    return Detector(
        network=network,
        model="tvgg-gap",
        preprocessing=Preprocessing(TEN_TWENTY),
        window=2.0,
        labels="events",
        aggregation="top",
        calibration=Calibration(1.5, -0.25, 0.4, 20, Conformal(tuple(range(8)), tuple(range(-12, 0)))),
        training=Provenance("a cohort", simulated=True, subjects=20, rule="oja"),
    )
