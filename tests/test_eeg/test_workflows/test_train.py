"""A whole training: what it writes, and that it recognises its recordings again."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import eeg
from eeg.datasets import Corpus, Entry, open_corpus
from eeg.datasets.fingerprint import file_hash, fingerprint
from eeg.detector.results import Results
from eeg.explanation.options import ExplanationOptions
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from eeg.training.design import Design
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from eeg.workflows import evaluate
from eeg.workflows.analyse import SEEN, analyse
from eeg.workflows.anonymize import anonymize
from eeg.workflows.corpus import default_channels, load_corpus
from eeg.workflows.train import TrainingRun, read_results, train_plan
from tests.test_eeg.test_training.tiny import PLAN
from trainers.errors import DataError
from trainers.provenance import from_plain


@pytest.fixture(scope="module")
def corpus(cohort: Path) -> Corpus:
    return open_corpus(cohort)


@pytest.fixture(scope="module")
def ran(
    few_resamples: None, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainingRun, Loaded, Path]:
    out = tmp_path_factory.mktemp("run")
    plan = Plan(Preprocessing(TEN_TWENTY), "events", 2.0, "top", epochs=1)
    loaded = load_corpus(corpus, plan)
    return train_plan(plan, corpus, loaded, Design(folds=2, hold_out=0.25), out=out), loaded, out


@pytest.mark.parametrize("workflow", [eeg.train, eeg.audit])
def test_a_path_in_place_of_a_corpus_is_refused(workflow: Callable[[str], object]) -> None:
    with pytest.raises(TypeError, match=r"corpus is a str, expected that of eeg\.open_corpus\(path\)"):
        workflow("cohort")


def test_a_run_writes_down_what_it_can_be_repeated_from(ran: tuple[TrainingRun, Loaded, Path]) -> None:
    done, _, out = ran
    record = json.loads((out / "run.json").read_text())
    assert record["plan"]["preprocessing"]["channels"] == list(TEN_TWENTY)
    assert (record["folds"], record["hold_out"], record["plan"]["seed"]) == (2, 0.25, 0)
    assert {"python", "torch", "numpy"} <= set(record["training"]["versions"])
    assert from_plain(Results, record["training"]["results"]["cross_validated"]) == done.results
    assert read_results(out)["held_out"] == done.held_out
    assert done.detector.training.simulated is True
    assert len(done.unseen) == 2


def test_predictions_have_every_window_once_and_no_names(
    ran: tuple[TrainingRun, Loaded, Path],
) -> None:
    done, loaded, out = ran
    text = (out / "predictions.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == sum(len(w.data) for w in loaded.values())
    assert {row["part"] for row in rows} == {"fold 1", "fold 2", "held out"}
    held = [row for row in rows if row["part"] == "held out"]
    expected = [z for s in done.unseen for z in s.logits]
    np.testing.assert_allclose([float(row["logit"]) for row in held], expected, rtol=1e-5)
    assert len({row["subject"] for row in rows}) == 8
    assert "sub-" not in text


def test_no_file_of_a_run_holds_a_path_or_a_recordings_name(
    ran: tuple[TrainingRun, Loaded, Path], cohort: Path
) -> None:
    for file in ran[2].rglob("*"):
        if file.is_file():
            blob = file.read_bytes()
            assert str(cohort).encode() not in blob
            assert b"sub-0" not in blob


def test_a_detector_recognises_its_training_recordings(
    ran: tuple[TrainingRun, Loaded, Path], corpus: Corpus
) -> None:
    done, loaded, _ = ran
    fresh, seen = evaluate.score_unseen(done.detector, corpus, loaded)
    assert seen == 6
    assert {s.entry for s in fresh} == {s.entry for s in done.unseen}
    for a, b in zip(fresh, sorted(done.unseen, key=lambda s: s.entry.subject), strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)
    trained = {e: w for e, w in loaded.items() if e not in {s.entry for s in done.unseen}}
    with pytest.raises(DataError, match="was trained on every subject"):
        evaluate.score_unseen(done.detector, corpus, trained)
    one = {s.entry: loaded[s.entry] for s in done.unseen if s.entry.label == 1}
    with pytest.raises(DataError, match="one class only"):
        evaluate.score_unseen(done.detector, corpus, one)


def test_a_detector_recognises_copies_without_names_of_its_training_recordings(
    ran: tuple[TrainingRun, Loaded, Path], cohort: Path, tmp_path: Path
) -> None:
    """The files of `eeg anonymize` have other bytes and the same signal."""
    done, _, _ = ran
    anonymize(cohort, tmp_path / "copies")
    copies = open_corpus(tmp_path / "copies")
    assert not {file_hash(e.path) for e in copies.entries} & set(done.detector.training.recordings)
    fresh, seen = evaluate.score_unseen(done.detector, copies, load_corpus(copies, done.detector))
    held_out = {s.entry.subject for s in done.unseen}
    assert (seen, {s.entry.subject for s in fresh}) == (6, held_out)
    options = ExplanationOptions("grad-cam", "zero", 1)
    for inside in (True, False):
        path = next(e.path for e in copies.entries if (e.subject not in held_out) == inside)
        assert (SEEN in analyse(done.detector, path, options).warnings) == inside


@pytest.mark.slow
def test_a_detector_recognises_its_pre_training_recordings(corpus: Corpus) -> None:
    plan = Plan(Preprocessing(TEN_TWENTY), "events", 2.0, "top", rule="softhebb", finetune=True, epochs=1)
    first, *rest = corpus.entries
    unknown = replace(first, label=None)
    loaded = load_corpus(replace(corpus, entries=(unknown, *rest)), plan, unlabelled=True)
    done = train_plan(plan, corpus, loaded, Design(folds=2))
    assert file_hash(first.path) in done.detector.training.recordings


def test_a_second_evaluation_has_the_held_out_results(ran: tuple[TrainingRun, Loaded, Path]) -> None:
    done, _, _ = ran
    assert evaluate.evaluate_scored(done.detector, done.unseen) == done.held_out
    assert evaluate.plan_of(done.detector).rule == "backprop"
    mean = evaluate.locate_discharges(done.detector, done.unseen)
    assert mean is not None
    assert 0 <= mean.explanation <= 1


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"training": {"results": {"cross_validated": {}}}}']
)
def test_a_folder_without_a_record_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json: no record of a run"):
        read_results(tmp_path)


def test_recordings_without_a_diagnosis_are_not_trained_on(corpus: Corpus) -> None:
    unknown = Corpus("a", tuple(replace(e, label=None) for e in corpus.entries))
    with pytest.raises(DataError, match="no recording has a diagnosis"):
        load_corpus(unknown, PLAN)


def test_default_channels_are_those_of_the_first_recording_that_can_be_read(
    corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "bad.edf").write_text("not an EDF")
    bad = Entry(tmp_path / "bad.edf", "x", 1)
    assert default_channels(Corpus("a", (bad, *corpus.entries))) == TEN_TWENTY
    with pytest.raises(DataError, match="none of its 1 recordings can be read"):
        default_channels(Corpus("a", (bad,)))


def test_a_fingerprint_is_of_contents_and_not_of_names(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, content in zip(paths, (b"1", b"1", b"2"), strict=True):
        path.write_bytes(content)
    a, b, c = (file_hash(path) for path in paths)
    assert a == b != c
    assert a == "6b86b273ff34fce1"  # the SHA-256 of "1" begins so
    entries = [Entry(path, "s", 1) for path in paths]
    assert fingerprint(entries) == fingerprint(entries[::-1]) == sorted([a, b, c])
