"""Training and cross-validation: no leakage between subjects, reproducibility, and correct results."""

import copy
import csv
import json
import math
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from eeg import large_arrays
from eeg.datasets import Corpus, Entry, open_corpus
from eeg.datasets.fingerprint import file_hash, fingerprint
from eeg.datasets.splits import split_folds
from eeg.detector import calibration
from eeg.detector.calibration import Calibration
from eeg.detector.results import Results
from eeg.evaluation.results import compute_results
from eeg.evaluation.results_text import describe_results, describe_risk
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.features import FEATURES
from eeg.models.pooling import pool_logits
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows, training_examples
from eeg.training import cross_validation, fit
from eeg.training.cross_validation import Scored
from eeg.training.design import Design
from eeg.training.fit import Loaded
from eeg.training.plan import Plan, recipe
from eeg.workflows import evaluate
from eeg.workflows.corpus import default_channels, load_corpus
from eeg.workflows.train import TrainingRun, read_results, train_plan
from hebbian.registry import list_rules
from tests.helpers import same_state
from trainers.data.batches import Batches, TrainingData
from trainers.errors import DataError
from trainers.phases import descend
from trainers.provenance import from_plain
from trainers.recipes import Recipe

CHANNELS = ("Fp1", "T7", "Cz", "O2")
PLAN = Plan(Preprocessing(CHANNELS), "events", 1.0, "top", epochs=1)
EVENTS = (np.array([0.2, 2.2]), np.array([0.1, 0.1]))
NOTHING = (np.array([]), np.array([]))


def windows_of(label: int, seed: int, number: int = 6) -> Windows:
    """Noise, in which two windows of those with label 1 hold a bump."""
    x = np.random.default_rng(seed).normal(size=(number, 4, 128)).astype(np.float32)
    if label:
        x[[0, 2], :, 26:39] += 4
    return Windows(x, np.arange(number, dtype=float), 1.0, label, EVENTS if label else NOTHING)


def tiny(subjects: int = 8, recordings: int = 1) -> Loaded:
    return {
        Entry(Path(f"{s}-{r}.edf"), f"s{s}", s % 2): windows_of(s % 2, 10 * s + r)
        for s in range(subjects)
        for r in range(recordings)
    }


def shorten_readouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train readouts for one epoch, not for the 3000 steps of a recipe."""

    def short(plan: Plan) -> Recipe:
        full = recipe(plan)
        return replace(full, readout=replace(full.readout, epochs=1, least_steps=0))

    monkeypatch.setattr(fit, "recipe", short)


# --- one network


@pytest.mark.parametrize("labels", ["events", "recording"])
@pytest.mark.parametrize("rule", ["backprop", "oja"])
def test_the_same_plan_gives_the_same_weights_bit_for_bit(
    labels: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, labels=labels, rule=rule)  # type: ignore[arg-type]
    shorten_readouts(monkeypatch)
    data = list(tiny(4).values())
    torch.manual_seed(1)
    once = fit.fit_network(plan, data)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    again = fit.fit_network(plan, data)
    assert torch.equal(torch.rand(1), drawn)  # the caller's generator stays where it was
    assert same_state(once, again)
    assert not same_state(once, fit.fit_network(replace(plan, seed=1), data))
    assert not again.training


def test_all_windows_of_one_class_are_refused() -> None:
    controls = [w for w in tiny(4).values() if w.label == 0]
    for labels in ("events", "recording"):
        with pytest.raises(DataError, match="training windows are of one class"):
            fit.fit_network(replace(PLAN, labels=labels), controls)  # type: ignore[arg-type]


def test_both_classes_weigh_the_same_in_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the logit 0 the gradients of the two classes cancel, however rare one is."""
    seen = {}

    def spy(rule: str, network: nn.Module, data: TrainingData, *rest: object) -> None:
        seen.update(vars(data))

    monkeypatch.setattr(fit, "train_rule", spy)
    fit.fit_network(PLAN, list(tiny(4).values()))
    y, criterion = seen["y"], seen["criterion"]
    assert 0 < y.mean() < 0.5
    logit = torch.zeros_like(y, requires_grad=True)
    criterion(logit, y).backward()
    assert logit.grad is not None
    assert float(logit.grad.sum()) == pytest.approx(0, abs=1e-6)
    assert float(logit.grad.abs().sum()) > 0.1


