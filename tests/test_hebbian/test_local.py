"""Local losses against loops and against autograd of each block's loss alone."""

import copy
import math
import weakref
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import registry
from hebbian.contrastive import Clapp, SelfContrastive, hinge
from hebbian.forward_forward import ChannelCompetition, ForwardForward, cwcomp
from hebbian.local import MonoForward, pred, predsim, sim, similarity_loss
from tests.test_hebbian.helpers import grads

NAMES = ["pred", "sim", "predsim", "mono-forward", "forward-forward", "clapp"]
K = 4


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Linear(9, 7), nn.Tanh()), nn.Sequential(nn.Linear(7, 5), nn.ReLU()), nn.Linear(5, K)
    ).double()


def batch(n=8, classes=K):
    x = torch.randn(n, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(2))


def build(name, model, x, classes=K, **settings):
    return registry.build(name, model, F.cross_entropy, example=x, classes=classes, **settings)


def similarities_by_loop(z):
    """Nøkland & Eidnes 2019: cosine of every pair, each vector less its own mean."""
    result = torch.zeros(len(z), len(z), dtype=z.dtype)
    for i, j in product(range(len(z)), repeat=2):
        a, b = z[i] - z[i].mean(), z[j] - z[j].mean()
        result[i, j] = (a @ b) / (a.norm() * b.norm())
    return result


def wanted(y, classes):
    """Similarity of one-hot targets, worked out by hand: 1 for the same class, else -1 / (K - 1)."""
    return torch.tensor([[1.0 if a == b else -1 / (classes - 1) for b in y] for a in y], dtype=torch.float64)


@pytest.mark.parametrize("n", [4, 9])
def test_the_loss_of_similarities_is_that_of_all_pairs(n):
    z, b = torch.randn(n, 5, dtype=torch.float64, requires_grad=True), torch.randn(n, 3, dtype=torch.float64)
    a = F.normalize(z - z.mean(1, keepdim=True), dim=1)
    found, expected = similarity_loss(z, b), F.mse_loss(a @ a.T, b @ b.T)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(3 * loss, z) for loss in (found, expected)))


@pytest.mark.oracle("sim")
def test_similarity_matching_against_a_loop():
    model = mlp()
    x, y = batch()
    rule = sim(model, F.cross_entropy, x, K)
    h = model[0](x)
    z = h @ rule.losses[0].embed.weight.T
    expected = (similarities_by_loop(z) - wanted(y, K)).square().mean()
    torch.testing.assert_close(rule.losses[0](h, y), expected)


def test_similarity_of_maps_is_that_of_each_channels_spread_over_space():
    x = torch.randn(6, 2, 5, 4, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0, 1, 1])
    conv = nn.Conv2d(2, 3, 2).double()
    rule = sim(nn.Sequential(conv, nn.Flatten(), nn.Linear(36, 3)).double(), F.cross_entropy, x, 3)
    maps = F.conv2d(conv(x), rule.losses[0].embed.weight, padding=1)
    spread = torch.stack([torch.stack([c.flatten().std(correction=0) for c in sample]) for sample in maps])
    expected = (similarities_by_loop(spread) - wanted(y, 3)).square().mean()
    torch.testing.assert_close(rule.losses[0](conv(x), y), expected)


def local_losses(name, rule, x, y):
    """Return each hidden block's loss written out, each block with its input in the trained chain."""
    inputs = [x, rule.model[0](x).detach()]
    result = []
    for i, h in enumerate(rule.model[i](inputs[i]) for i in range(2)):
        if name == "mono-forward":
            result.append(F.cross_entropy(h @ rule.projections[i].weight.T, y))
            continue
        parts = {"pred": [(1, "loss")], "sim": [(1, "loss")], "predsim": [(0.01, "a"), (0.99, "b")]}[name]
        total = 0
        for weight, part in parts:
            loss = rule.losses[i] if part == "loss" else getattr(rule.losses[i], part)
            if hasattr(loss, "embed"):
                total += weight * F.mse_loss(similarities_by_loop(h @ loss.embed.weight.T), wanted(y, K))
            else:
                head = loss.classifier
                total += weight * F.cross_entropy(h @ head.weight.T + head.bias, y)
        result.append(total)
    return result


@pytest.mark.oracle("pred", "predsim")
@pytest.mark.parametrize("name", ["pred", "sim", "predsim", "mono-forward"])
def test_the_update_of_a_block_is_autograd_of_its_own_loss_alone(name):
    model = mlp()
    x, y = batch()
    rule = build(name, model, x)
    found = grads(rule, x, y)
    heads = rule.projections if name == "mono-forward" else rule.losses
    prefix = "projections" if name == "mono-forward" else "losses"
    for i, loss in enumerate(local_losses(name, rule, x, y)):
        own = {f"model.{i}.{k}": p for k, p in model[i].named_parameters()}
        own |= {f"{prefix}.{i}.{k}": p for k, p in heads[i].named_parameters()}
        others = [p for k, p in rule.named_parameters() if k not in own]
        expected = torch.autograd.grad(loss, [*own.values(), *others], allow_unused=True)
        for k, g in zip(own, expected, strict=False):
            torch.testing.assert_close(found[k], g, rtol=1e-10, atol=1e-13)
        assert all(g is None for g in expected[len(own) :])


