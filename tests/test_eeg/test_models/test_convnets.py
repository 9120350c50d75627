"""The convolutional networks against the parameter counts of their papers, and their properties."""

import math

import pytest
import torch
from torch import nn

from eeg.models.convnets import deep4, eegnet, shallow
from hebbian.registry import build as rule_of


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# --- parameters: layer by layer as in the papers' tables, and in sum as published

NORM = 2  # parameters a map of a batch norm: scale and shift


@pytest.mark.parametrize(
    ("filters", "channels", "times", "outputs", "kernel", "published"),
    [
        (8, 64, 128, 2, 64, 2258),
        (8, 22, 256, 4, 32, 1716),
        (4, 64, 128, 2, 64, 1066),
        (4, 22, 256, 4, 32, 796),
    ],
)
def test_eegnet_has_the_parameters_of_its_paper(
    filters: int, channels: int, times: int, outputs: int, kernel: int, published: int
) -> None:
    """Lawhern et al. 2018, table 2 by layer, table 3 in sum: EEGNet-8,2 and -4,2 for P300 and SMR."""
    maps = 2 * filters  # D F1, and F2 = D F1
    layers = [
        filters * kernel,  # temporal convolution, without bias as all but the last
        filters * NORM,
        maps * channels,  # depthwise: each sees the channels of one temporal filter
        maps * NORM,
        maps * 16,  # separable: a kernel for each map ...
        maps * maps,  # ... and one weight from each to each
        maps * NORM,
        outputs * maps * (times // 32) + outputs,  # after the poolings by 4 and 8
    ]
    assert sum(layers) == published
    assert count(eegnet(channels, times, outputs, filters=filters, kernel=kernel)) == published


@pytest.mark.parametrize(
    ("channels", "times", "outputs", "kernel", "pool", "stride", "published"),
    [
        (64, 128, 2, 13, 35, 7, 104_002),  # Lawhern et al. 2018, table 3, P300
        (22, 256, 4, 13, 35, 7, 40_644),  # the same, SMR
        (22, 1125, 4, 25, 75, 15, 47_364),  # braindecode's ShallowFBCSPNet at 250 Hz
    ],
)
def test_shallow_has_the_parameters_of_its_paper(
    channels: int, times: int, outputs: int, kernel: int, pool: int, stride: int, published: int
) -> None:
    """Schirrmeister et al. 2017, figure 2, by layer."""
    pooled = len(range(0, times - kernel + 1 - pool + 1, stride))
    layers = [
        40 * kernel + 40,  # temporal convolution with bias
        40 * 40 * channels,  # spatial convolution, without for the batch norm's sake
        40 * NORM,
        outputs * 40 * pooled + outputs,
    ]
    assert sum(layers) == published
    assert count(shallow(channels, times, outputs, kernel=kernel, pool=pool, stride=stride)) == published


@pytest.mark.parametrize(
    ("channels", "times", "outputs", "kernel", "pool", "lengths", "published"),
    [
        (22, 1125, 4, 10, 3, (372, 121, 37, 9), 284_479),  # braindecode's Deep4Net at 250 Hz
        # Lawhern et al. 2018, table 3, P300; their four convolutions before a batch norm have a bias.
        (64, 128, 2, 5, 2, (62, 29, 12, 4), 174_127 - (25 + 50 + 100 + 200)),
    ],
)
def test_deep4_has_the_parameters_of_its_paper(
    channels: int,
    times: int,
    outputs: int,
    kernel: int,
    pool: int,
    lengths: tuple[int, ...],
    published: int,
) -> None:
    """Schirrmeister et al. 2017, figure 1, by layer; ``lengths`` are left after each of the four poolings."""
    assert [(before - kernel + 1) // pool for before in (times, *lengths[:3])] == list(lengths)
    layers = [
        25 * kernel + 25,  # temporal convolution with bias
        25 * 25 * channels,  # spatial convolution
        25 * NORM,
        *(50 * 25 * kernel, 50 * NORM),
        *(100 * 50 * kernel, 100 * NORM),
        *(200 * 100 * kernel, 200 * NORM),
        outputs * 200 * lengths[-1] + outputs,
    ]
    assert sum(layers) == published
    assert count(deep4(channels, times, outputs, kernel=kernel, pool=pool)) == published


# --- what they do


@pytest.mark.parametrize(("net", "shortest"), [(eegnet, 32), (shallow, 47), (deep4, 76)])
def test_windows_too_short_for_the_poolings_are_refused(net: type, shortest: int) -> None:
    assert net(3, shortest)(torch.zeros(2, 3, shortest)).shape == (2, 1)
    with pytest.raises(ValueError, match=f"windows of {shortest - 1} samples are too short"):
        net(3, shortest - 1)


@pytest.mark.parametrize("net", [eegnet, shallow, deep4])
@pytest.mark.parametrize(("channels", "outputs"), [(0, 1), (3, 0)])
def test_counts_must_be_positive(net: type, channels: int, outputs: int) -> None:
    with pytest.raises(ValueError, match=f"got {channels} and {outputs}"):
        net(channels, 128, outputs)


def test_the_features_of_shallow_are_log_power() -> None:
    """Ten times the signal is 100 times the power: log 100 more in every feature, wherever it is."""
    network = shallow(3, 256).eval()
    temporal = network[0][1]
    assert isinstance(temporal, nn.Conv2d)
    assert temporal.bias is not None
    nn.init.zeros_(temporal.bias)
    x = torch.randn(4, 3, 256, generator=torch.Generator().manual_seed(0))
    more = network[:2](10 * x) - network[:2](x)
    torch.testing.assert_close(more, torch.full_like(more, math.log(100)), atol=0.02, rtol=0)


def test_eegnets_convolutions_preserve_the_length_and_are_centred() -> None:
    network = eegnet(2, 128).eval()
    x = torch.zeros(1, 2, 128)
    x[..., 64] = 1
    h = network[0](x) - network[0](0 * x)
    assert h.shape == (1, 8, 2, 128)
    seen = h.abs().sum((0, 1, 2)).nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (64 - 32, 64 + 31)


def test_eegnets_norms_are_bounded_in_training_and_only_there() -> None:
    network = eegnet(4, 64)
    spatial, readout = network[1][0], network[4][1]
    for layer in (spatial, readout):
        nn.init.constant_(layer.weight, 3.0)
    network.eval()(torch.zeros(2, 4, 64))
    assert (spatial.weight == 3).all()
    network.train()(torch.randn(2, 4, 64)).sum().backward()
    for layer, most in ((spatial, 1.0), (readout, 0.25)):
        torch.testing.assert_close(
            layer.weight.flatten(1).norm(dim=1), torch.full((len(layer.weight),), most)
        )


@pytest.mark.parametrize("net", [eegnet, shallow, deep4])
@pytest.mark.parametrize("rule", ["dfa", "predsim", "softhebb", "fa"])
def test_local_rules_reach_every_block(net: type, rule: str) -> None:
    network = net(4, 128)
    x, y = torch.randn(6, 4, 128), torch.tensor([[0.0], [1.0]]).repeat(3, 1)
    criterion = None if rule == "softhebb" else nn.BCEWithLogitsLoss()
    learner = rule_of(rule, network, criterion, example=x[:2], classes=1)
    learner(x, None if rule == "softhebb" else y).backward()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0 for layer in layers)
