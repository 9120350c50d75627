"""The code of the README, the guides and the examples runs unchanged."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest

from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from tests.helpers import ROOT
from tests.test_eeg.helpers import clean_raw


def test_the_code_of_the_readme_on_rules_runs():
    block = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(block, names)  # this repository's README
    assert names["scores"].shape == (64, 10)
    for line in block.splitlines():  # the lines that swap the rule run as well
        if line.startswith("# rule = "):
            exec(line[2:], names)


def test_the_code_of_the_guide_to_local_learning_runs():
    page = (ROOT / "docs" / "guide_local_learning.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["scores"].shape == (64, 10)


def test_the_code_of_the_page_on_tensorboard_runs(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "tensorboard.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], {})
    assert any((tmp_path / "logs").iterdir())


def test_the_calls_of_mne_in_the_docs_give_the_same_to_a_hundredth_of_a_microvolt():
    page = (ROOT / "docs" / "preprocessing.md").read_text()
    calls = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "raw" in block)
    volts = np.random.default_rng(0).normal(0, 2e-5, (19, 30 * 256))
    raw = mne.io.RawArray(volts, mne.create_info(TEN_TWENTY[::-1], 256, "eeg"), verbose="error")
    ours = clean_raw(raw, Preprocessing(TEN_TWENTY)).get_data()
    with mne.use_log_level("error"):
        exec(calls, {"raw": raw, "channels": list(TEN_TWENTY)})
    assert np.sqrt(np.mean((raw.get_data() - ours) ** 2)) < 1e-8


def test_every_file_that_the_readme_names_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_the_commands_of_the_readme_exist():
    for command, verb in re.findall(r"\$ (eeg|hebbian) (\w+)", (ROOT / "README.md").read_text()):
        program = Path(sys.executable).with_name(command)
        subprocess.run([program, verb, "--help"], check=True, capture_output=True)


def test_every_page_gets_its_tables(few_resamples, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "docs")
    from tables import TABLES

    used = set()
    for page in (ROOT / "docs").glob("*.md"):
        for name, argument in re.findall(r"```{results} ([\w-]+) ?(\w*)\n", page.read_text()):
            used.add(name)
            assert TABLES[name](*filter(None, [argument])).strip(), f"{page.name}: {name} is empty"
    assert used == set(TABLES)


@pytest.fixture
def cifar(tmp_path):
    """A folder with 100 + 20 images of noise in the form of CIFAR-10."""
    g = np.random.default_rng(0)
    parts = {"train": 100, "test": 20}
    pixels = {f"x_{part}": g.integers(0, 256, (n, 32, 32, 3), np.uint8) for part, n in parts.items()}
    labels = {f"y_{part}": np.arange(n, dtype=np.uint8) % 10 for part, n in parts.items()}
    np.savez(tmp_path / "cifar10.npz", **pixels, **labels)
    return tmp_path


@pytest.mark.slow  # the gallery's scripts also run in `make docs`
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs(path, cifar):
    arguments = ["--small", "--data", cifar] if path.name == "softhebb_cifar10.py" else []
    done = subprocess.run(
        [sys.executable, "-W", "error", path, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "agg"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
