"""Training of one network: the same bits again, both classes and all subjects count the same, every rule."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eeg import large_arrays
from eeg.datasets import Entry
from eeg.datasets.splits import split_folds
from eeg.io.electrodes import TEN_TWENTY
from eeg.models.features import FEATURES
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows, training_examples
from eeg.training import cross_validation, fit
from eeg.training.plan import Plan, recipe
from tests.helpers import FEED_FORWARD, same_state
from tests.test_eeg.test_training.tiny import PLAN, tiny, windows_of
from trainers.data.batches import Batches, TrainingData
from trainers.errors import DataError
from trainers.phases import descend
from trainers.recipes import Recipe


def shorten_readouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train readouts for one epoch, not for the 3000 steps of a recipe."""

    def short(plan: Plan) -> Recipe:
        full = recipe(plan)
        return replace(full, readout=replace(full.readout, epochs=1, least_steps=0))

    monkeypatch.setattr(fit, "recipe", short)


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
@pytest.mark.parametrize("rule", FEED_FORWARD)
def test_every_registered_rule_trains_t_vgg(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_readouts(monkeypatch)
    trains(rule)


def test_a_diverged_training_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny(2)
    monkeypatch.setattr(cross_validation, "network_logits", lambda network, x: np.full(len(x), np.nan))
    with pytest.raises(DataError, match="fold 2: the training diverged"):
        cross_validation.score_recordings(nn.Identity(), loaded, list(loaded), "fold 2", "top")


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


@pytest.mark.parametrize("labels", ["events", "recording", "bag"])
def test_weights_are_the_same_from_mapped_recordings(labels: str, tmp_path: Path) -> None:
    plan = replace(PLAN, labels=labels, augment=("background-mix",), aggregation="noisy-or", epochs=1)  # type: ignore[arg-type]
    training = [*tiny(4).values()]
    mapped = [
        replace(w, data=large_arrays.to_file(w.data, tmp_path / f"{i}.npy")) for i, w in enumerate(training)
    ]
    one, other = (fit.fit_network(plan, of).state_dict() for of in (training, mapped))
    assert all(torch.equal(one[name], other[name]) for name in one)
