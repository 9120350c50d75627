"""Image sets are read from their published files; damaged files are refused in one line."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.datasets import load_digits

from trainers import DataError, load_images
from trainers.data.images import read_idx


def idx(a):
    return struct.pack(f">HBB{a.ndim}I", 0, 8, a.ndim, *a.shape) + a.tobytes()


@given(a=arrays(np.uint8, array_shapes(max_dims=3, max_side=5)), zipped=st.booleans())
def test_idx_is_read_back(tmp_path_factory, a, zipped):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(idx(a), mtime=0) if zipped else idx(a))
    np.testing.assert_array_equal(read_idx(path), a)


WHOLE = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("name", "blob", "found"),
    [
        ("a", b"", "starts with nothing"),
        ("a", b"\x89PNG" + WHOLE, "starts with 89504e47"),
        ("a", WHOLE[:2] + b"\x0d" + WHOLE[3:], "starts with 00000d03"),
        ("a", WHOLE[:9], "ends inside its header"),
        ("a", WHOLE[:-1], ": 23 values, expected 24"),
        ("a", WHOLE + b"x", ": 25 values, expected 24"),
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
    with pytest.raises(DataError, match=r": no train-images-idx3-ubyte or \S+\.gz"):
        load_images("mnist", tmp_path)
    with pytest.raises(DataError, match="no folder given"):
        load_images("mnist")
    with pytest.raises(
        ValueError, match="no images named 'faces'; known: digits, mnist, fashion-mnist, cifar10"
    ):
        load_images("faces", tmp_path)
    write_mnist(tmp_path, labels=3)
    with pytest.raises(DataError, match=r"test images are uint8 \(4, 28, 28\) and their labels \(3,\)"):
        load_images("mnist", tmp_path)


def colours(n, seed):
    """Return images (n, 3, 32, 32) and labels (n,)."""
    g = np.random.default_rng(seed)
    return g.integers(0, 256, (n, 3, 32, 32), np.uint8), g.integers(0, 10, n, np.uint8)


def write_cifar(folder):
    """Write CIFAR-10's binary version byte by byte; return all training images and labels."""
    parts = []
    for i, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
        x, y = colours(2 + i, i)
        with (folder / name).open("wb") as file:
            for image, label in zip(x, y, strict=True):
                file.write(bytes([label]))
                for channel in image:
                    for row in channel:
                        file.write(bytes(row.tolist()))
        parts.append((x, y))
    return np.concatenate([x for x, _ in parts[:5]]), np.concatenate([y for _, y in parts[:5]])


def test_cifar_comes_from_its_binary_batches_in_order(tmp_path):
    x, y = write_cifar(tmp_path)
    images = load_images("cifar10", tmp_path)
    assert images.x_train.dtype == torch.float32
    np.testing.assert_array_equal(np.rint(images.x_train.numpy() * 255), x)
    np.testing.assert_array_equal(images.y_train.numpy(), y)
    assert images.x_test.shape == (7, 3, 32, 32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda blob: b"", ": 0 bytes"),
        (lambda blob: blob[:-1], r": 12291 bytes; expected a multiple of 3073"),
        (lambda blob: b"\x0a" + blob[1:], "a label is 10"),
    ],
)
def test_a_damaged_batch_of_cifar_is_named_in_one_line(tmp_path, damage, message):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load_images("cifar10", tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_batch_of_cifar_is_named(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r": no test_batch\.bin"):
        load_images("cifar10", tmp_path)


def test_one_archive_has_the_same_content(tmp_path):
    x, y = colours(4, 0)
    last = x.transpose(0, 2, 3, 1)  # colours last and labels in a column, as Keras has them
    np.savez(
        tmp_path / "cifar10.npz", x_train=last[:3], y_train=y[:3, None], x_test=last[3:], y_test=y[3:, None]
    )
    grey = {"x_train": x[:, 0], "y_train": y, "x_test": x[:, 1], "y_test": y}
    np.savez_compressed(tmp_path / "fashion_mnist.npz", **grey)
    images = load_images("cifar10", tmp_path)
    assert images.x_train.is_contiguous()
    np.testing.assert_array_equal(np.rint(images.x_train.numpy() * 255), x[:3])
    np.testing.assert_array_equal(images.y_train.numpy(), y[:3])
    assert load_images("fashion-mnist", tmp_path).x_test.shape == (4, 32, 32)


@pytest.mark.parametrize("kind", ["no zip", "cut", "an array is missing", "pickled", "floats"])
def test_a_damaged_archive_is_named_in_one_line(tmp_path, kind):
    x, y = colours(4, 0)
    arrays = {"x_train": x[:, 0], "y_train": y, "x_test": x[:, 0], "y_test": y}
    if kind == "an array is missing":
        del arrays["y_test"]
    if kind == "pickled":
        arrays["y_test"] = np.array([{}], dtype=object)
    if kind == "floats":
        arrays["x_train"] = x[:, 0] / 255
    path = tmp_path / "mnist.npz"
    np.savez(path, **arrays)
    if kind == "no zip":
        path.write_bytes(b"text")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError) as caught:
        load_images("mnist", tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
