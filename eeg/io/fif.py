"""FIF files that MNE splits because a file is at most 2 GB: one recording in several files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

_PART = re.compile(r"(?P<start>.*?)(?P<number>-\d+|_split-\d+)(?P<end>(_\w+)?\.fif(\.gz)?)", re.IGNORECASE)


def without_parts(files: Sequence[Path]) -> list[Path]:
    """Return files without those that continue another one of them.

    Only the first file of a split recording says which the others are; a name alone does not.
    """
    present, parts = set(files), set[Path]()
    for file in files:
        if file in parts:
            continue
        for name in _firsts(file.name):
            first = file.with_name(name)
            if first in present and first != file:
                parts |= _continuations(first)
    return [file for file in files if file not in parts]


def possible_parts(first: Path) -> list[Path]:
    """Return the files beside a FIF, sorted, that by their names continue it; they may not."""
    if not first.name.lower().endswith((".fif", ".fif.gz")) or not first.parent.is_dir():
        return []
    alike = (name for name in sorted(os.listdir(first.parent)) if first.name in _firsts(name))
    return [first.with_name(name) for name in alike if name != first.name]


def _firsts(name: str) -> tuple[str, ...]:
    """Return the names of which a file may be a later part, none if it is none by its own name."""
    found = _PART.fullmatch(name)
    return (
        () if found is None else (found["start"] + found["end"], f"{found['start']}_split-01{found['end']}")
    )


def _continuations(first: Path) -> set[Path]:
    import mne

    try:
        names = mne.io.read_raw_fif(first, preload=False, allow_maxshield=True, verbose="error").filenames
    except Exception:  # reported when it is read
        return set()
    return {first.with_name(Path(name).name) for name in names[1:] if name}
