"""For every rule a convolution is a linear layer on the patches of its input."""

import copy
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

from hebbian import registry
from tests.test_hebbian.every_rule import FEED_FORWARD, LINKED, SEEDS, build, data, holds_for, hushed
from tests.test_hebbian.helpers import assert_same

WITHOUT_GROUPS = [name for name in FEED_FORWARD if "no groups" in registry.find_rule(name).traits]


def assert_alike(name, one, other, x, y):
    """Two models whose weights are the same numbers in other shapes have the same updates."""
    one, other = build(name, one.double()), build(name, other.double())
    state = one.state_dict()
    other.load_state_dict({k: state[k].view_as(v) for k, v in other.state_dict().items()})
    expected = hushed(other, x, y)
    assert_same({k: g.view_as(expected[k]) for k, g in hushed(one, x, y).items()}, expected)


KERNELS = [(nn.Conv1d, (4, 5)), (nn.Conv1d, (20, 1)), (nn.Conv2d, (5, 2, 2)), (nn.Conv3d, (2, 5, 2, 1))]


@pytest.mark.parametrize("name", FEED_FORWARD)
@holds_for(seed=SEEDS, kernel=st.sampled_from(KERNELS))
def test_a_convolution_with_a_kernel_as_large_as_its_input_is_a_linear_layer(name, seed, kernel):
    make, (channels, *space) = kernel
    conv = nn.Unflatten(1, (channels, *space)), make(channels, 8, space), nn.Flatten(), nn.Tanh()
    linear = nn.Identity(), nn.Linear(20, 8), nn.Identity(), nn.Tanh()
    models = (nn.Sequential(nn.Sequential(*block), nn.Linear(8, 4)) for block in (conv, linear))
    assert_alike(name, *models, *data(7, torch.float64, seed))


class Patches(nn.Module):
    """The input patches of ``conv``, by plain indexing: (N, C, *space) -> (N, places, values)."""

    def __init__(self, conv):
        super().__init__()
        self.geometry = [conv]  # in a list it is no part of the model

    def forward(self, x):
        (conv,) = self.geometry
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
        reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        starts = [range(0, n - r + 1, s) for n, r, s in zip(x.shape[2:], reach, conv.stride, strict=True)]
        patches = []
        for corner in product(*starts):
            where = [slice(c, c + r, d) for c, r, d in zip(corner, reach, conv.dilation, strict=True)]
            patches.append(x[:, :, *where].flatten(1))
        return torch.stack(patches, 1)


class Transposed(nn.Module):
    """(N, places, values) -> (N, values, places)."""

    def forward(self, x):
        return x.mT


class Maps(nn.Module):
    """(N, places, channels) -> (N, channels, *space)."""

    def __init__(self, space):
        super().__init__()
        self.space = space

    def forward(self, u):
        return u.movedim(-1, 1).unflatten(2, self.space)


CONVOLUTIONS = {
    "stride, padding": (nn.Conv1d(2, 8, 4, stride=2, padding=1), (2, 12)),
    "same, reflect": (nn.Conv1d(4, 8, 3, padding="same", padding_mode="reflect"), (4, 6)),
    "dilation": (nn.Conv2d(2, 8, 3, padding=2, dilation=2), (2, 3, 4)),
    "circular, no bias": (
        nn.Conv2d(2, 8, (3, 2), stride=(2, 1), padding=(2, 1), padding_mode="circular", bias=False),
        (2, 4, 3),
    ),
    "three dimensions": (nn.Conv3d(3, 8, 2, stride=2, padding=1), (3, 2, 2, 2)),
}
GROUPED = {
    "two groups": (nn.Conv1d(4, 8, 3, stride=2, padding=1, groups=2), (4, 6)),
    "depthwise": (nn.Conv2d(3, 12, 2, padding=1, dilation=2, groups=3, padding_mode="replicate"), (3, 4, 2)),
    "in three dimensions": (nn.Conv3d(4, 8, 2, groups=2, bias=False), (4, 3, 2, 2)),
}


def assert_alike_on_patches(name, conv, shape, patches, layer, to_maps):
    """A convolution has the update of ``layer`` on ``patches``; ``to_maps`` arranges these."""
    values, maps = shape.numel(), conv(torch.zeros(1, *shape))
    folded = nn.Unflatten(1, shape), nn.Identity(), conv, nn.Identity(), nn.Tanh()
    unfolded = nn.Unflatten(1, shape), patches, layer, to_maps(maps.shape[2:]), nn.Tanh()
    torch.manual_seed(0)
    below, readout = nn.Sequential(nn.Linear(20, values), nn.Tanh()), nn.Linear(maps.numel(), 4)
    models = (
        nn.Sequential(below, nn.Sequential(*block), nn.Sequential(nn.Flatten(), readout))
        for block in (folded, unfolded)
    )
    assert_alike(name, *copy.deepcopy(tuple(models)), *data(7, torch.float64))


# The rules in LINKED refuse layers of our own; their own tests have convolutions.
TAUGHT_ON_PATCHES = [name for name in FEED_FORWARD if name not in LINKED]


@pytest.mark.parametrize("name", TAUGHT_ON_PATCHES)
@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in ("same, reflect", "dilation") else ())
        for name, case in CONVOLUTIONS.items()
    ],
)
def test_a_convolution_is_a_linear_layer_on_its_patches(name, conv, shape):
    linear = nn.Linear(conv.weight[0].numel(), conv.out_channels, bias=conv.bias is not None)
    assert_alike_on_patches(name, conv, torch.Size(shape), Patches(conv), linear, Maps)


@pytest.mark.parametrize("name", [n for n in TAUGHT_ON_PATCHES if n not in WITHOUT_GROUPS])
@pytest.mark.parametrize(("conv", "shape"), GROUPED.values(), ids=GROUPED)
def test_a_grouped_convolution_is_a_kernel_of_one_place_and_as_many_groups_on_its_patches(name, conv, shape):
    values = conv.groups * conv.weight[0].numel()
    one = nn.Conv1d(values, conv.out_channels, 1, groups=conv.groups, bias=conv.bias is not None)
    patches = nn.Sequential(Patches(conv), Transposed())
    assert_alike_on_patches(name, conv, torch.Size(shape), patches, one, lambda space: nn.Unflatten(2, space))


@pytest.mark.parametrize("name", WITHOUT_GROUPS)
def test_a_rule_that_needs_a_layer_without_groups_refuses_one_with_them(name):
    model = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 4))
    with pytest.raises(ValueError, match="groups=2"):
        registry.build(name, model, F.cross_entropy, example=torch.zeros(2, 4, 6), classes=4)
