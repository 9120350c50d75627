"""By what the files of recordings are known again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from eeg.datasets import Corpus, Entry


def key(files: Iterable[Path], settings: object) -> str:
    """Return the name of what comes of files by settings, 32 hex digits.

    Parameters
    ----------
    files
        All that is read; a folder stands for the files in it.
    settings
        All that decides what comes of them, as JSON has it.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if part.is_file():
                with part.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


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


def files_of(entry: Entry) -> list[Path]:
    """Name the files that a recording is read from: those that are called like it, and its seizures."""
    stem = entry.path.name.split(".")[0].removesuffix("_eeg")
    like = re.compile(re.escape(stem) + r"[-_.].*")
    parts = {part for part in entry.path.parent.iterdir() if like.fullmatch(part.name)}
    return sorted(parts | {entry.path} | ({entry.seizures} if entry.seizures else set()))


def corpus_digest(corpus: Corpus) -> str:
    """Return 32 hex digits by which all that a corpus tells is known again; they name nobody.

    That is whose each recording is, his diagnosis, and the content of all files that can be read.
    """
    told = [[entry.subject, entry.label] for entry in corpus.entries]
    files = (part for entry in corpus.entries for part in files_of(entry) if os.access(part, os.R_OK))
    return key(files, told)
