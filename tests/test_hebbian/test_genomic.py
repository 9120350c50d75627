"""The genomic bottleneck: addresses, compression, training and baking."""

import copy

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from hebbian import Backprop, Hebbian, genomic, oja
from hebbian.genomic import Genome, Innate, addresses, bake, compression, express
from tests.test_hebbian.helpers import seeded


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))


def data():
    return torch.randn(5, 3, 6, 6, generator=seeded(1)), torch.tensor([0, 1, 2, 3, 4])


def test_an_address_spells_the_indices_in_binary():
    shape = (5, 3, 1, 2)
    found = addresses(shape)
    assert found.shape == (30, 3 + 2 + 0 + 1)
    for entry, bits in enumerate(found):
        spelt = [(b + 1) / 2 for b in bits.tolist()]
        a, b, c, d = (int(i) for i in torch.unravel_index(torch.tensor(entry), shape))
        assert c == 0
        assert (a, b, d) == (spelt[0] + 2 * spelt[1] + 4 * spelt[2], spelt[3] + 2 * spelt[4], spelt[5])
    assert len(found.unique(dim=0)) == 30


@pytest.mark.parametrize(
    "layer", [nn.Linear(7, 5), nn.Conv1d(4, 6, 3, groups=2), nn.Conv3d(2, 3, 2).double()], ids=repr
)
def test_any_layer_keeps_shape_dtype_and_spread(layer):
    model = nn.Sequential(copy.deepcopy(layer))
    express(model, ["0"], generator=seeded())
    assert model[0].weight.shape == layer.weight.shape
    assert model[0].weight.dtype == layer.weight.dtype
    torch.testing.assert_close(model[0].weight.std(), layer.weight.std())
    model[0].weight = 3 * layer.weight
    torch.testing.assert_close(model[0].weight.std(), 3 * layer.weight.std())


def test_compression_is_weights_over_parameters():
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 10))
    express(model, ["0"], hidden=(5,))
    first = (6 + 5) * 5 + 5 + 5 + 1 + 1  # 11 bits into 5 units, these into 1, biases and the gain
    assert compression(model) == pytest.approx(64 * 32 / first)
    express(model, ["1"], hidden=(4, 3))
    second = (5 + 4) * 4 + 4 + 4 * 3 + 3 + 3 + 1 + 1
    assert compression(model) == pytest.approx((64 * 32 + 32 * 10) / (first + second))


def test_only_the_genomes_and_biases_are_left_to_learn_by_any_rule():
    x, y = data()
    model = net()
    express(model, ["0", "3"], generator=seeded())
    names = {n for n, _ in model.named_parameters()}
    assert not any(n.endswith((".original", "0.weight", "3.weight")) and "network" not in n for n in names)
    for rule in (Backprop(model, F.cross_entropy), Hebbian(model, {"0": oja})):
        rule.zero_grad()
        rule(x, y).backward()
        grads = [p.grad for n, p in model.named_parameters() if n.startswith("0.parametrizations")]
        assert all(g is not None and g.abs().sum() > 0 for g in grads)


def test_hebbian_learning_of_a_genome_is_the_update_pulled_back_to_it():
    x, _ = data()
    model = net()
    express(model, ["0"], generator=seeded())
    plain = copy.deepcopy(model)
    bake(plain)
    Hebbian(plain, {"0": oja})(x).backward()
    Hebbian(model, {"0": oja})(x).backward()
    genome = dict(model[0].parametrizations["weight"].named_parameters())
    pulled = torch.autograd.grad(model[0].weight, genome.values(), grad_outputs=plain[0].weight.grad)
    for p, expected in zip(genome.values(), pulled, strict=True):
        torch.testing.assert_close(p.grad, expected)


def test_baking_keeps_the_function_and_leaves_ordinary_layers():
    x, _ = data()
    model = net()
    express(model, ["0", "3"], generator=seeded())
    before = model(x)
    bake(model)
    assert torch.equal(model(x), before)
    assert [type(m) for m in model] == [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    assert {n: (p.shape, p.is_leaf) for n, p in model.named_parameters()} == {
        n: (p.shape, True) for n, p in net().named_parameters()
    }
    with pytest.raises(ValueError, match="no layer of the model has a genome"):
        compression(model)


def test_state_and_copies_carry_the_genome():
    x, _ = data()
    model, other = net(), net()
    express(model, ["0"], generator=seeded(0))
    express(other, ["0"], generator=seeded(1))
    assert not torch.equal(other[0].weight, model[0].weight)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other[0].weight, model[0].weight)


@pytest.mark.oracle("genomic-bottleneck")
def test_a_genome_learns_weights_that_follow_a_rule_and_not_those_that_are_noise():
    index = torch.arange(64)
    ruled = torch.where((index[:, None] & 1) == (index >> 5), 1.0, -1.0)  # by one bit of each neuron
    noise = ruled.flatten()[torch.randperm(64 * 64, generator=seeded())].view(64, 64)
    left = []
    for weight in (ruled, noise):
        genome = Genome(weight, generator=seeded())
        optimizer = torch.optim.Adam(genome.parameters(), 0.02)
        for _ in range(200):
            optimizer.zero_grad()
            (genome() - weight).square().mean().backward()
            optimizer.step()
        left.append((genome() - weight).square().mean().item())
    assert left[0] < 0.01
    assert left[1] > 1 - 2 * 500 / 64**2  # about 500 parameters fit about as many of 4096 signs


def test_innate_is_the_squared_distance_and_draws_weights_and_genomes_together():
    model = net()
    innate = Innate(model, ["0", "3"], generator=seeded())
    made = [genome() for genome in innate.genomes]
    expected = sum(((model[i].weight - m) ** 2).sum() for i, m in zip((0, 3), made, strict=True))
    distance = innate(model)
    torch.testing.assert_close(distance, expected)
    distance.backward()
    torch.testing.assert_close(model[0].weight.grad, 2 * (model[0].weight - made[0]).detach())
    assert all(p.grad is not None for p in innate.parameters())
    model[0].weight.data.copy_(made[0])
    model[3].weight.data.copy_(made[1])
    assert innate(model) == 0


def test_innate_weights_recognise_digits_through_a_bottleneck():
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    y = torch.tensor(digits.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    express(model, ["0", "2"], generator=seeded())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for batch in torch.randint(0, 1400, (400, 100), generator=seeded()):
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    assert compression(model) > 7
    bake(model)
    assert (model(x[1400:]).argmax(1) == y[1400:]).float().mean() > 0.6  # chance is 0.1


def test_what_has_no_address_is_refused():
    with pytest.raises(ValueError, match="at least two entries"):
        express(nn.Sequential(nn.Linear(1, 1)), ["0"])
    with pytest.raises(ValueError, match="no layer at '5'"):
        genomic.express(net(), ["5"])