@pytest.mark.parametrize("name", NAMES)
def test_blocks_above_do_not_change_the_update_of_a_block(name):
    x, y = batch()
    rule = build(name, mlp(), x)
    other = copy.deepcopy(rule)
    for i in (1, 2):
        for p in other.model[i].parameters():
            p.data.normal_()
    for heads in ("losses", "projections", "predictors"):
        for p in getattr(other, heads, [None, nn.Identity()])[1].parameters():
            p.data.normal_()
    a, b = grads(rule, x, y), grads(other, x, y)
    first = [k for k in a if k.split(".")[1] == "0"]
    assert first
    assert all(torch.equal(a[k], b[k]) for k in first)
    assert not torch.equal(a["model.1.0.weight"], b["model.1.0.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_with_norm_and_pooling_learn(name):
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(8 * 4, K)),
    )
    x, y = torch.randn(6, 2, 8, 8), torch.randint(0, K, (6,))
    found = grads(build(name, model, x), x, y)
    assert all(g.isfinite().all() for g in found.values())
    assert found["model.0.0.weight"].abs().sum() > 0
    assert found["model.1.0.weight"].abs().sum() > 0


@pytest.mark.parametrize("name", ["pred", "sim", "predsim", "mono-forward"])
def test_one_logit_learns_as_two_classes_would_have_it(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(9, 7), nn.Tanh()), nn.Linear(7, 1)).double()
    x, y = batch(classes=2)
    rule = registry.build(name, model, nn.BCEWithLogitsLoss(), example=x, classes=1)
    target = y[:, None].double()
    assert grads(rule, x, target)["model.0.0.weight"].abs().sum() > 0
    if name == "sim":
        two = sim(mlp(), F.cross_entropy, x, 2)
        two.losses[0].load_state_dict(rule.losses[0].state_dict())
        h = model[0](x)
        torch.testing.assert_close(rule.losses[0](h, target), two.losses[0](h, y))


# ---- Mono-Forward -------------------------------------------------------------------------------


@pytest.mark.oracle("mono-forward")
def test_mono_forward_predicts_by_the_sum_of_goodness_with_a_whole_path_to_the_input():
    model = mlp()
    x, _ = batch()
    x.requires_grad_()
    rule = MonoForward(model, F.cross_entropy, x, K)
    h0 = model[0](x)
    expected = h0 @ rule.projections[0].weight.T + model[1](h0) @ rule.projections[1].weight.T
    torch.testing.assert_close(rule.predict(x), expected)
    a, b = (torch.autograd.grad(s.square().sum(), x)[0] for s in (rule.predict(x), expected))
    torch.testing.assert_close(a, b)


# ---- Forward-Forward ----------------------------------------------------------------------------


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


# ---- Channel-wise competitive learning ----------------------------------------------------------


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


# ---- CLAPP --------------------------------------------------------------------------------------


@pytest.mark.oracle("clapp")
def test_the_contrastive_hinge_against_a_loop():
    s = 2 * torch.randn(5, 5, dtype=torch.float64)
    same = sum(max(0.0, 1 - s[i, i].item()) for i in range(5)) / 5
    pairs = [(i, j) for i, j in product(range(5), repeat=2) if i != j]
    other = sum(max(0.0, 1 + s[i, j].item()) for i, j in pairs) / len(pairs)
    assert hinge(s).item() == pytest.approx(same + other, rel=1e-12)
    assert hinge(s[:1, :1]).item() == pytest.approx(max(0.0, 1 - s[0, 0].item()))


def test_clapp_compares_two_halves_of_a_sample_and_looks_at_no_label():
    x, y = batch()
    rule = Clapp(mlp(), x)
    seen = []
    rule.model[0].register_forward_pre_hook(lambda block, args: seen.append(args[0]))
    a = grads(rule, x, y)
    one, two = seen[0].chunk(2)
    torch.testing.assert_close(one + two, 2 * x)
    assert ((one == 0) ^ (two == 0)).all()
    b = grads(rule, x, None)
    assert all(torch.equal(a[k], b[k]) for k in a)
    c, z = rule.model[0](one), rule.model[0](two)
    scores = torch.einsum("id,de,je->ij", z, rule.predictors[0].weight, c)
    (expected,) = torch.autograd.grad(hinge(scores), rule.model[0][0].weight)
    torch.testing.assert_close(a["model.0.0.weight"], expected)


