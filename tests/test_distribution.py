"""The source distribution and the wheel: complete, and working outside the repository."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGES = ["eeg", "trainers", "visualizers", "hebbian"]


def run(*words, folder, **environment):
    """Run Python in a folder; return what it printed."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", **environment}
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def tracked():
    """Return the files of the repository, without those that only it needs."""
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode:
        pytest.skip("not a git checkout")
    return {name for name in out.stdout.splitlines() if not name.startswith(".")}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build a source distribution of what git tracks, and a wheel from it."""
    folder = tmp_path_factory.mktemp("distributions")
    source = folder / "source"
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = "from setuptools.build_meta import build_sdist as f; f(r'{}')"
    run("-c", build.format(folder), folder=source)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    run("-c", build.replace("sdist", "wheel").format(folder), folder=folder / archive.name[: -len(".tar.gz")])
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


@pytest.mark.slow
def test_the_source_distribution_holds_every_file(distributions):
    with tarfile.open(distributions[0]) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert tracked() - names == set()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in tracked() if name.split("/")[0] in PACKAGES}


@pytest.mark.slow
def test_the_wheel_works_outside_the_repository(distributions, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    run("-m", "pip", "install", "-q", "--no-deps", "--target", site, distributions[1], folder=work)
    places = f"import {', '.join(PACKAGES)}; print(*(p.__file__ for p in ({', '.join(PACKAGES)})), sep='\\n')"
    out = run("-c", places, folder=work, PYTHONPATH=str(site))
    assert [Path(line).parent.parent for line in out.split()] == [site] * len(PACKAGES)
    assert {path.name for path in (site / "bin").iterdir()} >= {"eeg", "hebbian"}
    run(
        site / "bin/eeg",
        "simulate",
        "cohort",
        "--subjects",
        4,
        "--minutes",
        1,
        folder=work,
        PYTHONPATH=str(site),
    )
    recording = next((work / "cohort").rglob("*.edf"))
    assert "19" in run(site / "bin/eeg", "inspect", recording, folder=work, PYTHONPATH=str(site))
    train = ("train", "--rule", "oja", "--data", "digits", "--epochs", 1, "--out", "run")
    run(site / "bin/hebbian", *train, folder=work, PYTHONPATH=str(site))
    assert (work / "run" / "run.json").is_file()
