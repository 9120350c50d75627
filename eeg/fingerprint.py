"""By what a detector knows the files again that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from eeg.datasets import Entry


def fingerprint(entries: Sequence[Entry]) -> list[str]:
    """Return the first 16 hex digits of the SHA-256 of each recording's file, sorted.

    By it a recording is known again that a detector was trained on; it holds no name.
    """
    return sorted(file_hash(entry.path) for entry in entries)


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file, or of all files of a recording's folder."""
    if path.is_dir():
        parts = "".join(file_hash(part) for part in sorted(path.iterdir()))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
