"""Batches cover the data; the IDX reader reads what is whole and refuses, in one line, what is not."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.datasets import load_digits

from trainers import Batches, DataError, load_images
from trainers.data import read_idx


def idx(a):
    return struct.pack(f">HBB{a.ndim}I", 0, 8, a.ndim, *a.shape) + a.tobytes()


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


def test_batches_refuse_what_cannot_be_paired():
    with pytest.raises(ValueError, match="equally long, got 3 and 2"):
        Batches(torch.zeros(3), torch.zeros(2), 1)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Batches(torch.zeros(3), None, 0)


@given(a=arrays(np.uint8, array_shapes(max_dims=3, max_side=5)), zipped=st.booleans())
def test_idx_is_read_back(tmp_path_factory, a, zipped):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(idx(a), mtime=0) if zipped else idx(a))
    np.testing.assert_array_equal(read_idx(path), a)


WHOLE = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("name", "blob", "found"),
    [
        ("a", b"", "begins with nothing"),
        ("a", b"\x89PNG" + WHOLE, "begins with 89504e47"),
        ("a", WHOLE[:2] + b"\x0d" + WHOLE[3:], "begins with 00000d03"),
        ("a", WHOLE[:9], "ends inside its header"),
        ("a", WHOLE[:-1], "holds 23 values, its header promises 24"),
        ("a", WHOLE + b"x", "holds 25 values, its header promises 24"),
        ("a.gz", WHOLE, "cannot be read"),
        ("a.gz", gzip.compress(WHOLE, mtime=0)[:-12], "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, blob, found):
    path = tmp_path / name
    path.write_bytes(blob)
    with pytest.raises(DataError, match=found) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def write_mnist(folder, labels=4):
    g = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 6), ("t10k", 4)):
        arrays[f"{part}-images-idx3-ubyte"] = g.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = g.integers(0, 10, n if part == "train" else labels).astype(
            np.uint8
        )
    for name, a in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(a), mtime=0))
    return arrays


def test_mnist_comes_from_its_four_files(tmp_path):
    wrote = write_mnist(tmp_path)
    images = load_images("mnist", tmp_path)
    assert images.x_train.dtype == images.x_test.dtype == torch.float32
    np.testing.assert_array_equal(np.rint(images.x_test.numpy() * 255), wrote["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(images.y_train.numpy(), wrote["train-labels-idx1-ubyte"])
    assert images.x_train.max() <= 1


def test_mnist_errors(tmp_path):
    with pytest.raises(DataError, match="found neither train-images"):
        load_images("mnist", tmp_path)
    with pytest.raises(DataError, match="no folder given"):
        load_images("mnist")
    write_mnist(tmp_path, labels=3)
    with pytest.raises(DataError, match=r"test images have shape \(4, 28, 28\) and their labels \(3,\)"):
        load_images("mnist", tmp_path)


def test_digits_are_split_by_class_and_whole():
    images, whole = load_images("digits"), load_digits()
    assert (images.x_train.min(), images.x_train.max(), images.classes) == (0, 1, 10)
    both = torch.cat([images.x_train, images.x_test]).double() * 16
    assert sorted(map(tuple, both.flatten(1).tolist())) == sorted(map(tuple, whole.data.tolist()))
    expected = 0.2 * np.bincount(whole.target)
    assert np.abs(torch.bincount(images.y_test).numpy() - expected).max() <= 1


@pytest.mark.skipif("HEBBIAN_DATA" not in os.environ, reason="needs MNIST: set HEBBIAN_DATA")
def test_the_real_mnist_has_its_known_counts():
    images = load_images("mnist", Path(os.environ["HEBBIAN_DATA"], "mnist"))
    assert torch.bincount(images.y_train)[:2].tolist() == [5923, 6742]
    assert torch.bincount(images.y_test)[:2].tolist() == [980, 1135]
    assert images.x_train.shape == (60000, 28, 28)
