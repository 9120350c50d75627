"""Paths of a corpus that leave its folder: a table or a link of a stranger may point at any file."""

import os
from pathlib import Path

from eeg.datasets.corpus import Corpus
from trainers.errors import DataError


def refuse_outside(corpus: Corpus, folder: Path) -> None:
    """Raise `DataError` if a recording or its annotations are not in the folder of their corpus."""
    root = Path(os.path.realpath(folder))
    leaving = [
        number
        for number, entry in enumerate(corpus.entries, start=1)
        if not all(_inside(path, root) for path in (entry.path, entry.events, entry.seizures) if path)
    ]
    if leaving:
        numbers = ", ".join(map(str, leaving[:5])) + (", ..." if len(leaving) > 5 else "")
        raise DataError(
            f"{folder}: {len(leaving)} of {len(corpus.entries)} recordings (number {numbers}) have a path or "
            "a link that leaves this folder; if you trust that, add --outside"
        )


def _inside(path: Path, root: Path) -> bool:
    """Return whether a file is in a folder, or in a store of git-annex, where a data set's links lead."""
    try:
        target = Path(os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return True
    annexed = "/annex/objects/" in f"/{target.as_posix().partition('/.git/')[2]}"
    return target.is_relative_to(root) or annexed
