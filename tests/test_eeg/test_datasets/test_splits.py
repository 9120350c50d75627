from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eeg.datasets import Entry
from eeg.datasets.splits import (
    hold_out,
    hold_out_subjects,
    permute_labels,
    read_subjects,
    refuse_leak,
    split_folds,
    split_sites,
    subjects_of,
)
from trainers.errors import DataError


def entries_of(controls: int, patients: int, recordings: list[int]) -> list[Entry]:
    """Subjects in turn; the i-th has ``recordings[i % len]`` recordings."""
    labels = [0] * controls + [1] * patients
    return [
        Entry(Path(f"{subject}-{r}.edf"), f"s{subject:02d}", label)
        for subject, label in enumerate(labels)
        for r in range(recordings[subject % len(recordings)])
    ]


cohorts = st.builds(
    entries_of, st.integers(4, 15), st.integers(4, 15), st.lists(st.integers(1, 3), min_size=1, max_size=5)
)


@given(entries=cohorts, k=st.integers(2, 4), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_folds_test_every_subject_once_and_never_train_on_it(entries: list[Entry], k: int, seed: int) -> None:
    pairs = split_folds(entries, k, seed)
    assert len(pairs) == k
    for train, test in pairs:
        assert not {e.subject for e in train} & {e.subject for e in test}
        assert sorted([*train, *test], key=str) == sorted(entries, key=str)
    tested = [e for _, test in pairs for e in test]
    assert sorted(tested, key=str) == sorted(entries, key=str)


@given(entries=cohorts, k=st.integers(2, 4), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_folds_are_stratified_by_subject(entries: list[Entry], k: int, seed: int) -> None:
    """However many recordings each has, a class's subjects are spread over the folds to within one."""
    for label in (0, 1):
        counts = [
            len({e.subject for e in test if e.label == label}) for _, test in split_folds(entries, k, seed)
        ]
        assert max(counts) - min(counts) <= 1


@given(entries=cohorts, share=st.floats(0.25, 0.75), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_held_out_subjects_are_not_in_the_training(entries: list[Entry], share: float, seed: int) -> None:
    train, held = hold_out(entries, share, seed)
    assert not {e.subject for e in train} & {e.subject for e in held}
    assert sorted([*train, *held], key=str) == sorted(entries, key=str)
    for label in (0, 1):
        of_class = {e.subject for e in entries if e.label == label}
        taken = {e.subject for e in held if e.label == label}
        assert abs(len(taken) - share * len(of_class)) <= 1.5


@given(entries=cohorts, seed=st.integers(0, 99))
@settings(max_examples=30)
def test_named_subjects_are_held_out_with_all_their_recordings(entries: list[Entry], seed: int) -> None:
    named = {e.subject for e in hold_out(entries, 0.5, seed)[1]}
    train, held = hold_out_subjects(entries, named)
    assert {e.subject for e in held} == named
    assert not {e.subject for e in train} & named
    assert sorted([*train, *held], key=str) == sorted(entries, key=str)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"s00"}, "of the held-out subjects, one class only: 0 with epilepsy, 1 controls"),
        ({"s02", "s03", "s00"}, "without the held-out subjects, one class only: 0 with epilepsy, 1 controls"),
    ],
)
def test_naming_all_of_a_class_is_refused(named: set[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        hold_out_subjects(entries_of(2, 2, [1]), named)


def test_subjects_are_read_from_a_table_by_its_column(tmp_path: Path) -> None:
    entries = entries_of(3, 3, [1])
    (tmp_path / "held.csv").write_text("age,subject\n40,s01\n50,s04\n50,s04\n")
    (tmp_path / "held.tsv").write_text("subject\tage\ns01\t40\ns04\t50\n")
    for name in ("held.csv", "held.tsv"):
        assert read_subjects(tmp_path / name, entries) == {"s01", "s04"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name\ns01\n", "no column subject; found name"),
        ("subject\n", "0 of its 0 subjects are not in the data; expected one or more"),
        ("subject\ns01\nMueller\nMeier\n", "2 of its 3 subjects are not in the data"),
    ],
)
def test_a_table_that_names_others_is_refused_without_naming_them(
    tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "held.csv").write_text(content)
    with pytest.raises(DataError, match=rf"held\.csv: {words}") as caught:
        read_subjects(tmp_path / "held.csv", entries_of(3, 3, [1]))
    assert "Mueller" not in str(caught.value)


def test_a_subject_without_a_diagnosis_cannot_be_held_out(tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_text("subject\ns01\ns04\n")
    entries = [replace(e, label=None) if e.subject == "s04" else e for e in entries_of(3, 3, [1])]
    with pytest.raises(DataError, match=r"1 of its 2 subjects .* with a diagnosis"):
        read_subjects(tmp_path / "held.csv", entries)


def test_only_the_seed_determines_a_split() -> None:
    entries = entries_of(9, 9, [1, 2])
    assert split_folds(entries, 3, 1) == split_folds(entries, 3, 1)
    assert split_folds(entries, 3, 1) != split_folds(entries, 3, 2)
    assert hold_out(entries, 0.4, 1) == hold_out(entries, 0.4, 1)
    # The order of the subjects in the corpus does not: a subject's place depends on its name.
    backwards = split_folds(entries[::-1], 3, 1)
    assert [set(test) for _, test in backwards] == [set(test) for _, test in split_folds(entries, 3, 1)]


def test_subjects_have_one_label_each() -> None:
    assert subjects_of(entries_of(2, 1, [2])) == {"s00": 0, "s01": 0, "s02": 1}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (entries_of(3, 0, [1]), "one class only: 0 with epilepsy, 3 controls"),
        (entries_of(0, 3, [1]), "one class only: 3 with epilepsy, 0 controls"),
        ([], "one class only"),
        (
            [*entries_of(2, 2, [1]), Entry(Path("again.edf"), "s00", 1)],
            r"again\.edf: its subject is labelled both",
        ),
        ([*entries_of(2, 2, [1]), Entry(Path("new.edf"), "s09", None)], r"new\.edf: its subject has no diag"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(entries: list[Entry], message: str) -> None:
    for split in (subjects_of, lambda e: split_folds(e, 2, 0), lambda e: hold_out(e, 0.5, 0)):
        with pytest.raises(DataError, match=message):
            split(entries)


def test_too_few_subjects_for_the_folds() -> None:
    with pytest.raises(DataError, match="--folds 4: expected 4 subjects of each class, found 3"):
        split_folds(entries_of(9, 3, [3]), 4, 0)  # nine recordings of three people are three subjects


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_fraction_without_both_classes_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="cannot hold out"):
        hold_out(entries_of(5, 5, [1]), share, 0)


def test_a_leak_is_refused_without_names() -> None:
    one = Entry(Path("a.edf"), "Mueller", 1)
    other = Entry(Path("b.edf"), "Mueller", 1)
    with pytest.raises(DataError, match=r"1 subject\(s\) are on both sides") as caught:
        refuse_leak([one], [other, Entry(Path("c.edf"), "Meier", 0)])
    assert "Mueller" not in str(caught.value)
    refuse_leak([one], [Entry(Path("c.edf"), "Meier", 0)])


def test_numeric_names_stay_distinct() -> None:
    entries = [Entry(Path(f"{n}.edf"), n, i % 2) for i, n in enumerate(["1", "01", "001", "10"])]
    assert len({e.subject for _, test in split_folds(entries, 2, 0) for e in test}) == 4
    assert np.all([len(test) == 2 for _, test in split_folds(entries, 2, 0)])


# --- sites


def placed(where: str) -> list[Entry]:
    """Two recordings of each subject, controls and patients in turn, at the site that a letter names."""
    return [
        Entry(Path(f"{i}-{r}.edf"), f"s{i:02d}", i % 2, site=site.strip() or None)
        for i, site in enumerate(where)
        for r in range(2)
    ]


def test_each_site_is_tested_once_after_training_on_the_others() -> None:
    entries = placed("abcabcabca")
    pairs = split_sites(entries)
    assert [{e.site for e in test} for _, test in pairs] == [{"a"}, {"b"}, {"c"}]
    for train, test in pairs:
        assert not {e.site for e in train} & {e.site for e in test}
        assert not {e.subject for e in train} & {e.subject for e in test}
        assert sorted([*train, *test], key=str) == sorted(entries, key=str)


def test_sites_that_cannot_be_left_out_are_refused() -> None:
    reasons = {"aaaa": "1 site", "    ": "0 site", "aab ": "2 site", "abab": "one class only"}
    for where, words in reasons.items():
        with pytest.raises(DataError, match=words):
            split_sites(placed(where))
    twice = [*placed("abba"), Entry(Path("x.edf"), "s00", 0, site="b")]
    with pytest.raises(DataError, match="on both sides"):
        split_sites(twice)


@given(entries=cohorts, seed=st.integers(0, 99))
@settings(max_examples=30)
def test_labels_are_permuted_across_whole_subjects(entries: list[Entry], seed: int) -> None:
    dealt = permute_labels(entries, seed)
    assert [replace(a, label=None) for a in dealt] == [replace(b, label=None) for b in entries]
    before, after = subjects_of(entries), subjects_of(dealt)  # one label each
    assert sorted(before.values()) == sorted(after.values())
    assert dealt == permute_labels(entries, seed)


def test_permutation_is_uniform() -> None:
    entries = entries_of(10, 10, [2])
    before = list(subjects_of(entries).values())
    kept = [
        np.equal(before, list(subjects_of(permute_labels(entries, s)).values())).mean() for s in range(200)
    ]
    assert np.mean(kept) == pytest.approx(0.5, abs=0.04)
