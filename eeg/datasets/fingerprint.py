"""Hashes that identify recordings, corpora and cached results; none contains a name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from eeg.datasets import Corpus, Entry
from eeg.io.recording_files import files_with_sidecars, recording_files


def hash_facts(facts: object, *parts: memoryview) -> str:
    """Return 32 hex digits of the SHA-256 of facts, written as JSON, and of the bytes of further parts."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def file_hash(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file, or of the files of a recording that has several."""
    files = [file for file in recording_files(path) if os.path.isfile(file)]
    if path.is_dir():
        return _joined(map(_hash, files))
    parts = [_hash(file) for file in files if file != path]
    return _joined([_hash(path), _joined(parts)]) if parts else _hash(path)


def _joined(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint(entries: Sequence[Entry]) -> list[str]:
    """Return the `file_hash` of each recording, sorted: it identifies what a detector was trained on."""
    return sorted(file_hash(entry.path) for entry in entries)


def hash_content(files: Iterable[Path], settings: object) -> str:
    """Return a hash of the content of all readable files, and of settings as in `hash_facts`."""
    readable = (path for path in files if os.path.isfile(path) and os.access(path, os.R_OK))
    return hash_facts([settings, *map(_hash, readable)])


def files_of(entry: Entry) -> list[Path]:
    """Return the files that are read for a recording of a corpus, sorted."""
    return sorted({*files_with_sidecars(entry.path), *filter(None, (entry.seizures, entry.events))})


def corpus_digest(corpus: Corpus) -> str:
    """Return a hash of a corpus: each recording's subject, diagnosis and the content of its files."""
    files = (part for entry in corpus.entries for part in files_of(entry))
    return hash_content(files, [[entry.subject, entry.label] for entry in corpus.entries])
