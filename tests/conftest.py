"""Fixtures: a small simulated cohort and a small detector.

The process that distributes the tests imports this file as well: fixtures import what they make.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from eeg.detector.detector import Detector

# A slow machine is not a failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# PyTorch's own also records the stack, for three kinds of device that no test uses: longer than many tests.
torch.manual_seed = torch.default_generator.manual_seed
threads = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))  # also of programs that tests start
torch.set_num_threads(threads)
threadpool_limits(threads)  # of linear algebra in NumPy and SciPy: as many tests run as there are cores


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed PyTorch, so that the outcome of a test does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight subjects of half a minute, four of them with discharges."""
    from eeg.simulation.write_bids import write_cohort

    return write_cohort(
        tmp_path_factory.mktemp("cohort") / "c", subjects=8, minutes=0.5, seed=3, progress=False
    )


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Draw 10 resamples, not 1000, for intervals of metrics: for modules whose tests refer to none."""
    from tests.test_eeg.helpers import drawing_few_resamples

    with drawing_few_resamples():
        yield


@pytest.fixture
def detector() -> Detector:
    """An untrained detector of its own for each test."""
    from tests.test_eeg.helpers import untrained_detector

    return untrained_detector()
