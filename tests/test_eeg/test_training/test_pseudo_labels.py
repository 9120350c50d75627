"""Pseudo-labels: cross-fitting, thresholds, and recovery of planted discharges."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import roc_auc_score

from eeg.datasets import Entry
from eeg.datasets.splits import permute_labels, split_folds
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows, training_examples
from eeg.training import cross_validation, fit, pseudo_labels
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from eeg.training.pseudo_labels import (
    CROSS_FIT_FOLDS,
    RARE,
    annotate,
    center_logits,
    make_pseudo_labels,
    select_windows,
)
from trainers.errors import DataError

PLAN = Plan(Preprocessing(("Fp1", "T7", "Cz", "O2")), "pseudo", 1.0, "top", model="tvgg-gap")


def recording(label: int, seed: int, number: int = 20, planted: Sequence[int] = ()) -> Windows:
    """Noise around levels of the subject's own, with a bump in the ``planted`` windows."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(4, 1)) + rng.normal(size=(number, 4, 128))).astype(np.float32)
    x[list(planted), :2, 26:39] += 4
    return Windows(x, np.arange(number, dtype=float), 1.0, label, None)


def cohort(subjects: int = 12, recordings: int = 1, planted: Sequence[int] = ()) -> Loaded:
    return {
        Entry(Path(f"{s}-{r}.edf"), f"s{s}", s % 2): recording(s % 2, 10 * s + r, 20, planted * (s % 2))
        for s in range(subjects)
        for r in range(recordings)
    }


def starts(windows: Windows) -> list[float]:
    """Onsets of the windows that hold a found discharge."""
    assert windows.positive is not None
    return windows.onset[windows.positive].tolist()


@given(seed=st.integers(0, 99), number=st.integers(1, 60), spread=st.floats(0.1, 9))
def test_what_is_rare_among_controls_counts_and_the_lower_half_does_not(
    seed: int, number: int, spread: float
) -> None:
    patient, rng = recording(1, seed, number), np.random.default_rng(seed)
    height, controls = center_logits(spread * rng.normal(size=number)), rng.normal(size=1000)
    some = select_windows(patient, height, controls)
    for onset in map(float, range(number)):
        above = np.mean(controls >= height[int(onset)])
        if above < RARE - 0.001:
            assert onset in starts(some)
        elif above > RARE + 0.001 and height[int(onset)] < height.max():
            assert onset not in starts(some)
            assert (onset in some.onset) == (height[int(onset)] <= 0)
    np.testing.assert_array_equal(some.data, patient.data[some.onset.astype(int)])


def test_a_patient_without_anything_rare_has_one_discharge() -> None:
    some = select_windows(recording(1, 0, 5), np.array([0.0, -0.2, 0.2, -0.1, 0.1]), np.linspace(-1, 1, 101))
    assert starts(some) == [2]
    assert some.onset.tolist() == [0, 1, 2, 3]


def test_scores_are_centred_per_recording() -> None:
    logits = np.random.default_rng(0).normal(size=31)
    np.testing.assert_allclose(center_logits(logits + 7), center_logits(logits), atol=1e-12)
    assert np.median(center_logits(logits)) == 0


@given(
    positive=st.lists(st.booleans(), min_size=1, max_size=30),
    length=st.floats(0.3, 10.0),
    first=st.floats(0, 1000),
)
def test_each_window_has_its_label_in_spite_of_rounding(
    positive: list[bool], length: float, first: float
) -> None:
    n = len(positive)
    x = np.arange(n, dtype=np.float32)[:, None, None].repeat(2, -1)
    windows = annotate(Windows(x, first + np.arange(n) * length, length, 1, None), np.array(positive, bool))
    examples, discharge = training_examples(windows)
    data = examples[:]
    assert discharge[:n].tolist() == positive
    np.testing.assert_array_equal(data[:n], x)
    # Of those shifted by half a length there stay what touches no discharge.
    between = [i for i in range(n - 1) if not (positive[i] or positive[i + 1])]
    assert [pair[0].tolist() for pair in data[n:]] == [[i, i + 1] for i in between]
    assert not discharge[n:].any()


