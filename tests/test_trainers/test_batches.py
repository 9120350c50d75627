"""Batches cover the data; a split pairs inputs with classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from torch import nn
from torch.utils.data import TensorDataset

from trainers import Batches, Split, TrainingData, from_datasets


@given(n=st.integers(1, 30), size=st.integers(1, 12), shuffle=st.booleans(), drop_last=st.booleans())
def test_an_epoch_sees_every_sample_once(n, size, shuffle, drop_last):
    x = torch.arange(n)
    generator = torch.Generator().manual_seed(0) if shuffle else None
    found = list(Batches(x, 2 * x, size, generator, drop_last))
    assert len(found) == len(Batches(x, None, size, drop_last=drop_last))
    assert all(torch.equal(2 * a, b) for a, b in found)
    seen = [int(i) for a, _ in found for i in a]
    if drop_last:
        assert all(len(a) == size for a, _ in found)
        assert len(seen) == len(set(seen)) == n - n % size
    else:
        assert sorted(seen) == list(range(n))
    if not shuffle:
        assert seen == sorted(seen)


def test_each_epoch_has_its_own_order_and_a_seed_repeats_it():
    def orders():
        batches = Batches(torch.arange(50), None, 50, torch.Generator().manual_seed(3))
        return [next(iter(batches))[0].tolist() for _ in range(2)]

    first, second = orders()
    assert first != second
    assert [first, second] == orders()


def test_samples_are_drawn_in_proportion_to_their_weights():
    weights = torch.tensor([0.0, 1.0, 2.0, 5.0])
    batches = Batches(torch.arange(4), None, 4, torch.Generator().manual_seed(0), weights=weights)
    epochs = 2000
    counts = torch.bincount(torch.cat([x for _ in range(epochs) for x, _ in batches]), minlength=4)
    share = weights / weights.sum()
    spread = (4 * epochs * share * (1 - share)).sqrt()  # binomial
    assert ((counts - 4 * epochs * share).abs() <= 4 * spread).all()


def test_batches_refuse_what_cannot_be_paired():
    with pytest.raises(ValueError, match="same length, got 3 and 2"):
        Batches(torch.zeros(3), torch.zeros(2), 1)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Batches(torch.zeros(3), None, 0)
    with pytest.raises(ValueError, match=r"have the shape \(3,\), got \(2,\)"):
        Batches(torch.zeros(3), None, 1, torch.Generator(), weights=torch.ones(2))
    with pytest.raises(ValueError, match="need a generator"):
        Batches(torch.zeros(3), None, 1, weights=torch.ones(3))


def test_data_sets_from_python_are_read_into_memory():
    x, y = torch.rand(5, 2, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    split = from_datasets(TensorDataset(x, y), [(x[0].numpy(), 1)])
    assert split.x_train.dtype == torch.float32
    assert split.y_train.dtype == split.y_test.dtype == torch.int64
    assert torch.equal(split.x_train, x.float())
    assert torch.equal(split.y_train, y)
    assert torch.equal(split.x_test, x[:1].float())
    assert (split.y_test.tolist(), split.classes) == ([1], 3)


def test_a_split_refuses_what_cannot_be_paired():
    x, y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"test: classes have the shape \(2,\); expected \(3,\)"):
        Split(x, y, x, y[:2])
    with pytest.raises(ValueError, match=r"training samples are \(2,\), test samples \(1,\)"):
        Split(x, y, x[:, :1], y)
    with pytest.raises(ValueError, match="training or the test data are empty"):
        Split(x, y, x[:0], y[:0])
    for train, test, message in (
        ([0, -1, 1], [0, 0, 0], "training: classes range from -1 to 1; expected 0 to 1"),
        ([0, 1, 1], [0, 2, 1], "test: classes range from 0 to 2; expected 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Split(x, torch.tensor(train), x, torch.tensor(test))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": np.zeros(3, int)}, r"y_train is a ndarray, expected a tensor: use torch.as_tensor"),
        ({"x_test": [[0.0, 0.0]] * 3}, "x_test is a list, expected a tensor"),
        ({"x_train": torch.zeros(3, 2).double()}, r"x_train is of torch.float64, expected torch.float32"),
        ({"y_test": torch.zeros(3)}, r"y_test is of torch.float32, expected torch.int64: use y_test.to\("),
        ({"y_train": torch.zeros(3).int()}, r"y_train is of torch.int32, expected torch.int64"),
    ],
)
def test_a_split_states_the_type_that_it_needs(change, message):
    x, y = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(TypeError, match=message):
        Split(**{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **change})


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (np.zeros((4, 2)), None, "x is a ndarray"),
        ([[0.0], [1.0]], None, "x is a list"),
        (torch.zeros(2, 1), [0, 1], "y is a list"),
    ],
)
def test_batches_are_of_tensors(x, y, name):
    with pytest.raises(TypeError, match=f"{name}, expected a tensor: use torch.as_tensor"):
        Batches(x, y, 2)


def test_samples_that_are_not_finite_are_refused_and_named():
    x, y = torch.zeros(5000, 2, 3), torch.arange(5000) % 2
    x[4500, 1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"training: sample 4500 \(from 0\) is nan at \(1, 2\)"):
        Split(x, y, x[:4], y[:4])
    with pytest.raises(ValueError, match=r"test: sample 4500"):
        Split(x[:4], y[:4], x, y)
    with pytest.raises(ValueError, match=r"x: sample 4500"):
        Batches(x, y, 10)
    with pytest.raises(ValueError, match=r"y: sample 3 \(from 0\) is inf"):
        Batches(x[:4], torch.tensor([0, 1, 2, float("inf")]), 2)


@pytest.mark.parametrize("label", [-1, 3, 255, -100])
def test_labels_that_are_not_classes_are_refused(label):
    x, y = torch.zeros(3, 2), torch.tensor([0, 2, label])
    with pytest.raises(ValueError, match=f"label {label}; expected classes 0 to 2"):
        TrainingData(x, y, 3)
    assert TrainingData(x, y, 3, nn.CrossEntropyLoss(ignore_index=label)).y is y


@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits])
def test_labels_of_one_logit_are_0_or_1(criterion):
    x = torch.zeros(2, 2)
    for label in (-1.0, 255.0):
        with pytest.raises(ValueError, match="expected 0 and 1"):
            TrainingData(x, torch.tensor([[1.0], [label]]), 1, criterion)
    TrainingData(x, torch.tensor([[1.0], [0.5]]), 1, criterion)
