"""Arrays on disk equal arrays in memory, and are released in parts."""

import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from eeg import large_arrays


def on_disk(array: np.ndarray) -> bool:
    """Whether an array is a view of pages of a file."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


@pytest.fixture(params=[1, 2**28])
def array(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Rows (150, 3, 40) of known numbers, on disk or in memory."""
    monkeypatch.setattr(large_arrays, "LARGE", request.param)
    made = large_arrays.zeros((150, 3, 40), np.float32)
    assert on_disk(made) == (request.param == 1)
    assert not made.any()
    made[:] = np.arange(made.size).reshape(made.shape)
    return made


@pytest.mark.parametrize("rows", [1, 64, 150, 151])
def test_blocks_are_the_rows_in_order_and_can_be_written_to(array: np.ndarray, rows: int) -> None:
    blocks = list(large_arrays.row_blocks(array, rows))
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    np.testing.assert_array_equal(np.concatenate(blocks).ravel(), np.arange(array.size))
    for block in large_arrays.row_blocks(array, rows):
        block += 1
    np.testing.assert_array_equal(array.ravel(), 1 + np.arange(array.size))


def test_rows_are_taken_in_the_order_asked_for(array: np.ndarray) -> None:
    index = np.random.default_rng(0).integers(150, size=200)
    np.testing.assert_array_equal(large_arrays.take(array, index), array[index])


@given(st.integers(1, 300), st.integers(1, 50))
def test_some_rows_are_evenly_spread_and_no_more_than_asked_for(rows: int, most: int) -> None:
    found = large_arrays.subsample(np.arange(rows), most)
    assert len(found) <= most
    assert len(set(np.diff(found))) <= 1
    assert found[0] == 0
    assert rows - found[-1] <= -(-rows // most), "the end is looked at as well"
    if rows <= most:
        np.testing.assert_array_equal(found, np.arange(rows))


def test_an_array_on_file_is_as_its_file_after_every_release(tmp_path: Path) -> None:
    array = np.arange(100.0 * 8192).reshape(100, 8192)
    mapped = large_arrays.to_file(array, tmp_path / "kept.npy")
    for block in large_arrays.row_blocks(np.asarray(mapped)):
        block += 1
    np.testing.assert_array_equal(mapped, array)
    np.testing.assert_array_equal(np.load(tmp_path / "kept.npy"), array)
