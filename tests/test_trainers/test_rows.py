"""Rows of several arrays are indexed as their concatenation."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.optim import Adam

from trainers import Batches, Phase, Recipe, TrainingData, mlp, train_rule
from trainers.data.batches import require_finite, tensor_digest
from trainers.data.rows import Rows

_PHASE = Phase(partial(Adam, lr=0.01), epochs=2, batch=20)
RECIPE = Recipe(_PHASE, readout=_PHASE)


def split(x: torch.Tensor, lengths: list[int]) -> Rows:
    return Rows([part.numpy() for part in x.split(lengths)])


@given(st.lists(st.integers(0, 5), min_size=1).filter(any), st.data())
def test_rows_are_those_of_the_concatenation(lengths: list[int], data: st.DataObject) -> None:
    x = torch.arange(sum(lengths) * 6.0).view(-1, 2, 3)
    rows = split(x, lengths)
    assert (len(rows), rows.shape, rows.dtype) == (len(x), x.shape, x.dtype)
    index = torch.tensor(data.draw(st.lists(st.integers(0, len(x) - 1))), dtype=torch.int64)
    assert torch.equal(rows[index], x[index])
    piece = data.draw(st.slices(len(x)).filter(lambda piece: (piece.step or 1) > 0))
    assert torch.equal(rows[piece], x[piece])
    assert all(torch.equal(one, other) for one, other in zip(rows.split(4), x.split(4), strict=True))
    assert tensor_digest([rows]) == tensor_digest([x])


def test_rows_refuse_what_is_no_row() -> None:
    rows = Rows([np.zeros((3, 2))])
    for index in (torch.tensor([3]), torch.tensor([-1]), torch.ones(3, dtype=torch.bool)):
        with pytest.raises(IndexError, match="expected integers from 0 to 2"):
            rows[index]
    for arrays in ([], [np.zeros((3, 2)), np.zeros((3, 1))], [np.zeros(1), np.zeros(1, np.float32)]):
        with pytest.raises(ValueError, match="expected arrays with rows of one"):
            Rows(arrays)
    with pytest.raises(ValueError, match="x: sample 2 "):
        require_finite("x", Rows([np.zeros((2, 2)), np.full((1, 2), np.nan)]))


@pytest.mark.parametrize("name", ["backprop", "softhebb", "fa"])
def test_weights_are_those_learned_from_one_tensor(name: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(90, 12, generator=generator), torch.randint(3, (90,), generator=generator)
    parts = []
    for i, part in enumerate(x.split([1, 29, 60])):
        np.save(tmp_path / f"{i}.npy", part)
        parts.append(np.load(tmp_path / f"{i}.npy", mmap_mode="c"))
    learned = []
    for data in (x, Rows(parts)):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = mlp(12, [20], 3)
        train_rule(name, model, TrainingData(data, y, 3), RECIPE)
        learned.append(model.state_dict())
    assert all(torch.equal(learned[0][key], learned[1][key]) for key in learned[0])


def test_batches_augment_gathered_rows() -> None:
    x = torch.rand(20, 3)

    def noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + torch.rand(x.shape, generator=generator)

    one, other = (
        [b for b, _ in Batches(data, None, 8, torch.Generator().manual_seed(0), augment=noise)]
        for data in (x, split(x, [5, 15]))
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
