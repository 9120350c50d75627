"""The demo replaces its own output and nothing else."""

from pathlib import Path

import pytest

from eeg.workflows.demo import run_demo
from trainers.errors import DataError


def test_a_training_run_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "run" / "model.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"weeks of work")
    with pytest.raises(DataError, match="not written by a demo"):
        run_demo(tmp_path, 0, print)
    assert mine.read_bytes() == b"weeks of work"
