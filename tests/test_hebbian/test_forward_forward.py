"""Forward-Forward and its descendants, written out sample by sample."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian.contrastive import SelfContrastive
from hebbian.forward_forward import ChannelCompetition, ForwardForward, cwcomp
from tests.test_hebbian.helpers import grads
from tests.test_hebbian.test_local import K, batch, mlp


def test_a_false_label_is_never_the_true_one_and_every_other_is_as_likely():
    x, _ = batch()
    rule = ForwardForward(mlp(), x, K)
    y = torch.arange(K).repeat(3000)
    torch.manual_seed(0)
    false = rule.others(y)
    assert not (false == y).any()
    counts = torch.stack([torch.bincount(false[y == c], minlength=K) for c in range(K)])
    away = counts[~torch.eye(K, dtype=torch.bool)]
    assert (away - 1000).abs().max() < 5 * (3000 * 1 / 3 * 2 / 3) ** 0.5


@pytest.mark.oracle("forward-forward")
def test_forward_forward_written_out_sample_by_sample(monkeypatch):
    model = mlp()
    x, y = batch()
    rule = ForwardForward(model, x, K, strength=0.4, slope=0.3)
    false = (y + 1) % K
    monkeypatch.setattr(rule, "others", lambda y: false)
    loss = 0
    for sample, true, wrong in zip(x, y, false, strict=True):
        answers = []
        for label in (true, wrong):
            h = sample / sample.norm() * len(sample) ** 0.5 + 0.4 * rule.patterns[label]
            answers.append([])
            for i in range(2):
                h = h / h.norm() * len(h) ** 0.5
                h = model[i](h.detach())
                answers[-1].append((h**2).sum())
        for good, bad in zip(*answers, strict=True):
            loss = loss - torch.log(torch.sigmoid(0.3 * (good - bad))) / len(x)
    model.zero_grad()
    loss.backward()
    expected = [p.grad.clone() for p in model[:2].parameters()]
    found = grads(rule, x, y)
    torch.testing.assert_close(rule(x, y), loss)
    for g, (k, _) in zip(expected, model[:2].named_parameters(), strict=True):
        torch.testing.assert_close(found[f"model.{k}"], g, rtol=1e-10, atol=1e-13)
    assert "model.2.weight" not in found


def test_a_label_is_added_to_the_whole_sample_with_the_given_strength():
    x = torch.randn(6, 2, 30, 40)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2400, 2), nn.Linear(2, K))
    rule = ForwardForward(model, x, K, strength=0.5)
    y = torch.arange(6) % K
    flat = x.flatten(1)
    unit = x / flat.square().mean(1).sqrt().view(-1, 1, 1, 1)
    label = rule.write(x, y) - unit
    torch.testing.assert_close(rule.write(100 * x, y) - unit, label)  # a louder sample is as clearly labelled
    assert torch.equal(label[0] != 0, torch.ones(2, 30, 40, dtype=torch.bool))
    assert label.square().mean(0).sqrt().mean().item() == pytest.approx(0.5, rel=0.1)
    torch.testing.assert_close(label[0], label[4])  # both of class 0
    off = torch.corrcoef(label[:K].flatten(1))[~torch.eye(K, dtype=torch.bool)]
    assert off.abs().max() < 5 / 2400**0.5


def test_forward_forward_scores_are_goodness_of_all_blocks_but_the_first_without_a_gradient():
    x, _ = batch()
    rule = ForwardForward(mlp(), x, K)
    scores = rule.predict(x)
    for c in range(K):
        _, second = rule.goodness(rule.write(x, torch.full((len(x),), c)))
        torch.testing.assert_close(scores[:, c], second)
    assert not rule.predict(x.requires_grad_()).requires_grad
    one = nn.Sequential(nn.Linear(9, 5).double(), nn.Linear(5, K).double())
    assert ForwardForward(one, x, K).predict(x).isfinite().all()


def clusters(shape, spread):
    """Return 400 samples around one centre a class, and their classes."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, K, (400,), generator=g)
    centres = torch.randn(K, *shape, generator=g)
    return centres[y] + spread * torch.randn(400, *shape, generator=g), y


def perceptron():
    return nn.Sequential(nn.Sequential(nn.Linear(9, 50), nn.ReLU()), nn.Linear(50, K))


def convolutions():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(16 * 4, K)),
    )


@pytest.mark.parametrize(
    ("make", "shape", "settings"),
    [(perceptron, (9,), {}), (convolutions, (1, 10, 10), {"strength": 1.0, "slope": 0.1})],
)
def test_forward_forward_learns_clusters(make, shape, settings):
    x, y = clusters(shape, spread=0.5)
    torch.manual_seed(0)
    rule = ForwardForward(make(), x, K, **settings)
    optimizer = torch.optim.Adam(rule.parameters(), 0.01)
    for _ in range(200):
        optimizer.zero_grad()
        rule(x[:200], y[:200]).backward()
        optimizer.step()
    assert (rule.predict(x[200:]).argmax(1) == y[200:]).double().mean() > 0.9


def grouped_mlp():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(9, 8), nn.Tanh()),
        nn.Sequential(nn.Linear(8, 3 * K), nn.Tanh()),
        nn.Linear(3 * K, K),
    ).double()


