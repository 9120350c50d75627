"""Local losses against loops and against autograd of each block's loss alone."""

import copy
import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import registry
from hebbian.contrastive import Clapp, SelfContrastive, hinge
from hebbian.forward_forward import ForwardForward
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


# ---- Channel-wise competitive learning ----------------------------------------------------------


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
