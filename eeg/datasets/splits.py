"""Subject-wise splits that refuse to leak."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from eeg.datasets import Entry
from eeg.io.tables import read_table
from trainers.errors import DataError

SubjectSplit = tuple[tuple[Entry, ...], tuple[Entry, ...]]
"""Training recordings, and those that are kept from training."""


def subjects_of(entries: Iterable[Entry]) -> dict[str, int]:
    """Return each subject's label.

    Raises
    ------
    DataError
        If a subject has no label or two, or all have the same.
    """
    labels: dict[str, int] = {}
    for entry in entries:
        if entry.label is None:
            raise DataError(f"{entry.path.name}: its subject has no diagnosis; add one or leave it out")
        if labels.setdefault(entry.subject, entry.label) != entry.label:
            raise DataError(f"{entry.path.name}: its subject has both diagnoses; mend the table of subjects")
    counts = [list(labels.values()).count(c) for c in (0, 1)]
    if min(counts) == 0:
        raise DataError(f"one class only: {counts[1]} with epilepsy, {counts[0]} controls; both are needed")
    return labels


def refuse_leak(train: Iterable[Entry], test: Iterable[Entry]) -> None:
    """Raise `DataError` if one subject stands on both sides."""
    shared = {e.subject for e in train} & {e.subject for e in test}
    if shared:
        raise DataError(f"{len(shared)} subject(s) stand in both splits; a subject belongs to one side only")


def hold_out(entries: Sequence[Entry], share: float, seed: int) -> SubjectSplit:
    """Return training and held-out recordings, with ``share`` of the subjects of each class held out."""
    labels = subjects_of(entries)
    names = sorted(labels)
    try:
        _, held = train_test_split(
            names, test_size=share, random_state=seed, stratify=[labels[s] for s in names]
        )
    except ValueError as error:
        raise DataError(f"cannot hold out {share:g} of {len(names)} subjects: {error}") from None
    return _part(entries, set(held))


def set_aside(entries: Sequence[Entry], subjects: Collection[str]) -> SubjectSplit:
    """Return training and held-out recordings, of which the latter are those of ``subjects``.

    Raises
    ------
    DataError
        If one side lacks a class.
    """
    train, held = _part(entries, subjects)
    for side, name in ((train, "without the held-out subjects"), (held, "of the held-out subjects")):
        try:
            subjects_of(side)
        except DataError as error:
            raise DataError(f"{name}, {error}") from None
    return train, held


def read_subjects(path: Path, entries: Iterable[Entry]) -> frozenset[str]:
    """Return the subjects whom the column ``subject`` of a table names, CSV or else with tabs.

    Raises
    ------
    DataError
        If the table cannot be read, names nobody, or somebody who has no diagnosis among ``entries``.
    """
    rows = read_table(path, {"subject"}, delimiter="," if path.suffix.lower() == ".csv" else "\t")
    named = frozenset(row["subject"] for row in rows)
    unknown = named - {e.subject for e in entries if e.label is not None}
    if unknown or not named:
        raise DataError(
            f"{path}: {len(unknown)} of its {len(named)} subjects are not in the data; expected one or more "
            "who have a diagnosis, called as the data calls them"
        )
    return named


def folds(entries: Sequence[Entry], k: int, seed: int) -> list[SubjectSplit]:
    """Return ``k`` pairs of training and test recordings; every subject is tested once.

    Raises
    ------
    DataError
        If a class has fewer than ``k`` subjects.
    """
    labels = subjects_of(entries)
    names = np.array(sorted(labels))
    y = np.array([labels[s] for s in names])
    rarest = int(np.bincount(y, minlength=2).min())
    if rarest < k:
        raise DataError(f"{k} folds need {k} subjects of each class, found {rarest}; take fewer folds")
    parts = StratifiedKFold(k, shuffle=True, random_state=seed).split(names, y)
    return [_part(entries, set(names[test])) for _, test in parts]


def sites(entries: Sequence[Entry]) -> list[SubjectSplit]:
    """Return a pair of training and test recordings for each site, in the order of their names.

    Raises
    ------
    DataError
        If a recording has no site, there are fewer than two, a subject was recorded at two, or without
        one of them a class is missing.
    """
    subjects_of(entries)
    names = sorted({e.site or "" for e in entries})
    if "" in names or len(names) < 2:
        known = len(set(names) - {""})
        raise DataError(
            f"leaving a site out needs two sites, and every recording's; {known} site(s) are known"
        )
    pairs = []
    for name in names:
        train = tuple(e for e in entries if e.site != name)
        test = tuple(e for e in entries if e.site == name)
        refuse_leak(train, test)
        subjects_of(train)
        pairs.append((train, test))
    return pairs


def shuffled(entries: Sequence[Entry], seed: int) -> tuple[Entry, ...]:
    """Return the recordings with the diagnoses dealt out anew among the subjects.

    Whatever is learned from these is chance: the control of a whole training.
    """
    labels = subjects_of(entries)
    names = sorted(labels)
    dealt = np.random.default_rng(seed).permutation([labels[name] for name in names])
    new = dict(zip(names, dealt.tolist(), strict=True))
    return tuple(replace(e, label=new[e.subject]) for e in entries)


def _part(entries: Sequence[Entry], held: Collection[str]) -> SubjectSplit:
    train = tuple(e for e in entries if e.subject not in held)
    test = tuple(e for e in entries if e.subject in held)
    refuse_leak(train, test)
    return train, test
