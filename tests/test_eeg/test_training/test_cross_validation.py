"""Cross-validation: no leakage between subjects, the same with any number of processes."""

import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from torch import nn

from eeg.datasets import Entry
from eeg.datasets.splits import split_folds
from eeg.evaluation.results import compute_results
from eeg.preprocessing.windows import Windows
from eeg.training import cross_validation, fit
from eeg.training.cross_validation import Scored
from eeg.training.fit import Loaded
from eeg.training.plan import Plan
from tests.test_eeg.test_training.tiny import PLAN, made_up, tiny


def test_a_folds_network_never_sees_its_test_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(8, recordings=2)
    subject = {id(w.data): e.subject for e, w in loaded.items()}
    trained_on: list[set[str]] = []

    def spy(plan: Plan, data: list[Windows], *rest: object) -> nn.Module:
        trained_on.append({subject[id(w.data)] for w in data})
        return nn.Sequential(nn.Flatten(), nn.Linear(4 * 128, 1))

    monkeypatch.setattr(fit, "fit_network", spy)
    scored = cross_validation.cross_validate(PLAN, loaded, split_folds(list(loaded), 4, 0))
    assert sorted(s.entry.path.name for s in scored) == sorted(e.path.name for e in loaded)
    for s in scored:
        mine = trained_on[int(s.part.removeprefix("fold ")) - 1]
        assert s.entry.subject not in mine
        assert len(mine) == 6


def test_an_aggregation_is_chosen_by_training_subjects_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(16)
    pairs = split_folds(list(loaded), 2, 0)
    fitted: list[int] = []

    def spy(plan: Plan, data: list[Windows], *rest: object) -> nn.Module:
        fitted.append(len(data))
        return nn.Sequential(nn.Flatten(), nn.Linear(4 * 128, 1))

    asked: list[set[Entry]] = []

    def choose(scored: list[Scored]) -> str:
        asked.append({s.entry for s in scored})
        return "noisy-or"

    monkeypatch.setattr(fit, "fit_network", spy)
    monkeypatch.setattr(cross_validation, "choose_aggregation", choose)
    scored = cross_validation.cross_validate(replace(PLAN, aggregation="chosen"), loaded, pairs)
    assert {s.aggregation for s in scored} == {"noisy-or"}
    assert fitted == [6, 8, 6, 8]  # without the quarter that chooses, and with it
    for kept, (train, test) in zip(asked, pairs, strict=True):
        assert kept < set(train)
        assert not kept & set(test)
        assert len(kept) == 2


@pytest.mark.usefixtures("few_resamples")
def test_scores_of_different_aggregations_are_pooled_calibrated() -> None:
    """The largest windows are 1000 higher than the means of the other fold, for any subject."""
    rng = np.random.default_rng(0)
    scored = []
    for s in made_up(1):
        logits = (s.entry.label or 0) + 0.1 * rng.normal(size=6)
        logits[0] += 1000
        scored.append(replace(s, logits=logits, aggregation="mean" if s.part == "fold 1" else "top"))
    raw, labels, _ = cross_validation.subject_scores(scored)
    assert roc_auc_score(labels, raw) < 0.8
    assert compute_results(PLAN, scored, None, folds=2, confounds={}).levels["subjects"]["roc_auc"].value == 1


def test_processes_share_windows_that_only_their_owner_can_read_and_that_do_not_remain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib itself would write them to /dev/shm, readable by all, where they remain after SIGKILL."""
    used: list[Path] = []
    loaded = tiny(4)

    def run(*args: Any, **options: Any) -> Callable[[Any], list[tuple[list[Any], str]]]:
        assert options["max_nbytes"] is None  # joblib writes no file

        def fold(plan: Plan, mapped: Loaded, *rest: object) -> tuple[list[Any], str]:
            for entry, windows in mapped.items():
                assert isinstance(windows.data, np.memmap)
                assert windows.data.mode == "c"
                np.testing.assert_array_equal(windows.data, loaded[entry].data)
                used.append(Path(str(windows.data.filename)).parent)
            assert tmp_path in used[0].parents
            assert stat.S_IMODE(used[0].stat().st_mode) == 0o700 or sys.platform == "win32"
            return [], ""

        return lambda work: [fold(*arguments) for _, arguments, _ in work]

    monkeypatch.setattr(cross_validation, "Parallel", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for folder in (None, tmp_path):
        cross_validation.cross_validate(PLAN, loaded, split_folds(list(loaded), 2, 0), 2, folder)
        assert used
        assert not any(tmp_path.iterdir())
        used.clear()


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    loaded = tiny(8)
    one = cross_validation.cross_validate(PLAN, loaded, split_folds(list(loaded), 2, 0), jobs=1)
    two = cross_validation.cross_validate(PLAN, loaded, split_folds(list(loaded), 2, 0), jobs=2)
    for a, b in zip(one, two, strict=True):
        assert (a.entry, a.part) == (b.entry, b.part)
        np.testing.assert_array_equal(a.logits, b.logits)
