"""The packages: allowed imports between them, and the cost of importing them."""

import ast
import configparser
import importlib
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGES = ["eeg", "trainers", "visualizers", "hebbian"]  # each may import those to its right
ROOMS = [  # of eeg, likewise
    "cli",
    "workflows",
    "reporting",
    "evaluation",
    "explanation",
    "training",
    "detector",
    "models",
    "preprocessing",
    "datasets",
    "simulation",
    "io",
]
LEAVES = {"labels", "disclaimers", "large_arrays", "threads"}  # of eeg; they import no room
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path):
    """Yield the line and the absolute name of every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    forbidden = set(PACKAGES[: PACKAGES.index(package)])
    for line, name in imports(path):
        assert name.split(".")[0] not in forbidden, f"{path}:{line}: {package} may not import {name}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "eeg").glob("*/**/*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_room_of_eeg_imports_only_rooms_to_its_right(path):
    room = path.relative_to(ROOT / "eeg").parts[0]
    allowed = {*ROOMS[ROOMS.index(room) :], *LEAVES}
    for line, name in imports(path):
        package, _, rest = name.partition(".")
        if package == "eeg":
            assert rest.split(".")[0] in allowed, f"{path}:{line}: {room} may not import {name}"


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_of_eeg_imports_no_room(leaf):
    path = ROOT / "eeg" / f"{leaf}.py"
    assert not [name for _, name in imports(path) if name.split(".")[0] == "eeg"]


def test_every_module_of_eeg_is_in_a_room_or_a_leaf():
    inside = {path.name.removesuffix(".py") for path in (ROOT / "eeg").iterdir() if path.suffix != ".pyi"}
    assert inside - {"__init__", "__main__", "__pycache__", "py.typed"} == {*ROOMS, *LEAVES}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_face_is_ours_and_loads_neither_torch_nor_mne(package):
    code = (
        f"import sys, {package}; print({package}.__file__); "
        "print([m for m in ('torch', 'mne', 'matplotlib', 'captum') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    file, heavy = out.splitlines()
    assert Path(file) == ROOT / package / "__init__.py"
    assert heavy == "[]"


def test_detection_loads_no_library_for_what_it_does_not_do():
    code = """
import sys
import torch
import eeg.workflows.detect_recordings
from eeg.explanation.attribution import Montage, attribute
from eeg.models.registry import build_model
from visualizers import score_distribution

x = torch.zeros(1, 2, 256)
attribute(build_model("tvgg-gap", 2, 256).eval(), x, x, Montage(["Fz", "Cz"], 128.0))
score_distribution(x.numpy().ravel(), x.numpy().ravel(), 0.0).svg()
print(sorted({"matplotlib", "captum", "sklearn"} & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_every_name_of_a_face_can_be_had():
    """Each package is imported as if it were the first of ours; other libraries stay, some load only once."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in PACKAGES}
    try:
        for package in PACKAGES:
            forget_ours()
            face = importlib.import_module(package)
            for name in getattr(face, "__all__", []):
                getattr(face, name)
    finally:
        forget_ours()
        sys.modules.update(before)


def forget_ours():
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[name]


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


def public_names(path):
    """Yield the public names that a module defines at its top level."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_is_defined_in_one_module():
    modules = {}
    for path in FILES:
        for name in public_names(path):
            modules.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    twice = {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1}
    twice.pop("main", None)  # the entry points of the two commands
    assert not twice
