"""Which test verifies which rule by theory: the tests with the mark ``oracle``."""

import ast
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def oracle_tests():
    """Return the oracle tests of each rule, by its name: ``tests/test_hebbian/file.py::test``."""
    tests = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        for test in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(test, "decorator_list", []):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.oracle":
                    for rule in map(ast.literal_eval, mark.args):
                        tests.setdefault(rule, []).append(f"tests/test_hebbian/{path.name}::{test.name}")
    return tests
