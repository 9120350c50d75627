"""Splits of a corpus by subject, never with one subject on both sides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from eeg.datasets import Corpus, Entry
from eeg.io.tables import read_table
from trainers.errors import DataError

SubjectSplit = tuple[tuple[Entry, ...], tuple[Entry, ...]]
"""Recordings for training, and those that are held out."""


def subjects_of(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the label of each subject.

    Raises
    ------
    DataError
        A subject has no label or both, or all have the same.
    """
    labels: dict[str, int] = {}
    for entry in entries:
        if entry.label is None:
            raise DataError(f"{entry.path.name}: its subject has no diagnosis; add one or leave it out")
        if labels.setdefault(entry.subject, entry.label) != entry.label:
            raise DataError(
                f"{entry.path.name}: its subject is labelled both epilepsy and control; "
                "fix the table of subjects"
            )
    counts = [list(labels.values()).count(c) for c in (0, 1)]
    if min(counts) == 0:
        raise DataError(f"one class only: {counts[1]} with epilepsy, {counts[0]} controls; both are needed")
    return labels


def diagnosed(corpus: Corpus) -> tuple[Entry, ...]:
    """Return the recordings whose subject has a diagnosis.

    Raises
    ------
    DataError
        There is none, or as `subjects_of`.
    """
    known = tuple(entry for entry in corpus.entries if entry.label is not None)
    if not known:
        reason = corpus.undiagnosed or "add them to the table of subjects"
        raise DataError(f"{corpus.name}: no recording has a diagnosis; {reason}")
    subjects_of(known)
    return known


def refuse_leak(train: Iterable[Entry], test: Iterable[Entry]) -> None:
    """Raise `DataError` if a subject is on both sides of a split."""
    shared = {e.subject for e in train} & {e.subject for e in test}
    if shared:
        raise DataError(f"{len(shared)} subject(s) are on both sides of a split; assign each to one side")


def hold_out(entries: Sequence[Entry], fraction: float, seed: int) -> SubjectSplit:
    """Hold out a fraction of the subjects of each class; raises `DataError` if a side would lack a class."""
    labels = subjects_of(entries)
    names = sorted(labels)
    try:
        _, held_out = train_test_split(
            names, test_size=fraction, random_state=seed, stratify=[labels[s] for s in names]
        )
    except ValueError as error:
        ill = sum(labels.values())
        raise DataError(
            f"cannot hold out {fraction:g} of {len(names)} subjects, {ill} with epilepsy and "
            f"{len(names) - ill} controls; expected both classes on either side"
        ) from error
    return _split(entries, set(held_out))


def hold_out_subjects(entries: Sequence[Entry], subjects: Collection[str]) -> SubjectSplit:
    """Hold out the recordings of named subjects.

    Raises
    ------
    DataError
        One side lacks a class.
    """
    train, held_out = _split(entries, subjects)
    for side, name in ((train, "without the held-out subjects"), (held_out, "of the held-out subjects")):
        try:
            subjects_of(side)
        except DataError as error:
            raise DataError(f"{name}, {error}") from None
    return train, held_out


def read_subjects(path: Path, entries: Iterable[Entry]) -> frozenset[str]:
    """Return the subjects in the column ``subject`` of a table, CSV or tab-separated.

    Raises
    ------
    DataError
        The table cannot be read, is empty, or names a subject without a diagnosis among ``entries``.
    """
    rows = read_table(path, {"subject"}, delimiter="," if path.suffix.lower() == ".csv" else "\t")
    named = frozenset(row["subject"] for row in rows)
    unknown = named - {e.subject for e in entries if e.label is not None}
    if unknown or not named:
        raise DataError(
            f"{path}: {len(unknown)} of its {len(named)} subjects are not in the data; expected one or more "
            "with a diagnosis, named as in the data"
        )
    return named


def split_folds(entries: Sequence[Entry], k: int, seed: int) -> list[SubjectSplit]:
    """Return ``k`` splits into training and test recordings; every subject is tested once.

    Raises
    ------
    DataError
        A class has fewer than ``k`` subjects.
    """
    labels = subjects_of(entries)
    names = np.array(sorted(labels))
    y = np.array([labels[s] for s in names])
    rarest = int(np.bincount(y, minlength=2).min())
    if rarest < k:
        raise DataError(
            f"--folds {k}: expected {k} subjects of each class, found {rarest} of one; use fewer folds "
            "or add subjects"
        )
    parts = StratifiedKFold(k, shuffle=True, random_state=seed).split(names, y)
    return [_split(entries, set(names[test])) for _, test in parts]


def split_sites(entries: Sequence[Entry]) -> list[SubjectSplit]:
    """Return a split for each site, which is its test side, in the order of their names.

    Raises
    ------
    DataError
        A recording has no site, there are fewer than two, a subject was recorded at two, or without one of
        them a class is missing.
    """
    subjects_of(entries)
    names = sorted({e.site or "" for e in entries})
    if "" in names or len(names) < 2:
        known = len(set(names) - {""})
        raise DataError(
            f"leaving a site out needs the site of every recording, and two; {known} site(s) are known"
        )
    pairs = []
    for name in names:
        train = tuple(e for e in entries if e.site != name)
        test = tuple(e for e in entries if e.site == name)
        refuse_leak(train, test)
        subjects_of(train)
        pairs.append((train, test))
    return pairs


def permute_labels(entries: Sequence[Entry], seed: int) -> tuple[Entry, ...]:
    """Permute the labels across subjects: a negative control, from which only chance can be learned."""
    labels = subjects_of(entries)
    names = sorted(labels)
    permuted = np.random.default_rng(seed).permutation([labels[name] for name in names])
    new = dict(zip(names, permuted.tolist(), strict=True))
    return tuple(replace(e, label=new[e.subject]) for e in entries)


def _split(entries: Sequence[Entry], held_out: Collection[str]) -> SubjectSplit:
    train = tuple(e for e in entries if e.subject not in held_out)
    test = tuple(e for e in entries if e.subject in held_out)
    refuse_leak(train, test)
    return train, test
