"""What the tables have in common: where the results are, and how they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def read_json(name: str) -> Any:
    """Return the content of a file of results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def read_lines(name: str) -> list[dict[str, Any]]:
    """Return the lines of a file of results."""
    return [json.loads(line) for line in (RESULTS / name).read_text(encoding="utf-8").splitlines()]
