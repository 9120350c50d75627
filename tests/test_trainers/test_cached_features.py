"""Inputs of the part that learns: the same from memory, from a file and recomputed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from trainers.cached_features import Cache, Feed
from trainers.data.batches import TrainingData
from trainers.errors import DataError

MAPS = Path("/proc/self/maps")
X = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))


def part():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


def feed_of(**more):
    return Feed(TrainingData(X, torch.zeros(len(X)), 2, **more))


def shift(x, generator):
    return x + torch.rand((), generator=generator)


@given(batch=st.integers(1, 40), limit=st.sampled_from([0, 1 << 20]))
def test_outputs_are_those_of_the_part_in_eval_mode(batch, limit):
    model = part()
    model[2].eval()
    statistics = model[1].running_mean.clone()
    kept = Cache(limit)(model, X, batch)
    assert [m.training for m in model] == [True, True, False]
    assert torch.equal(model[1].running_mean, statistics)
    torch.testing.assert_close(kept, model.eval()(X))
    assert not kept.requires_grad


@pytest.mark.skipif(not MAPS.exists(), reason="needs Linux's list of mapped files")
def test_the_file_is_used_above_the_limit_and_deleted_with_the_tensor(tmp_path):
    size = 30 * 4 * 4
    cached = Cache(size, tmp_path)(part(), X)
    assert str(tmp_path) not in MAPS.read_text()
    mapped = Cache(size - 1, tmp_path)(part(), X)
    assert str(tmp_path) in MAPS.read_text()
    assert not list(tmp_path.iterdir())
    assert torch.equal(mapped, cached)
    del mapped
    assert str(tmp_path) not in MAPS.read_text()


def test_a_folder_that_cannot_take_the_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="nowhere: cannot create a file for features"):
        Cache(0, tmp_path / "nowhere")(part(), X)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 479}))
    with pytest.raises(DataError, match="no space for 480 bytes"):
        Cache(0, tmp_path)(part(), X)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="x is empty"):
        Cache()(part(), X[:0])


def test_the_part_below_gets_augmented_inputs():
    """Written out: alter, then pass; the draws come from the same generator."""
    model = part()
    feed = feed_of(augment=shift).through(model[:1]).through(model[1:])
    alter = feed.augment_batch()
    found = alter(X, torch.Generator().manual_seed(3))
    expected = model.eval()(shift(X, torch.Generator().manual_seed(3)))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(feed.example(), model(X[:2]))
    assert torch.equal(feed.data.x, X)


def test_a_plain_feed_is_the_one_without_augmentation():
    model, held = part(), (X[:5], torch.arange(5))
    altered = feed_of(held_out=held, augment=shift).through(model).plain()
    plain = feed_of(held_out=held).through(model)
    assert altered.augment_batch() is None
    for a, b in (
        (altered.data.x, plain.data.x),
        (altered.data.held_out[0], plain.data.held_out[0]),
        (altered.example(), plain.example()),
    ):
        assert torch.equal(a, b)


def test_nothing_is_computed_or_copied_below_the_first_block():
    feed = feed_of()
    assert feed.through(nn.Sequential()) is feed
    assert feed.plain() is feed
    assert feed_of(augment=shift).plain().data.x is X
