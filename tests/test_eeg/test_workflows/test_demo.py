"""The demo replaces what it made itself, and nothing else."""

from pathlib import Path

import pytest

from eeg.workflows.demo import run
from trainers.errors import DataError


def test_a_training_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "run" / "model.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"weeks of work")
    with pytest.raises(DataError, match="is of no demo"):
        run(tmp_path, 0, print)
    assert mine.read_bytes() == b"weeks of work"
