"""A killed training resumes where it was and ends with identical results, bit for bit."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from eeg.datasets import Corpus, Entry, open_corpus
from eeg.datasets.splits import split_folds
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from eeg.reporting import tensorboard
from eeg.training import cross_validation, fit, fold_cache
from eeg.training.design import Design
from eeg.training.fit import Loaded
from eeg.training.fold_cache import FoldScores
from eeg.training.plan import Plan
from eeg.workflows import train as workflow
from eeg.workflows.corpus import load_corpus
from eeg.workflows.run_folder import begin, finish, finished, refuse_other, started
from eeg.workflows.train import train_plan
from trainers.errors import DataError

PLAN = Plan(Preprocessing(TEN_TWENTY), "events", 2.0, "top", epochs=1)
DESIGN = Design(folds=2, hold_out=0.25, prototypes=1)
pytestmark = pytest.mark.usefixtures("few_resamples")


class Killed(Exception):
    """Stands for whatever ends a program."""


@pytest.fixture(scope="module")
def corpus(cohort: Path) -> Corpus:
    return open_corpus(cohort)


@pytest.fixture(scope="module")
def loaded(corpus: Corpus) -> Loaded:
    return load_corpus(corpus, PLAN)


@pytest.fixture(scope="module")
def whole(corpus: Corpus, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted training."""
    out = tmp_path_factory.mktemp("whole")
    train_plan(PLAN, corpus, loaded, DESIGN, out=out)
    return out


def dying(function: Callable[..., object], calls: int) -> Callable[..., object]:
    """Do as ``function`` so many times, and then die."""
    left = [calls]

    def called(*args: object, **named: object) -> object:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return function(*args, **named)

    return called


