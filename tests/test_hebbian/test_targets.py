"""What counts as classes, and where the settings of settling begin."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Krotov, PredictiveCoding
from hebbian.rule import has_classes


@pytest.mark.parametrize(
    ("k", "y", "expected"),
    [
        (3, [0, 2], True),
        (3, [0, 3], False),
        (3, [-1, 2], False),
        (1, [0, 1], True),
        (1, [0, 2], False),
        (1, [0.0, 1.0], True),
        (1, [0.0, 0.5], False),
        (2, [0.0, 1.0], False),
        (2, [0.0, 0.5], False),
        (2, [[0], [1]], True),
        (2, [0, 1, 1], False),
        (2, [], False),
    ],
)
def test_classes_are_integers_below_their_number_or_0_and_1_of_one_logit(k, y, expected):
    assert has_classes(torch.zeros(2 if y else 0, k), torch.tensor(y)) is expected


def test_the_least_settings_are_allowed():
    assert Krotov(k=1, p=1.0).p == 1
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    assert PredictiveCoding(model, F.cross_entropy, steps=1, rate=1e-9).steps == 1


@pytest.mark.parametrize("settings", [{"steps": 0}, {"rate": 0.0}, {"rate": -0.1}])
def test_settling_needs_a_step_and_a_rate(settings):
    with pytest.raises(ValueError, match="steps must be at least 1 and rate positive"):
        PredictiveCoding(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), F.cross_entropy, **settings)
