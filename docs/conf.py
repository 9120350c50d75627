"""Settings of the documentation site: `make docs`."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

PACKAGES = ("hebbian", "trainers", "visualizers", "eeg")


def face(package: str) -> list[str]:
    """Return the full names of what ``import package`` offers, from its stub."""
    stub = ROOT / package / "__init__.pyi"
    tree = ast.parse(stub.read_text(encoding="utf-8")) if stub.exists() else ast.Module([], [])
    return [
        f"{package}.{node.module}.{name.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for name in node.names
    ]


project = "hebbian-eeg"
copyright = "The hebbian-eeg authors; research use only"
version = release = installed("hebbian-eeg")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "tables",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "py:obj"
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autosummary_context = {"faces": {package: face(package) for package in PACKAGES}}
python_maximum_signature_line_length = 88
add_module_names = False
numpydoc_show_class_members = False
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "matplotlib_animations": False,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "hebbian-eeg"
html_show_sourcelink = False
html_static_path: list[str] = []
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