@pytest.mark.oracle("cwcomp")
def test_channels_compete_for_the_classes_as_written_out_unit_by_unit():
    """Of tanh units u in the group of class k: dL/dw_u = (softmax(G)_k - y_k) 2 h_u / m (1 - h_u²) x."""
    model = grouped_mlp()
    x, y = batch()
    found = grads(cwcomp(model, F.cross_entropy, x, K), x, y)
    for i, inputs in enumerate((x, model[0](x).detach())):
        layer = model[i][0]
        units = layer.out_features
        m = units // K
        expected = torch.zeros_like(layer.weight)
        for sample, label in zip(inputs, y, strict=True):
            h = torch.tanh(layer.weight @ sample + layer.bias).tolist()
            goodness = [sum(h[u] ** 2 for u in range(k * m, (k + 1) * m)) / m for k in range(K)]
            total = sum(map(math.exp, goodness))
            for u in range(units):
                error = math.exp(goodness[u // m]) / total - (u // m == label.item())
                expected[u] += error * 2 * h[u] / m * (1 - h[u] ** 2) * sample / len(x)
        torch.testing.assert_close(found[f"model.{i}.0.weight"], expected, rtol=1e-10, atol=1e-13)
    readout = torch.autograd.grad(F.cross_entropy(model[2](model[:2](x).detach()), y), model[2].weight)
    torch.testing.assert_close(found["model.2.weight"], *readout)


def test_the_goodness_of_a_class_is_the_mean_square_of_its_channels_at_all_places():
    h = torch.randn(5, 6, 2, 4, dtype=torch.float64)
    goodness = [[sum(v**2 for v in s[2 * k : 2 * k + 2].flatten()) / 16 for k in range(3)] for s in h]
    seen = []
    ChannelCompetition(h, 3, lambda g, y: seen.append(g))(h, torch.zeros(5))
    torch.testing.assert_close(seen[0], torch.tensor(goodness, dtype=torch.float64))


def test_channels_that_cannot_be_divided_among_the_classes_are_refused_by_the_name_of_the_block():
    x, _ = batch()
    with pytest.raises(TypeError, match=f"block '0': 7 units or channels; expected a multiple of {K}"):
        cwcomp(mlp(), F.cross_entropy, x, K)
    with pytest.raises(ValueError, match="one unit a class"):
        cwcomp(mlp(), F.cross_entropy, x, 1)


def test_the_group_of_a_class_responds_most_to_it_after_training():
    x, y = clusters((1, 10, 10), spread=0.5)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8)),
        nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.BatchNorm2d(16)),
        nn.Sequential(nn.Flatten(), nn.Linear(16 * 4, K)),
    )
    rule = cwcomp(model, F.cross_entropy, x, K)
    optimizer = torch.optim.Adam(rule.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        rule(x[:200], y[:200]).backward()
        optimizer.step()
    rule.eval()
    goodness = model[:2](x[200:]).unflatten(1, (K, 4)).square().mean((2, 3, 4))
    for scores in (goodness, rule.predict(x[200:])):
        assert (scores.argmax(1) == y[200:]).double().mean() > 0.9


@pytest.mark.oracle("scff")
def test_self_contrastive_forward_forward_written_out_pair_by_pair():
    """Of tanh units: dg/dw_u = 2 h_u / units (1 - h_u²) x, times the slope of the loss in g."""
    model = grouped_mlp()
    x, y = batch()
    rule = SelfContrastive(model, x, thresholds=(0.3, 0.2), penalty=0.05)
    found = grads(rule, x, y)

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    loss, inputs = 0.0, x
    for i in range(2):
        layer = model[i][0]
        expected = torch.zeros_like(layer.weight)
        for n in range(len(x)):
            for sample, is_mixture in ((inputs[n], False), ((inputs[n] + inputs[n - 1]) / 2, True)):
                h = torch.tanh(layer.weight @ sample + layer.bias)
                g = (h @ h / len(h)).item()
                slope = sigmoid(g - 0.2) if is_mixture else 0.05 - sigmoid(0.3 - g)
                loss -= math.log(sigmoid(0.2 - g if is_mixture else g - 0.3)) / len(x)
                loss += 0.0 if is_mixture else 0.05 * g / len(x)
                expected += slope * torch.outer(2 * h / len(h) * (1 - h**2), sample) / len(x)
        torch.testing.assert_close(found[f"model.{i}.0.weight"], expected, rtol=1e-10, atol=1e-13)
        inputs = model[i](inputs).detach()
    assert rule(x).item() == pytest.approx(loss, rel=1e-10)
    assert "model.2.weight" not in found
    unlabelled = grads(rule, x, None)
    assert all(torch.equal(found[k], unlabelled[k]) for k in found)


def test_each_place_of_a_map_has_its_own_goodness():
    x = torch.randn(4, 2, 5, 6, dtype=torch.float64)
    conv = nn.Conv2d(2, 3, 3).double()
    rule = SelfContrastive(nn.Sequential(conv, nn.Flatten(), nn.Linear(36, 2)), x, (0.7, 0.5), penalty=0.1)
    expected = 0
    for n in range(4):
        sample, mixture = (conv(v).square().mean(0) for v in (x[n], (x[n] + x[n - 1]) / 2))
        for i, j in product(range(3), range(4)):
            expected -= torch.sigmoid(sample[i, j] - 0.7).log() / 48
            expected -= torch.sigmoid(0.5 - mixture[i, j]).log() / 48
        expected += 0.1 * sample.square().sum().sqrt() / 4
    torch.testing.assert_close(rule(x), expected)


def test_after_training_samples_are_above_the_threshold_and_mixtures_below():
    x, _ = clusters((9,), spread=0.3)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(9, 50), nn.ReLU()), nn.Linear(50, K))
    rule = SelfContrastive(model, x, thresholds=(2.0, 2.0))
    optimizer = torch.optim.Adam(rule.parameters(), 0.01)
    for _ in range(300):
        optimizer.zero_grad()
        rule(x[:200][torch.randperm(200)]).backward()
        optimizer.step()
    tests = x[200:]
    sample, mixture = (model[0](v).square().mean(1) for v in (tests, (tests + tests.roll(1, 0)) / 2))
    assert sample.mean() > 2 > mixture.mean()