def files_by_folder(root: Path) -> Counter[Path]:
    """Return how many files lie in each folder: those of TensorBoard are called after the time."""
    return Counter(path.parent.relative_to(root) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("module", "name", "calls", "again"),
    [
        # in the second fold: that and the final network are left to train
        (cross_validation, "fit_model", 1, 2),
        # when the final network was trained, but not kept
        pytest.param(workflow, "calibrate_subjects", 0, 1, marks=pytest.mark.slow),
        # when the model was written and some for TensorBoard, but not its card
        pytest.param(tensorboard, "embed_windows", 0, 0, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_training_ends_as_if_nothing_had_been(
    module: object,
    name: str,
    calls: int,
    again: int,
    corpus: Corpus,
    loaded: Loaded,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying(getattr(module, name), calls))
        with pytest.raises(Killed):
            train_plan(PLAN, corpus, loaded, DESIGN, out=tmp_path)
    assert started(tmp_path)
    assert not finished(tmp_path)
    trained: list[int] = []

    def counted(plan: Plan, *args: object) -> nn.Module:
        trained.append(1)
        return fit_network(plan, *args)  # type: ignore[arg-type]

    fit_network = fit.fit_network
    monkeypatch.setattr(fit, "fit_network", counted)
    train_plan(PLAN, corpus, loaded, DESIGN, out=tmp_path)
    assert len(trained) == again
    assert finished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole.iterdir()}
    for file in ("model.safetensors", "predictions.csv", "card.md", "run.json", "quality.json"):
        assert (tmp_path / file).read_bytes() == (whole / file).read_bytes(), file
    assert files_by_folder(tmp_path / "tensorboard") == files_by_folder(whole / "tensorboard")


def test_other_settings_or_data_than_the_folders_are_refused_by_the_first_that_differs(
    corpus: Corpus, loaded: Loaded, whole: Path
) -> None:
    before = {path: path.read_bytes() for path in whole.iterdir() if path.is_file()}
    changed = {
        "plan.seed was 0, is 1": (replace(PLAN, seed=1), DESIGN, loaded),
        "hold_out was 0.25, is 0.3": (PLAN, replace(DESIGN, hold_out=0.3), loaded),
        "prototypes was 1, is 0": (PLAN, replace(DESIGN, prototypes=0), loaded),
        "data_sha256 was": (PLAN, DESIGN, {e: replace(w, data=w.data * 2) for e, w in loaded.items()}),
    }
    for words, (plan, design, found) in changed.items():
        with pytest.raises(DataError, match=rf"run\.json belongs to another training: {words}.*; name a new"):
            train_plan(plan, corpus, found, design, out=whole)
    assert {path: path.read_bytes() for path in whole.iterdir() if path.is_file()} == before


# --- the folder


def test_a_folder_records_which_folds_are_finished(tmp_path: Path) -> None:
    assert not started(tmp_path)
    assert not finished(tmp_path)
    parts = begin(tmp_path, {"seed": 1})
    (parts / "x").touch()
    assert begin(tmp_path, {"seed": 1}) == parts
    assert started(tmp_path)
    assert not finished(tmp_path)
    with pytest.raises(DataError, match="seed was 1, is 2"):
        begin(tmp_path, {"seed": 2})
    finish(tmp_path, {"seed": 1}, {"auc": 0.5})
    assert finished(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text()) == {"seed": 1, "training": {"auc": 0.5}}
    assert not parts.exists()


@pytest.mark.parametrize("content", ["", "[]"])
def test_a_record_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json"):
        refuse_other(tmp_path, {"seed": 1})


# --- the scores of a fold


def test_scores_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fold = FoldScores((rng.normal(size=3), 1e-300 * rng.normal(size=5)), "mean")
    fold_cache.write_fold(fold, tmp_path / "x.json")
    again = fold_cache.read_fold(tmp_path / "x.json")
    assert again.aggregation == "mean"
    for a, b in zip(again.logits, fold.logits, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_damaged_fold_is_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert fold_cache.read_fold(path) is None
    fold_cache.write_fold(FoldScores((np.array([0.25, 0.5]),), "mean"), path)
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"{}",
        b"[]",
        b"[" * 100_000,
        whole[:-5],
        whole.replace(b"0.25", b"0.26"),
        whole.replace(b"mean", b"peak"),
    ):
        path.write_bytes(damaged)
        assert fold_cache.read_fold(path) is None
    path.write_bytes(whole)
    assert fold_cache.read_fold(path) is not None


def test_a_users_network_is_part_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "network_of_a_user.py"
    source.write_text("def build(channels, samples): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = replace(PLAN, model="network_of_a_user:build")
    before = named(plan, cohort_of())
    assert named(plan, cohort_of()) == before
    source.write_text("def build(channels, samples): return None\n")
    assert not set(named(plan, cohort_of())) & set(before)


def cohort_of(change: Callable[[Windows], Windows] = lambda w: w) -> Loaded:
    """Six subjects; the last one has no diagnosis, and the first one's windows are changed."""
    found = {}
    for i in range(6):
        data = np.full((2, 3, 4), i, np.float32)
        windows = Windows(data, np.array([0.0, 1.0]), 1.0, i % 2, (np.array([0.5]), np.array([0.1])))
        found[Entry(Path(f"{i}.edf"), f"s{i}", None if i == 5 else i % 2)] = (
            change(windows) if i == 0 else windows
        )
    return found


def named(plan: Plan, loaded: Loaded, seed: int = 0) -> list[str]:
    return fold_cache.fold_names(
        plan, loaded, split_folds([e for e in loaded if e.label is not None], 2, seed)
    )


def test_a_fold_is_known_by_whatever_its_scores_depend_on_and_by_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = named(PLAN, cohort_of())
    assert len(set(same)) == 2
    assert named(PLAN, cohort_of()) == same
    others = [
        named(replace(PLAN, seed=1), cohort_of()),
        named(replace(PLAN, quality="keep"), cohort_of()),
        named(PLAN, cohort_of(), seed=1),
        named(PLAN, cohort_of(lambda w: replace(w, data=w.data + 1))),
        named(PLAN, cohort_of(lambda w: replace(w, label=1))),
        named(PLAN, cohort_of(lambda w: replace(w, events=None))),
        named(PLAN, cohort_of(lambda w: replace(w, onset=w.onset + 1))),
        named(PLAN, {e: w for e, w in cohort_of().items() if e.label is not None}),
        named(PLAN, {replace(e, subject=f"t{e.subject}"): w for e, w in cohort_of().items()}),
    ]
    monkeypatch.setattr(fold_cache, "versions", lambda: {"torch": "1.0"})
    others.append(named(PLAN, cohort_of()))
    for other in others:
        assert not set(other) & set(same)
    assert not any("s0" in name for name in same)
