"""Fixtures of the tests of workflows."""

from pathlib import Path

import pytest


@pytest.fixture
def recording(cohort: Path) -> Path:
    """The first recording of the cohort."""
    return sorted(cohort.glob("sub-*/eeg/*_eeg.edf"))[0]
