"""Hashes that identify recordings, corpora and cached results; none contains a name."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from eeg.datasets import Corpus, Entry
from eeg.io.sidecars import find_sidecar
from eeg.io.suffixes import recording_stem

# Where a header of BrainVision, EEGLAB or Persyst, which may be that of two recordings, has its signals.
_SIGNALS = {".vhdr": (".eeg", ".dat"), ".ahdr": (".eeg", ".dat"), ".set": (".fdt",), ".lay": (".dat",)}


def hash_facts(facts: object, *parts: memoryview) -> str:
    """Return 32 hex digits of the SHA-256 of facts, written as JSON, and of the bytes of further parts."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def file_hash(path: Path) -> str:
    """Return 16 hex digits of the SHA-256 of a file, or of all files of a recording.

    These are those in a recording's folder, and a header together with the file of its signals.
    """
    if path.is_dir():
        return _joined(sorted(path.iterdir()))
    signals = [path.with_suffix(suffix) for suffix in _SIGNALS.get(path.suffix.lower(), ())]
    if found := [file for file in signals if file.is_file()]:
        return hashlib.sha256((_hash(path) + _joined(found)).encode()).hexdigest()[:16]
    return _hash(path)


def _joined(files: Iterable[Path]) -> str:
    return hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()[:16]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def fingerprint(entries: Sequence[Entry]) -> list[str]:
    """Return the `file_hash` of each recording, sorted: it identifies what a detector was trained on."""
    return sorted(file_hash(entry.path) for entry in entries)


def hash_content(files: Iterable[Path], settings: object) -> str:
    """Return a hash of the content of all readable files, and of settings as in `hash_facts`."""
    return hash_facts([settings, *(file_hash(path) for path in files if os.access(path, os.R_OK))])


def files_of(entry: Entry) -> list[Path]:
    """Return the files of a recording: those that share its name up to a suffix, and those it inherits."""
    stem = recording_stem(entry.path).removesuffix("_eeg")
    alike = re.compile(re.escape(stem) + r"[-_.].*")
    folder = entry.path.parent
    parts = {part for part in folder.iterdir() if alike.fullmatch(part.name)} if folder.is_dir() else set()
    shared = (entry.seizures, *(find_sidecar(entry.path, kind) for kind in ("channels.tsv", "events.tsv")))
    return sorted(parts | {entry.path, *filter(None, shared)})


def corpus_digest(corpus: Corpus) -> str:
    """Return a hash of a corpus: each recording's subject, diagnosis and the content of its files."""
    files = (part for entry in corpus.entries for part in files_of(entry))
    return hash_content(files, [[entry.subject, entry.label] for entry in corpus.entries])
