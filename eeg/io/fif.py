"""FIF files that MNE splits because a file is at most 2 GB: one recording in several files."""

from __future__ import annotations

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
        found = _PART.fullmatch(file.name)
        if found is None or file in parts:
            continue
        firsts = (found["start"] + found["end"], f"{found['start']}_split-01{found['end']}")
        for name in firsts:
            first = file.with_name(name)
            if first in present and first != file:
                parts |= _continuations(first)
    return [file for file in files if file not in parts]


def _continuations(first: Path) -> set[Path]:
    import mne

    try:
        names = mne.io.read_raw_fif(first, preload=False, allow_maxshield=True, verbose="error").filenames
    except Exception:  # reported when it is read
        return set()
    return {first.with_name(Path(name).name) for name in names[1:] if name}
