"""The convolutional nets against the counts that their papers print, and against what they are said to do."""

import math

import pytest
import torch
from torch import nn

from eeg.convnets import deep4, eegnet, shallow
from hebbian.registry import build as rule_of


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("filters", "channels", "times", "outputs", "kernel", "published"),
    [
        (8, 64, 128, 2, 64, 2258),
        (8, 22, 256, 4, 32, 1716),
        (4, 64, 128, 2, 64, 1066),
        (4, 22, 256, 4, 32, 796),
    ],
)
def test_eegnet_has_the_parameters_of_table_3(
    filters: int, channels: int, times: int, outputs: int, kernel: int, published: int
) -> None:
    """Lawhern et al. 2018, EEGNet-8,2 and EEGNet-4,2 for P300 and sensory-motor rhythms."""
    assert count(eegnet(channels, times, outputs, filters=filters, kernel=kernel)) == published


def test_shallow_has_the_published_parameters() -> None:
    """Lawhern et al. 2018 at 128 Hz; braindecode's ShallowFBCSPNet at 250 Hz for BCI competition IV 2a."""
    assert count(shallow(64, 128, 2)) == 104_002
    assert count(shallow(22, 256, 4)) == 40_644
    assert count(shallow(22, 1125, 4, kernel=25, pool=75, stride=15)) == 47_364


def test_deep4_has_the_published_parameters() -> None:
    """braindecode's Deep4Net; Lawhern et al. 2018 give the four convolutions before a batch norm a bias."""
    assert count(deep4(22, 1125, 4, kernel=10, pool=3)) == 284_479
    assert count(deep4(64, 128, 2)) == 174_127 - (25 + 50 + 100 + 200)


@pytest.mark.parametrize(("net", "shortest"), [(eegnet, 32), (shallow, 47), (deep4, 76)])
def test_windows_that_no_sample_is_left_of_are_refused(net: type, shortest: int) -> None:
    assert net(3, shortest)(torch.zeros(2, 3, shortest)).shape == (2, 1)
    with pytest.raises(ValueError, match=f"windows of {shortest - 1} samples are too short"):
        net(3, shortest - 1)


@pytest.mark.parametrize("net", [eegnet, shallow, deep4])
@pytest.mark.parametrize(("channels", "outputs"), [(0, 1), (3, 0)])
def test_counts_must_be_positive(net: type, channels: int, outputs: int) -> None:
    with pytest.raises(ValueError, match=f"got {channels} and {outputs}"):
        net(channels, 128, outputs)


def test_shallow_sees_the_logarithm_of_power() -> None:
    """Ten times the signal is 100 times the power: log 100 more in every feature, wherever it is."""
    network = shallow(3, 256).eval()
    temporal = network[0][1]
    assert isinstance(temporal, nn.Conv2d)
    assert temporal.bias is not None
    nn.init.zeros_(temporal.bias)
    x = torch.randn(4, 3, 256, generator=torch.Generator().manual_seed(0))
    more = network[:2](10 * x) - network[:2](x)
    torch.testing.assert_close(more, torch.full_like(more, math.log(100)), atol=0.02, rtol=0)


def test_eegnets_convolutions_keep_the_length_and_look_to_both_sides() -> None:
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
