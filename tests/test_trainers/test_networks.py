"""The networks of the benchmarks: chains with one weight layer a block, of known sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from examples.softhebb_cifar10 import softhebb_net
from hebbian.chain import blocks
from hebbian.synapse import weight_layers
from trainers.networks import convnet, lenet, mlp

NETS = {
    # weights and biases, counted by hand
    "mlp": (lambda: mlp(28 * 28, [500], 10), 784 * 500 + 500 + 500 * 10 + 10),
    "conv": (
        lambda: convnet((1, 28, 28), [16, 32], 10, nn.Tanh, centred=True),
        16 * 25 + 16 + 32 * 16 * 25 + 32 + 32 * 4 * 4 * 10 + 10,
    ),
    "lenet": (lenet, 61_706),  # LeNet-5 whose second convolution sees all six maps
}


@pytest.mark.parametrize("name", NETS)
def test_a_chain_of_one_weight_layer_a_block(name):
    make, size = NETS[name]
    model = make()
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [len(weight_layers(nn.Sequential(block))) for block in blocks(model)] == [1] * len(model)
    assert sum(p.numel() for p in model.parameters()) == size


def test_centred_maps_have_mean_0_and_variance_1_before_each_convolution():
    model = convnet((2, 12, 12), [3], 4, centred=True)
    seen = []
    model[0][1].register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    model(5 + 3 * torch.randn(64, 2, 12, 12, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].var((0, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("image", "kernels", "message"),
    [((1, 28, 28), [], "kernels is empty"), ((1, 12, 12), [4, 4], "too small for 2 convolutions")],
)
def test_errors_state_the_cause(image, kernels, message):
    with pytest.raises(ValueError, match=message):
        convnet(image, kernels, 10)


def test_the_softhebb_net_is_the_published_one():
    model = softhebb_net()
    maps = [torch.zeros(2, 3, 32, 32)]
    for block in model:
        maps.append(block(maps[-1]))
    assert [h.shape[1:] for h in maps[1:]] == [(96, 16, 16), (384, 8, 8), (1536, 4, 4), (10,)]
    kernels = 96 * 3 * 25 + 384 * 96 * 9 + 1536 * 384 * 9
    assert sum(p.numel() for p in model.parameters()) == kernels + 24_576 * 10 + 10
    assert [len(weight_layers(block)) for block in model] == [1] * 4


def test_the_powers_of_the_softhebb_net_follow_its_pools_as_if_they_preceded_them():
    torch.manual_seed(0)
    first, x = softhebb_net()[0].eval(), torch.rand(2, 3, 32, 32)
    u = first[1](first[0](x))
    expected = F.max_pool2d((u - u.mean(1, keepdim=True)).relu() ** 0.7, 4, 2, padding=1)
    torch.testing.assert_close(first(x), expected)