@pytest.mark.parametrize(("shape", "patch"), [((3, 8), 4), ((2, 7, 10), 3), ((1, 4, 4, 4), 2)])
def test_a_view_has_whole_patches_with_all_their_channels(shape, patch):
    sides = shape[1:]
    x = torch.randn(200, *shape)
    rule = Clapp(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2), nn.Linear(2, 2)), x[:1], patch)
    seen = (rule.first_view(x) & torch.ones(x.shape, dtype=torch.bool)).flatten(2)
    grid = torch.meshgrid(*[torch.arange(side) // patch for side in sides], indexing="ij")
    which = sum(g.flatten() * 100**i for i, g in enumerate(grid))  # the patch of each place
    assert len(which.unique()) == math.prod(math.ceil(side / patch) for side in sides)
    for i in which.unique():
        inside = seen[:, :, which == i].flatten(1)
        assert (inside == inside[:, :1]).all()
        assert 0.3 < inside.double().mean() < 0.7
    assert not (seen == seen[:, :, :1]).all()


# ---- Self-contrastive Forward-Forward -----------------------------------------------------------


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


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_are_drawn_from_the_generator(name):
    x, _ = batch()
    states = [
        build(name, mlp(), x, generator=torch.Generator().manual_seed(seed)).state_dict()
        for seed in (0, 0, 1)
    ]
    drawn = [k for k in states[0] if not k.startswith("model.")]
    assert drawn
    assert all(torch.equal(states[0][k], states[1][k]) for k in drawn)
    assert not any(torch.equal(states[0][k], states[2][k]) for k in drawn)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, x: ForwardForward(m, x, 1), "one unit a class"),
        (lambda m, x: ForwardForward(m, x, K, strength=0.0), "strength and slope must be positive"),
        (lambda m, x: ForwardForward(m, x, K, slope=-1.0), "strength and slope must be positive"),
        (lambda m, x: Clapp(m, x, patch=0), "patch must be at least 1"),
        (lambda m, x: SelfContrastive(m, x, penalty=-1.0), "penalty must not be negative"),
        (lambda m, x: SelfContrastive(m, x)(x[:1]), "at least 2, got 1"),
        (lambda m, x: predsim(m, F.cross_entropy, x, K, similarity=1.0), "between 0 and 1"),
        (lambda m, x: pred(m, F.cross_entropy, x, K)(x), "needs? targets"),
        (lambda m, x: MonoForward(m, F.cross_entropy, x, K)(x), "needs targets"),
        (lambda m, x: ForwardForward(m, x, K)(x), "needs targets"),
    ],
)
def test_errors_state_the_cause(make, message):
    with pytest.raises(ValueError, match=message):
        make(mlp(), batch()[0])


@pytest.mark.parametrize("name", ["pred", "sim", "predsim"])
def test_low_memory_changes_neither_gradients_nor_value_and_follows_a_scaler(name):
    (x, y), model = batch(), mlp()
    rules = [
        build(name, model, x, generator=torch.Generator().manual_seed(3), low_memory=low) for low in (0, 1)
    ]
    values = [rule(x, y) for rule in rules]
    torch.testing.assert_close(values[1], values[0])
    expected, found = grads(rules[0], x, y), grads(rules[1], x, y)
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        torch.testing.assert_close(gradient, expected[key])
    rules[1].zero_grad()
    (8 * rules[1](x, y)).backward()
    torch.testing.assert_close(model[0][0].weight.grad, 8 * expected["model.0.0.weight"])


class Stored:
    """Counts the bytes that graphs store for backward passes."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, t):
        self.now += t.nbytes
        self.peak = max(self.peak, self.now)
        packed = Packed()
        packed.tensor = t
        weakref.finalize(packed, self.free, t.nbytes)
        return packed

    def free(self, size):
        self.now -= size


class Packed:
    """A stored tensor."""


def peak(depth, **settings):
    x, y, stored = torch.rand(64, 8), torch.arange(64) % K, Stored()
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(depth)]
    rule = build("pred", nn.Sequential(*blocks, nn.Linear(8, K)), x, **settings)
    with torch.autograd.graph.saved_tensors_hooks(stored.pack, lambda packed: packed.tensor):
        rule(x, y).backward()
    return stored.peak


def test_with_low_memory_the_activations_of_one_block_are_stored_whatever_the_depth():
    assert peak(30) > 5 * peak(5)
    parameters = 30 * 4 * (8 * 8 + 8 + K * 8 + K)  # whose surrogates remain
    assert peak(30, low_memory=True) < peak(1, low_memory=True) + 2 * parameters


def test_low_memory_refuses_half_precision_whose_gradients_a_scaler_must_scale():
    rule = build("pred", mlp().float(), batch()[0].float(), low_memory=True)
    with torch.autocast("cpu", torch.float16), pytest.raises(TypeError, match="bfloat16"):
        rule(batch()[0].float(), batch()[1])
