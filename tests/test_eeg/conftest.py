"""Fixtures of the tests of `eeg`."""

import pytest

from eeg.reporting import figures


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports and boards: they take most of the time of a detection."""
    for name in vars(figures).keys() - {"draw_all"}:
        if name.startswith("draw_"):
            monkeypatch.setattr(figures, name, lambda _: iter(()))
    monkeypatch.setattr("eeg.reporting.tensorboard.draw_performance", lambda *_: {})
