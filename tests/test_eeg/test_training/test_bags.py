"""Bags: subjects and classes have equal weight; and a task that needs bags."""

import pytest
import torch
from torch import nn

from eeg.models.pooling import POOLINGS
from eeg.training.bags import Bags, Pooled


def bags(sizes: list[int], labels: list[int], **settings: int) -> Bags:
    """Bags of windows (3, 8) that hold the number of their subject."""
    subjects = [torch.full((n, 3, 8), float(i)) for i, n in enumerate(sizes)]
    generator = torch.Generator().manual_seed(0)
    return Bags(subjects, torch.tensor(labels), generator, **settings)


def test_the_score_of_a_bag_depends_on_its_windows_only() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(24, 1))
    x = torch.randn(4, 5, 3, 8)
    pooled = Pooled(network, POOLINGS["mean"])
    expected = torch.stack([network(bag).mean(0) for bag in x])
    torch.testing.assert_close(pooled(x), expected)
    nn.init.constant_(pooled.threshold, 2.0)
    torch.testing.assert_close(pooled(x), expected - 2)


def test_subjects_count_the_same_and_so_do_the_classes() -> None:
    """Of one patient among three controls, with recordings of 1 to 40 windows."""
    some = bags([40, 1, 3, 8], [1, 0, 0, 0], bags=4, windows=6)
    x, y = zip(*(batch for _ in range(20) for batch in some), strict=True)
    assert all(bag.shape == (4, 6, 3, 8) for bag in x)
    drawn = torch.cat(x)[:, :, 0, 0]
    assert (drawn == drawn[:, :1]).all()  # all windows of a bag are of one subject
    counts = torch.bincount(drawn[:, 0].long(), minlength=4)
    assert counts[0] == 40  # half of 20 batches of 4
    assert (counts[1:] >= 7).all()
    torch.testing.assert_close(torch.cat(y)[:, 0], (drawn[:, 0] == 0).float())


def test_no_window_is_drawn_twice_where_there_are_enough() -> None:
    subjects = [torch.arange(9.0)[:, None, None], torch.arange(9.0)[:, None, None]]
    for x, _ in Bags(subjects, torch.tensor([0, 1]), torch.Generator().manual_seed(1), 2, 9):
        assert (x.flatten(1).sort().values == torch.arange(9.0)).all()


def test_each_window_is_augmented_by_a_draw_of_its_own() -> None:
    def noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        assert x.shape == (12, 3, 8)
        return x + torch.rand((len(x), 1, 1), generator=generator)

    subjects = [torch.zeros(6, 3, 8)] * 2
    made = Bags(subjects, torch.tensor([0, 1]), torch.Generator(), 2, 6, noise)
    (x, _) = next(iter(made))
    assert len(x[:, :, 0, 0].unique()) == 12


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_odd_batch_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"bags = {number}: expected an even number"):
        bags([3, 3], [0, 1], bags=number)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="all subjects are of one class"):
        bags([3, 3], [1, 1])
