"""TensorBoard files, read back by TensorBoard's own reader."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from eeg.datasets import Entry
from eeg.detector.calibration import Calibration
from eeg.models.embedding import find_readout
from eeg.preprocessing.windows import Windows
from eeg.reporting.tensorboard import embed_windows, write_training
from eeg.training.cross_validation import Scored
from tests.helpers import ROOT

NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 1)).eval()


def recording(number: int) -> Scored:
    rng = np.random.default_rng(number)
    data = rng.standard_normal((5, 2, 32)).astype(np.float32)
    onset = np.arange(5.0)
    events = (np.array([1.25]), np.array([0.5])) if number % 2 else None
    entry = Entry(Path(f"Mueller-{number}.edf"), f"Mueller {number}", number % 2, site="north")
    windows = Windows(data, onset, 1.0, number % 2, events)
    return Scored(entry, "held out", windows, rng.standard_normal(5), "mean")


SCORED = [recording(number) for number in range(6)]


def test_points_are_the_input_of_the_readout() -> None:
    points, rows = embed_windows(NETWORK, SCORED)
    x = torch.from_numpy(np.concatenate([s.windows.data for s in SCORED]))
    last = find_readout(NETWORK)
    assert last is NETWORK[3]
    torch.testing.assert_close(last(points), NETWORK(x))
    assert rows[0] == ["control", "unknown", "1", "1"], "sites have numbers"
    assert [row[1] for row in rows[5:10]] == ["no", "yes", "no", "no", "no"]
    assert {row[2] for row in rows} == {"1", "2", "3", "4", "5", "6"}


def test_points_are_spread_over_all_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eeg.reporting.tensorboard._POINTS", 6)
    points, rows = embed_windows(NETWORK, SCORED)
    assert points.shape == (6, 3)
    assert {row[2] for row in rows} == {"1", "2", "3", "4", "5", "6"}


def test_a_training_has_its_curves_and_names_no_one(tmp_path: Path) -> None:
    fitted = {"held out": Calibration(1.0, 0.0, 0.5, 6)}
    write_training(NETWORK, {"held out": (SCORED, fitted)}, {"windows": SCORED}, tmp_path)
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["images"]
    assert sorted(tags) == [
        "held out/ROC and precision-recall",
        "held out/reliability diagram",
        "held out/risk-coverage",
    ]
    (metadata,) = tmp_path.rglob("metadata.tsv")
    assert metadata.read_text().splitlines()[0] == "group\tdischarge\tsubject\tsite"
    assert len(metadata.read_text().splitlines()) == 31
    assert all(b"Mueller" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


TENSORFLOW = """
import glob, os, types

def open_file(name, mode="r"):
    return open(name, mode)

gfile = types.SimpleNamespace(
    join=os.path.join, exists=os.path.exists, isdir=os.path.isdir, makedirs=os.makedirs, glob=glob.glob,
    GFile=open_file,
)
io = types.SimpleNamespace(gfile=gfile)
compat = types.SimpleNamespace(as_bytes=lambda text: text.encode() if isinstance(text, str) else text)
"""
"""What TensorBoard takes of a real TensorFlow where one is installed: its files know no `get_filesystem`."""


@pytest.mark.slow
def test_windows_are_embedded_where_tensorflow_is_installed_too(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    program = (
        "import tensorboard.compat, torch\n"
        "assert not hasattr(tensorboard.compat.tf.io.gfile, 'get_filesystem')\n"
        "from pathlib import Path\n"
        "from tests.test_eeg.test_reporting.test_tensorboard import NETWORK, SCORED\n"
        "from eeg.reporting.tensorboard import write_training\n"
        f"write_training(NETWORK, {{}}, {{'windows': SCORED}}, Path({str(tmp_path / 'out')!r}))\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (metadata,) = tmp_path.rglob("metadata.tsv")
    assert len(metadata.read_text().splitlines()) == 31
