"""Rules and data of other installed packages are found, as in the code of the documentation page."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch

from hebbian import registry
from tests.helpers import ROOT
from trainers import data
from trainers.errors import DataError
from trainers.provenance import suppliers

PAGE = (ROOT / "docs" / "own_rule.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def install(folder, project, **modules):
    """Write the files of a package and its metadata, which pip makes by the same call when it installs it."""
    (folder / "pyproject.toml").write_text(project)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    code = "from setuptools.build_meta import prepare_metadata_for_build_wheel as make; make('.')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    rule, data, _ = blocks("python")
    install(folder, blocks("toml")[0], my_rules=rule, my_data=data)
    return folder


ODD = """
[project]
name = "odd"
version = "1"
[tool.setuptools]
py-modules = ["my_odd"]
[project.entry-points."hebbian.data"]
odd = "my_odd:give"
"""


def test_the_package_of_the_page_contains_both_modules(package):
    (names,) = package.glob("*.dist-info/top_level.txt")
    assert names.read_text().split() == ["my_data", "my_rules"]


def test_a_rule_takes_twenty_lines():
    assert sum(1 for line in blocks("python")[0].splitlines() if line) <= 20


@pytest.mark.slow
def test_the_script_of_the_page_compares_rules(tmp_path):
    _, data, script = blocks("python")
    (tmp_path / "script.py").write_text(f"{data}\n{script}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Result(") == 6  # three rules, two seeds
    assert "accuracy=None" not in done.stdout


def hebbian(package, *words):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(package), str(ROOT)))}
    command = [sys.executable, "-W", "error", "-m", "trainers", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=package, env=environment, check=False)


def test_an_installed_rule_is_described_like_any_other(package):
    shown = hebbian(package, "rules", "rectified-oja")
    assert "relu(u - theta)" in shown.stdout, shown.stderr


@pytest.mark.slow
def test_an_installed_rule_learns_installed_data_like_any_other(package):
    (package / "rates.toml").write_text(blocks("toml")[1])
    out = package / "out"
    words = (
        "train --rule rectified-oja --data two-moons --hidden 8 --no-controls --settings rates.toml --out out"
    )
    done = hebbian(package, *words.split())
    assert done.returncode == 0, done.stderr
    run = json.loads((out / "run.json").read_text())
    assert run["versions"]["my-rules"] == "0.1"
    noted = run["recipes"]["rectified-oja"]
    assert noted["recipe"]["settings"] == {"theta": 0.1}
    assert noted["recipe"]["learn"]["optimizer"]["lr"] == 0.003
    accuracy = {run["rule"]: run["accuracy"] for run in json.loads((out / "results.json").read_text())}
    assert accuracy["rectified-oja"] > 0.7  # chance is a half


def test_the_rule_of_the_page_is_equal_to_the_built_in_one(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(3, 2))
    x = torch.randn(7, 4)
    rule = registry.build("rectified-oja", model, None, example=x, classes=2, theta=0.1)
    rule(x).backward()
    w = model[0].weight.detach()
    y = (x @ w.T - 0.1).clamp_min(0)
    expected = sum(torch.outer(y[n], x[n]) - y[n].square()[:, None] * w for n in range(7)) / 7
    torch.testing.assert_close(-model[0].weight.grad, expected)


def test_names_that_are_taken_and_wrong_things_are_refused(tmp_path, monkeypatch):
    install(tmp_path, ODD + 'mnist = "my_odd:give"', my_odd="give = dict.fromkeys")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="a data set named 'mnist' exists already"):
        data.data_sets()


def test_data_of_a_package_get_their_folder_where_there_is_one(tmp_path, monkeypatch):
    install(
        tmp_path,
        ODD.replace("my_odd", "my_data"),
        my_data="def give(folder):\n    raise ValueError(folder)\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HEBBIAN_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="None"):
        data.load_data("odd")
    (tmp_path / "odd").mkdir()
    for folder in (None, tmp_path / "odd"):
        with pytest.raises(ValueError, match=re.escape(str(tmp_path / "odd"))):
            data.load_data("odd", folder)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def give(folder):\n    return [folder]\n", "must return a trainers.Split, got list"),
        ("def give(folder):\n    return 1, 2\n", "must return a trainers.Split, got tuple"),
        ("def give(folder):\n    return folder.name\n", "AttributeError: 'NoneType' object has no attribute"),
        ("take = 1", "AttributeError: module 'my_odd' has no attribute 'give'"),
        (
            "import torch, trainers\n"
            "def give(folder):\n"
            "    x, y = torch.zeros(2, 3), torch.zeros(2).numpy()\n"
            "    return trainers.Split(x, y, x, y)\n",
            "TypeError: y_train is a ndarray, expected a tensor",
        ),
    ],
)
def test_data_of_a_package_that_cannot_be_used_are_one_line(code, message, tmp_path, monkeypatch):
    install(tmp_path, ODD, my_odd=code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_odd", raising=False)
    assert "odd" in data.data_sets()
    with pytest.raises(DataError, match=f"'my_odd:give' of hebbian.data.* {re.escape(message)}"):
        data.load_data("odd")


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="no data set named 'faces'; known: digits, mnist"):
        data.load_data("faces")


@pytest.mark.slow
def test_eeg_registers_balanced_windows_of_separate_subjects():
    split = data.load_data("eeg-discharges")
    for x, y in ((split.x_train, split.y_train), (split.x_test, split.y_test)):
        assert x.shape[1:] == (19, 256)
        assert x.dtype == torch.float32
        assert torch.bincount(y).tolist() == [len(y) / 2, len(y) / 2]
    shared = {tuple(w) for w in split.x_train[:, 0, :5].tolist()}
    assert not shared & {tuple(w) for w in split.x_test[:, 0, :5].tolist()}


def test_what_data_of_our_own_depend_on_is_named():
    found = suppliers([], "eeg-discharges")
    assert {name: found[name] for name in ("hebbian-eeg", "mne", "scipy")} == {
        name: version(name) for name in ("hebbian-eeg", "mne", "scipy")
    }
    assert "optuna" not in found  # which only an extra requires
    assert suppliers(["oja"], "digits") == {}
