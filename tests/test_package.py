"""The rooms: which may import which, and what importing their faces costs."""

import ast
import configparser
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.helpers import ROOT

ROOMS = ["eeg", "trainers", "visualizers", "hebbian"]  # each may import whatever stands to its right
FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    forbidden = set(ROOMS[: ROOMS.index(room)])
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [node.module]
        for name in names:
            assert name.split(".")[0] not in forbidden, f"{path}:{node.lineno}: {room} may not import {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_is_ours_and_loads_neither_torch_nor_mne(room):
    code = (
        f"import sys, {room}; print({room}.__file__); "
        "print([m for m in ('torch', 'mne', 'matplotlib', 'captum') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    file, heavy = out.splitlines()
    assert Path(file) == ROOT / room / "__init__.py"
    assert heavy == "[]"


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_face_can_be_had(room):
    code = f"import {room}; [getattr({room}, n) for n in getattr({room}, '__all__', [])]"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_package_and_its_data_are_installed():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")}
    listed = settings["options"]["packages"].split()
    assert sorted(listed) == sorted(".".join(f.relative_to(ROOT).parts) for f in folders)
    patterns = ["*.py", *settings["options.package_data"]["*"].split(", ")]
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file()):
        if "__pycache__" not in path.parts:
            owner = next(parent for parent in path.parents if parent in folders)
            name = str(path.relative_to(owner))
            assert any(fnmatch(name, pattern) for pattern in patterns), f"{path} is in no wheel"
