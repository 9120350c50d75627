"""The page of rules is what the registry and the results say today."""

import subprocess
import sys
from pathlib import Path

import pytest

from hebbian.registry import BUILT_IN

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "rules.md"


def test_the_page_is_current():
    code = (
        "import make_rules, sys; sys.stdout.reconfigure(encoding='utf-8'); "
        "sys.stdout.write(make_rules.current())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "docs", check=True
    )
    assert PAGE.read_text(encoding="utf-8") == made.stdout, "run `make docs`"


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.name)
def test_every_rule_has_its_equation_on_the_page(entry):
    text = PAGE.read_text(encoding="utf-8")
    assert f"\n### {entry.name}\n" in text or f"\n## {entry.name}\n" in text
    assert entry.source in text
