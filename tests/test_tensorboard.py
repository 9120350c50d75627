"""What is written is read back with TensorBoard's own reader; pictures are checked pixel by pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from hebbian import Backprop, Hebbian, oja
from trainers import Batches, Trainer
from visualizers import TensorBoard, receptive_fields


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0, "scalars": 0})
    events.Reload()
    return events


def fit(rule, folder, epochs, phase, held=None, image=None):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 6, generator=g), torch.randint(0, 2, (8,), generator=g)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.25)
    with TensorBoard(folder, image) as board:
        Trainer(rule, optimizer, [board], phase).fit(Batches(x, y, 4), epochs, held)


def net():
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


def steps(events):
    return [event.step for event in events]


def test_curves_and_weights_of_a_supervised_phase(tmp_path):
    model = net()
    held = torch.randn(4, 6), torch.randint(0, 2, (4,))
    fit(Backprop(model, F.cross_entropy), tmp_path, 5, "train", held, image=(2, 3))
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == {"train/objective", "train/accuracy", "train/learning_rate/0"}
    assert steps(events.Scalars("train/objective")) == [1, 2, 3, 4, 5]
    assert {e.value for e in events.Scalars("train/learning_rate/0")} == {0.25}
    right = (model(held[0]).argmax(1) == held[1]).double().mean().item()
    assert events.Scalars("train/accuracy")[-1].value == pytest.approx(right)
    assert set(events.Tags()["histograms"]) == {"train/weights/0", "train/weights/2"}
    assert steps(events.Histograms("train/weights/0")) == [1, 2, 4, 5]
    last = events.Histograms("train/weights/0")[-1].histogram_value
    assert (last.num, last.max) == (30, pytest.approx(model[0].weight.max().item()))
    assert steps(events.Images("train/receptive_fields/0")) == [1, 2, 4, 5]


def test_the_scalar_of_a_rule_without_a_loss_is_not_drawn(tmp_path):
    fit(Hebbian(net(), {"0": oja}), tmp_path, 1, "features")
    events = read(tmp_path)
    assert events.Tags()["scalars"] == ["features/learning_rate/0"]
    assert events.Tags()["images"] == []


def test_a_readout_alone_has_no_picture_and_a_plain_tag(tmp_path):
    fit(Backprop(nn.Linear(6, 2), F.cross_entropy), tmp_path, 1, "readout", image=(28, 28))
    assert read(tmp_path).Tags()["histograms"] == ["readout/weights"]
    assert read(tmp_path).Tags()["images"] == []


def test_ten_pictures_hold_a_run_of_512_epochs():
    # epochs 1, 2, 4 ... 512 are ten; TensorBoard keeps no more a tag
    assert sum(epoch.bit_count() == 1 for epoch in range(1, 513)) == 10


def test_kernels_of_a_first_convolution_are_shown(tmp_path):
    model = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    fit(Backprop(model, F.cross_entropy), tmp_path, 1, "train")
    (image,) = read(tmp_path).Images("train/receptive_fields/1")
    assert (image.height, image.width) == (2 * 2 + 1, 2 * 3 + 1)  # 4 kernels of 2 channels x 3 samples


def test_receptive_fields_are_red_for_positive_and_blue_for_negative():
    w = np.array([[[4.0, -4.0, 2.0]], [[0.0, -1.0, 0.5]], [[0.0, 0.0, 0.0]]])
    page = receptive_fields(w)
    assert page.shape == (3, 3, 7)
    red, blue, white, pink = [1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 0.5, 0.5]
    expected = [
        [red, blue, pink, white, white, blue, pink],
        [white] * 7,
        [white] * 7,
    ]
    np.testing.assert_allclose(page.transpose(1, 2, 0), expected)


def test_receptive_fields_show_the_first_units_only():
    assert receptive_fields(np.ones((100, 2, 2)), most=9).shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"must be \(units, height, width\), got \(3, 4\)"):
        receptive_fields(np.ones((3, 4)))
