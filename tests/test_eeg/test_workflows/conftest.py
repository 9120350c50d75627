"""Fixtures of the tests of workflows."""

from pathlib import Path

import pytest

from eeg.simulation.write_bids import write_cohort


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of one simulated subject."""
    folder = tmp_path_factory.mktemp("recording") / "c"
    write_cohort(folder, subjects=2, minutes=1, seed=3, progress=False)
    return sorted(folder.glob("sub-*/eeg/*_eeg.edf"))[0]