@pytest.mark.parametrize("rule", ["backprop", "forward-forward"])  # whose loss weighs classes, and does not
def test_subjects_count_the_same_however_many_recordings_they_have(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = {"a": 1, "b": 5, "c": 2, "d": 1, "e": 3}
    entries = [
        Entry(Path(f"{name}{i}.edf"), name, int(name in "bc"))
        for name, n in recordings.items()
        for i in range(n)
    ]
    loaded = {e: windows_of(e.label or 0, number) for number, e in enumerate(entries)}
    seen = {}

    def spy(rule: str, network: nn.Module, data: TrainingData, *rest: object) -> object:
        seen.update(vars(data))
        raise InterruptedError

    monkeypatch.setattr(fit, "train_rule", spy)
    plan = replace(PLAN, labels="recording", rule=rule, model="tvgg-gap")
    with pytest.raises(InterruptedError):
        fit.fit_model(plan, loaded, list(loaded))
    whose = {x.tobytes(): e.subject for e, w in loaded.items() for x in w.data}
    drawn = dict.fromkeys("abcde", 0.0)
    for x, weight in zip(seen["x"][:].numpy(), seen["weights"], strict=True):
        drawn[whose[x.tobytes()]] += float(weight)
    classes = [[drawn[n] for n in names] for names in ("ade", "bc")]
    for of_class in classes:
        np.testing.assert_allclose(of_class, of_class[0], rtol=1e-5)
    ratio = float(seen["criterion"].pos_weight) if rule == "backprop" else 1
    assert sum(classes[0]) == pytest.approx(ratio * sum(classes[1]))


def test_targets_are_annotated_discharges_or_the_diagnosis() -> None:
    patient, control = windows_of(1, 0), windows_of(0, 0)
    assert fit.targets(patient, "events").tolist() == [True, False, True, False, False, False]
    assert fit.targets(patient, "recording").tolist() == [True] * 6
    for labels in ("events", "recording"):
        assert fit.targets(control, labels).tolist() == [False] * 6
    with pytest.raises(DataError, match="no annotated discharges; use --labels recording"):
        fit.targets(replace(patient, events=None), "events")


def test_examples_are_whole_and_half_steps_without_the_unclear_ones() -> None:
    onset, duration = np.array([0.2, 0.95, 3.7, 4.2]), np.array([0.1, 0.1, 0.1, 2.0])
    windows = replace(windows_of(0, 1), events=(onset, duration))
    signal = windows.data.swapaxes(0, 1).reshape(4, -1)
    slow = []
    for start in [*range(0, 6 * 128, 128), *range(64, 5 * 128, 128)]:
        a, b = start / 128, start / 128 + 1
        shares = [max(0.0, min(b, o + d) - max(a, o)) / d for o, d in zip(onset, duration, strict=True)]
        if max(shares) == 0 or max(shares) >= 0.9:
            slow.append((signal[:, start : start + 128], max(shares) >= 0.9))
    examples, positive = training_examples(windows)
    data = examples[:]
    np.testing.assert_array_equal(data, [x for x, _ in slow])
    assert positive.tolist() == [y for _, y in slow]
    assert 0 < positive.sum() < len(positive)


@pytest.mark.parametrize("labels", ["events", "recording"])
def test_epochs_are_those_asked_for_or_the_recipes(labels: str) -> None:
    plan = replace(PLAN, labels=labels)  # type: ignore[arg-type]
    assert recipe(plan).learn.epochs_for(3) == 1
    assert recipe(replace(plan, epochs=None)).learn.epochs_for(10) > 50


def trains(rule: str) -> None:
    data = list(tiny(4).values())
    network = fit.fit_network(replace(PLAN, rule=rule), data)
    logits = fit.network_logits(network, data[0].data)
    assert logits.shape == (6,)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("rule", ["backprop", "softhebb", "dfa"])
def test_rules_train_t_vgg(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_readouts(monkeypatch)
    trains(rule)


@pytest.mark.slow
@pytest.mark.parametrize("rule", list_rules())
def test_every_registered_rule_trains_t_vgg(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_readouts(monkeypatch)
    trains(rule)


def test_a_diverged_training_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(2)
    monkeypatch.setattr(cross_validation, "network_logits", lambda network, x: np.full(len(x), np.nan))
    with pytest.raises(DataError, match="fold 2: the training diverged"):
        cross_validation.score_recordings(nn.Identity(), loaded, list(loaded), "fold 2", "top")


# --- bags, fine-tuning and features


BAG = replace(PLAN, labels="bag", model="tvgg-gap", epochs=2)


def test_bags_train_the_network_itself_and_repeatably() -> None:
    data = list(tiny(4).values())
    torch.manual_seed(2)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    once = fit.fit_network(BAG, data)
    assert torch.equal(torch.rand(1), drawn)
    assert same_state(once, fit.fit_network(BAG, data))
    assert not same_state(once, fit.fit_network(replace(BAG, seed=1), data))
    assert not same_state(once, fit.fit_network(replace(BAG, aggregation="noisy-or"), data))
    assert fit.network_logits(once, data[0].data).shape == (6,)


@pytest.mark.slow
def test_bags_find_the_windows_that_make_the_difference() -> None:
    """Two of eight windows of a patient contain a bump: only these differ, and no label locates it."""
    data = [windows_of(i % 2, i, 8) for i in range(24)]
    network = fit.fit_network(replace(BAG, aggregation="top", epochs=60), data)
    unseen = [windows_of(1, 100 + i, 8) for i in range(6)]
    for w in unseen:
        assert set(np.argsort(fit.network_logits(network, w.data))[-2:]) == {0, 2}


def test_a_subject_has_one_bag_for_any_number_of_recordings() -> None:
    loaded = tiny(4, recordings=3)
    bags = fit.training_windows(BAG, loaded, list(loaded))
    assert [len(w.data) for w in bags] == [18] * 4
    assert [w.label for w in bags] == [0, 1, 0, 1]
    mine = [w.data for e, w in loaded.items() if e.subject == "s2"]
    np.testing.assert_array_equal(bags[2].data, np.concatenate(mine))
    assert fit.training_windows(PLAN, loaded, list(loaded)) == list(loaded.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"finetune": True},
            "--finetune: follows a rule without labels, and --rule backprop learns with labels",
        ),
        ({"preprocessing": Preprocessing(TEN_TWENTY, reference="bipolar")}, "--augment head-rotation: needs"),
        ({"labels": "bag", "rule": "dfa"}, "--labels bag: need --rule backprop, not dfa"),
        ({"labels": "bag", "rule": "oja"}, "--labels bag: need --rule backprop, not oja"),
        ({"labels": "bag", "aggregation": "chosen"}, "cannot be learned through --aggregation chosen"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(wrong: dict[str, object], message: str) -> None:
    plan = replace(PLAN, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        plan.check()
    with pytest.raises(ValueError, match=message):
        fit.fit_network(plan, list(tiny(4).values()))


@pytest.mark.parametrize("labels", ["events", "recording", "bag"])
def test_fine_tuning_begins_where_the_rule_without_labels_ends(
    labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[nn.Module]] = {}

    def note(rule: nn.Module, phase: object, batches: Batches, *rest: object) -> None:
        if rest[-1] == "pretrain":
            seen["x"] = [batches.x]  # type: ignore[list-item]
        descend(rule, phase, batches, *rest)  # type: ignore[arg-type]
        if rest[-1] == "pretrain":
            seen["weights"] = [copy.deepcopy(rule.model)]

    monkeypatch.setattr(fit, "descend", note)
    still = replace(
        recipe(PLAN), learn=replace(recipe(PLAN).learn, optimizer=partial(torch.optim.SGD, lr=0.0))
    )
    monkeypatch.setattr(fit, "recipe", lambda plan: still if plan.rule == "backprop" else recipe(plan))
    plan = replace(PLAN, labels=labels, rule="softhebb", finetune=True)  # type: ignore[arg-type]
    data, more = list(tiny(4).values()), [np.zeros((7, 4, 128), np.float32)]
    network = fit.fit_network(plan, data, unlabelled=more)
    learned = sum(len(training_examples(w)[0]) if labels == "events" else 6 for w in data)
    assert len(seen["x"][0]) == learned + 7  # type: ignore[arg-type]
    pairs = zip(network.parameters(), seen["weights"][0].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)  # at the rate 0 fine-tuning adds nothing
    fresh = fit.fit_network(replace(plan, rule="backprop", finetune=False), data)
    assert not torch.equal(network[0][1].weight, fresh[0][1].weight)  # type: ignore[index]


def test_recordings_without_a_diagnosis_are_for_pre_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = dict(tiny(4))
    unknown = Entry(Path("u.edf"), "u", None)
    loaded[unknown] = replace(windows_of(0, 99), label=None)
    seen = {}

    def spy(
        plan: Plan, data: list[Windows], callbacks: object, unlabelled: list[np.ndarray], counts: object
    ) -> nn.Module:
        seen["labelled"], seen["unlabelled"] = len(data), unlabelled
        return nn.Sequential(nn.Flatten(), nn.Linear(4 * 128, 1))

    monkeypatch.setattr(fit, "fit_network", spy)
    fit.fit_model(PLAN, loaded, [e for e in loaded if e.label is not None])
    assert seen["labelled"] == 4
    np.testing.assert_array_equal(seen["unlabelled"], [loaded[unknown].data])


def test_no_recording_of_a_test_subject_is_trained_on_with_or_without_a_diagnosis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = dict(tiny(4))
    more = {
        replace(e, path=Path(f"more-{e.subject}.edf"), label=None): windows_of(0, 99 + i)
        for i, e in enumerate(known)
    }
    seen: list[list[np.ndarray]] = []

    def spy(
        plan: Plan, data: list[Windows], callbacks: object, unlabelled: list[np.ndarray], counts: object
    ) -> nn.Module:
        seen.append(unlabelled)
        return nn.Sequential(nn.Flatten(), nn.Linear(4 * 128, 1))

    monkeypatch.setattr(fit, "fit_network", spy)
    train, test = split_folds(list(known), 2, 0)[0]
    fit.fit_model(PLAN, {**known, **more}, train)
    trained = {e.subject for e in train}
    np.testing.assert_array_equal(seen[0], [w.data for e, w in more.items() if e.subject in trained])
    assert len(seen[0]) == len(test) == 2


def test_a_feature_model_takes_a_networks_place() -> None:
    loaded = tiny(16)
    plan = replace(PLAN, labels="recording", aggregation="mean", model="tangent")
    scored = cross_validation.cross_validate(plan, loaded, split_folds(list(loaded), 2, 0))
    train, test = split_folds(list(loaded), 2, 0)[0]
    model = FEATURES["tangent"](128.0, 0).fit(
        [loaded[e].data for e in train], np.array([e.label for e in train])
    )
    found = {s.entry: s for s in scored}
    for e in test:
        np.testing.assert_array_equal(found[e].logits, np.full(6, model(loaded[e].data)))
        assert cross_validation.recording_score(found[e]) == pytest.approx(model(loaded[e].data))


# --- cross-validation


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


# --- figures


def made_up(recordings: int = 2) -> list[Scored]:
    rng = np.random.default_rng(0)
    return [
        Scored(
            e, f"fold {1 + int(e.subject[1:]) // 4}", w, (e.label or 0) + rng.normal(size=len(w.data)), "top"
        )
        for e, w in tiny(8, recordings).items()
    ]


def test_the_score_of_a_subject_is_the_mean_over_recordings() -> None:
    scored = made_up()
    scores, labels, names = cross_validation.subject_scores([replace(s, aggregation="mean") for s in scored])
    assert names == [f"s{i}" for i in range(8)]
    assert labels.tolist() == [0, 1] * 4
    for name, found in zip(names, scores, strict=True):
        assert found == pytest.approx(np.mean([s.logits.mean() for s in scored if s.entry.subject == name]))


def test_figures_of_all_three_levels_are_those_of_their_rows() -> None:
    scored = made_up()
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    assert (found.subjects, found.epilepsy) == (8, 4)
    rows = {
        "windows": [
            (y, z) for s in scored for y, z in zip(fit.targets(s.windows, "events"), s.logits, strict=True)
        ],
        "recordings": [(s.entry.label, pool_logits("top", s.logits)) for s in scored],
        "subjects": [
            (i % 2, np.mean([pool_logits("top", s.logits) for s in scored if s.entry.subject == f"s{i}"]))
            for i in range(8)
        ],
    }
    for level, pairs in rows.items():
        assert found.levels[level]["roc_auc"].value == pytest.approx(roc_auc_score(*zip(*pairs, strict=True)))
        assert found.levels[level]["roc_auc"].low <= found.levels[level]["roc_auc"].high
    assert found.baselines[next(iter(found.baselines))].value == 1  # the bumps are easily seen by amplitude
    assert found.audit.findings == ()  # no dates, no confounds


def test_without_a_calibration_a_fold_is_decided_by_the_others() -> None:
    scored = made_up(1)
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    right: dict[int, list[bool]] = {0: [], 1: []}
    for s in scored:
        scores, labels, _ = cross_validation.subject_scores([o for o in scored if o.part != s.part])
        decided = calibration.fit_calibration(scores, labels).logit(pool_logits("top", s.logits), 0.5) > 0
        right[s.entry.label or 0].append(bool(decided) == bool(s.entry.label))
    expected = np.mean([np.mean(v) for v in right.values()])
    for level in ("recordings", "subjects"):
        assert found.levels[level]["balanced_accuracy"].value == pytest.approx(expected)


@pytest.mark.usefixtures("few_resamples")
def test_with_a_calibration_the_decision_is_at_even_prevalence() -> None:
    """A score that is 5 for all controls and 7 for all patients, and a calibration that parts them at 6."""
    scored = [replace(s, logits=np.full(6, 5.0 + 2 * (s.entry.label or 0))) for s in made_up(1)]
    parting = Calibration(2.0, -12.0 + math.log(0.1 / 0.9), 0.1, 50)
    assert (
        compute_results(PLAN, scored, parting, folds=2, confounds={})
        .levels["subjects"]["balanced_accuracy"]
        .value
        == 1
    )
    late = replace(parting, intercept=parting.intercept - 4)
    assert (
        compute_results(PLAN, scored, late, folds=2, confounds={})
        .levels["subjects"]["balanced_accuracy"]
        .value
        == 0.5
    )


def test_discharges_in_no_window_leave_the_windows_without_figures() -> None:
    scored = [replace(s, windows=replace(s.windows, events=NOTHING)) for s in made_up(1)]
    found = compute_results(PLAN, scored, None, folds=2, confounds={})
    assert math.isnan(found.levels["windows"]["roc_auc"].value)
    assert not math.isnan(found.levels["subjects"]["roc_auc"].value)
    assert "nan" in describe_results(found, PLAN)


def test_risk_is_reported_at_each_coverage() -> None:
    """Four fifths are as sure as each other: a quarter of all has no defined risk."""
    found = compute_results(PLAN, made_up(1), None, folds=2, confounds={})
    risk = "selective risk (error rate of the most certain fraction of the decisions, at prevalence 0.5): "
    tied = replace(found, coverage=(0.8, 1.0), risk=(0.25, 0.5))
    assert describe_risk(tied) == f"{risk}25% at coverage 80%, 50% at coverage 100%"
    assert describe_risk(replace(found, coverage=(1.0,), risk=(0.5,))) == f"{risk}50% at coverage 100%"


# --- a run


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


@pytest.mark.parametrize("labels", ["events", "recording", "bag"])
def test_weights_are_the_same_from_mapped_recordings(labels: str, tmp_path: Path) -> None:
    plan = replace(PLAN, labels=labels, augment=("background-mix",), aggregation="noisy-or", epochs=1)  # type: ignore[arg-type]
    training = [*tiny(4).values()]
    mapped = [
        replace(w, data=large_arrays.to_file(w.data, tmp_path / f"{i}.npy")) for i, w in enumerate(training)
    ]
    one, other = (fit.fit_network(plan, of).state_dict() for of in (training, mapped))
    assert all(torch.equal(one[name], other[name]) for name in one)