@pytest.mark.parametrize("recordings", [1, 2])
def test_no_subject_is_scored_by_a_network_trained_on_the_subject(recordings: int) -> None:
    loaded = cohort(recordings=recordings)
    whose = {w.data.tobytes(): e.subject for e, w in loaded.items()}
    scored = []

    def learn(entries: Sequence[Entry]):
        known = {e.subject for e in entries}
        assert len(known) == 12 * (CROSS_FIT_FOLDS - 1) // CROSS_FIT_FOLDS

        def score(x: np.ndarray) -> np.ndarray:
            scored.append(whose[x.tobytes()])
            assert scored[-1] not in known
            return x.mean((1, 2))

        return score

    make_pseudo_labels(loaded, list(loaded), learn, seed=0)
    assert sorted(scored) == sorted(e.subject for e in loaded)


def test_annotations_and_unlisted_recordings_are_not_used() -> None:
    loaded = cohort()
    truth = np.array([3.2]), np.array([0.1])
    known = {e: replace(w, events=truth) for e, w in loaded.items()}
    unlisted = Entry(Path("u.edf"), "u", None)

    def learn(entries: Sequence[Entry]):
        assert unlisted not in entries
        return lambda x: x.max((1, 2))

    expected = make_pseudo_labels(loaded, list(loaded), learn, seed=0)
    some = make_pseudo_labels({**known, unlisted: recording(0, 99)}, list(loaded), learn, seed=0)
    for one, other in zip(some, expected, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        assert starts(one) == starts(other)


def test_clear_scores_give_the_planted_windows_and_controls_keep_all_windows_as_negative() -> None:
    loaded = cohort(subjects=6, planted=(4, 9))
    some = make_pseudo_labels(
        loaded, list(loaded), lambda entries: lambda x: (np.ptp(x, -1).max(-1) > 8) * 1.0, seed=0
    )
    for windows, entry in zip(some, loaded, strict=True):
        assert windows.label == entry.label
        assert starts(windows) == ([4, 9] if entry.label else [])
        assert len(windows.data) == 20  # all other windows are at the median here


def test_too_few_subjects_are_refused() -> None:
    loaded = cohort(subjects=5)
    with pytest.raises(
        DataError, match="--labels pseudo: expected 3 training subjects of each class, found 2 of one"
    ):
        make_pseudo_labels(loaded, list(loaded), lambda entries: lambda x: x.mean((1, 2)), seed=0)


def test_pseudo_labels_need_the_subject_of_each_recording() -> None:
    with pytest.raises(ValueError, match="call train_network"):
        fit.fit_network(PLAN, list(cohort().values()))


@pytest.mark.slow
def test_networks_find_planted_discharges_and_the_last_one_learns_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of twenty windows of a patient contain a bump; the labels do not locate it."""
    loaded = cohort(subjects=24, planted=(4, 9))
    last = {}
    original = pseudo_labels.make_pseudo_labels

    def spy(*args: object) -> list[Windows]:
        last["found"] = original(*args)  # type: ignore[arg-type]
        return last["found"]

    monkeypatch.setattr(pseudo_labels, "make_pseudo_labels", spy)
    network = fit.train_network(replace(PLAN, epochs=40), loaded, list(loaded))
    patients = [w for w in last["found"] if w.label == 1]
    hits = np.concatenate([np.isin(starts(w), [4, 9]) for w in patients])
    assert hits.sum() > 0.9 * 2 * len(patients)
    assert hits.mean() > 0.6  # a few windows of controls stand out by chance, and so do some of patients
    unseen = [recording(1, 1000 + i, 20, (4, 9)) for i in range(6)]
    for w in unseen:
        assert set(np.argsort(fit.network_logits(network, w.data))[-2:]) == {4, 9}


@pytest.mark.slow
def test_shuffled_diagnoses_teach_nothing() -> None:
    """Subjects have levels of their own, by which networks would tell them that had learned from them."""
    aucs = []
    for seed in range(2):
        known = cohort(18, planted=(4, 9))
        dealt = permute_labels(list(known), seed)
        loaded = {e: replace(w, label=e.label) for e, w in zip(dealt, known.values(), strict=True)}
        scored = cross_validation.cross_validate(
            replace(PLAN, epochs=30), loaded, split_folds(dealt, 2, seed)
        )
        scores, labels, _ = cross_validation.subject_scores(scored)
        aucs.append(roc_auc_score(labels, scores))
    assert 0.2 < np.mean(aucs) < 0.8  # by chance 0.5, and a standard deviation of 0.1
