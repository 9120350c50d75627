"""Settings of the documentation site: `make docs`."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import version as installed
from pathlib import Path
from types import FunctionType, GenericAlias

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "benchmarks")]

from docutils import nodes  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.util.docutils import SphinxDirective  # noqa: E402
from stored import RESULTS  # noqa: E402
from tables import TABLES  # noqa: E402

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
copyright = "The hebbian-eeg authors; research use only"  # noqa: A001
version = release = installed("hebbian-eeg")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
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
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": (),
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "matplotlib_animations": False,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "hebbian-eeg"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {page: [] for page in ("rules", "api", "architecture", "contributing", "changelog")}
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 8,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}


class Results(SphinxDirective):
    """``results NAME [ARGUMENT]``: the Markdown that a function of `tables.TABLES` returns."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse it in place of the directive."""
        name, *arguments = self.arguments
        if name not in TABLES:
            raise self.error(f"no table {name!r}; expected one of {', '.join(TABLES)}")
        for path in RESULTS.rglob("*.json*"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(
            TABLES[name](*arguments).replace(" ± ", "\u00a0±\u00a0"), allow_section_headings=True
        )


def skip(app: Sphinx, what: str, name: str, member: object, *_: object) -> bool | None:
    """Leave out aliases of tuple types, which autodoc takes for classes, and functions of other packages."""
    foreign = isinstance(member, FunctionType) and member.__module__.partition(".")[0] not in PACKAGES
    return True if foreign or type(member) is GenericAlias else None


def setup(app: Sphinx) -> None:
    """Register the directive and the filter of members."""
    app.add_directive("results", Results)
    app.connect("autodoc-skip-member", skip)
