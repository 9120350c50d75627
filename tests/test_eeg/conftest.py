"""Fixtures of the tests of `eeg`."""

import pytest


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports and boards: they take most of the time of a detection."""
    from tests.test_eeg.helpers import leave_out_figures

    leave_out_figures(monkeypatch)
    monkeypatch.setattr("eeg.reporting.tensorboard.draw_performance", lambda *_: {})
