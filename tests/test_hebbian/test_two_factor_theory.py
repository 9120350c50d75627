"""Two-factor rules converge to the solutions of their theory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import (
    BCM,
    Foldiak,
    Hebbian,
    Instar,
    Krotov,
    Sanger,
    SoftHebb,
    SoftInstar,
    Subspace,
    covariance,
    hebb,
    oja,
)
from trainers import unit_norm


def descend(layer, rule, batches, lr, hook=None):
    learn = Hebbian(nn.Sequential(layer), {"0": rule})
    optimizer = torch.optim.SGD(layer.parameters(), lr)
    if hook is not None:
        hook(optimizer)
    for x in batches:
        optimizer.zero_grad()
        learn(x).backward()
        optimizer.step()
    return layer.weight.detach()


def units(n, inputs, seed=0):
    layer = nn.Linear(inputs, n, bias=False).double()
    g = torch.Generator().manual_seed(seed)
    layer.weight.data.copy_(0.3 * torch.randn(n, inputs, dtype=torch.float64, generator=g))
    return layer


@pytest.fixture(scope="module")
def ellipsoid():
    """Samples (500, 10) with variances near 5, 3.5, 2.5, ... and their principal components as rows."""
    g = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(10, 10, dtype=torch.float64, generator=g)).Q
    scale = torch.tensor([5.0, 3.5, 2.5, 1.7, 1.2, 0.8, 0.6, 0.4, 0.2, 0.1], dtype=torch.float64).sqrt()
    x = (torch.randn(500, 10, dtype=torch.float64, generator=g) * scale) @ basis.T
    x = x - x.mean(0)
    return x, torch.linalg.svd(x, full_matrices=False).Vh


@pytest.mark.oracle("oja")
def test_oja_finds_the_first_principal_component_with_norm_one(ellipsoid):
    x, components = ellipsoid
    w = descend(units(1, 10), oja, [x] * 600, 0.02)[0]
    assert torch.abs(w @ components[0]) > 0.999
    assert w.norm().item() == pytest.approx(1, abs=0.01)


@pytest.mark.oracle("sanger")
def test_sanger_finds_the_principal_components_in_order(ellipsoid):
    x, components = ellipsoid
    w = descend(units(4, 10), Sanger(), [x] * 1500, 0.03)
    assert torch.all((w * components[:4]).sum(1).abs() > 0.999)
    assert torch.linalg.norm(w @ w.T - torch.eye(4)) < 0.01
    variance = (x @ w.T).var(0) / (x @ components[:4].T).var(0)
    torch.testing.assert_close(variance, torch.ones(4, dtype=torch.float64), atol=0.01, rtol=0)


@pytest.mark.oracle("subspace")
def test_subspace_finds_the_space_of_the_first_components_but_not_themselves(ellipsoid):
    x, components = ellipsoid
    w = descend(units(4, 10), Subspace(), [x] * 800, 0.03)
    assert torch.linalg.norm(w.T @ w - components[:4].T @ components[:4]) < 0.02
    assert torch.any((w * components[:4]).sum(1).abs() < 0.9)


@pytest.mark.oracle("hpca")
def test_relu_makes_sanger_rebuild_the_input_from_what_fires(ellipsoid):
    # The published update is what is left of x after units 1 to i, times y_i: unit 1 is Oja's where it fires.
    x, _ = ellipsoid
    w = descend(units(3, 10), Sanger(torch.relu), [x] * 1500, 0.03)
    fires = x @ w[0] > 0
    u = (x @ w[0])[fires]
    torch.testing.assert_close((u[:, None] * x[fires]).mean(0), u.square().mean() * w[0], atol=1e-3, rtol=0)
    assert w[0].norm().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.oracle("hebb", "covariance")
def test_covariance_finds_the_first_component_where_hebb_finds_the_mean(ellipsoid):
    x, components = ellipsoid
    mean = 10 * components[9]
    for rule, direction in ((covariance, components[0]), (hebb, components[9])):
        w = descend(units(1, 10), rule, [x + mean] * 300, 0.02, unit_norm)[0]
        assert torch.abs(w @ direction) > 0.999


def clusters(generator, n=4000):
    """Four equally likely clusters on orthogonal axes."""
    which = torch.randint(0, 4, (n,), generator=generator)
    noise = 0.05 * torch.randn(n, 8, dtype=torch.float64, generator=generator)
    return 3 * F.one_hot(which, 8).double() + noise, which


@pytest.mark.oracle("krotov")
def test_krotov_without_anti_hebb_converges_to_norm_one_cluster_directions():
    x, which = clusters(torch.Generator().manual_seed(0))
    layer = nn.Linear(8, 4, bias=False).double()
    layer.weight.data.copy_(0.2 * torch.eye(4, 8) + 0.01)
    w = descend(layer, Krotov(1, 0.0, 2), [x] * 800, 0.05)
    means = torch.stack([x[which == c].mean(0) for c in range(4)])
    assert torch.allclose(w.norm(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-3)
    assert torch.all(F.cosine_similarity(w, means, dim=1) > 0.9999)


@pytest.mark.oracle("softhebb")
def test_softhebb_is_stationary_at_norm_one_with_equal_usage():
    x, _ = clusters(torch.Generator().manual_seed(0))
    layer = nn.Linear(8, 4, bias=False).double()
    layer.weight.data.copy_(0.2 * torch.eye(4, 8) + 0.01)
    w = descend(layer, SoftHebb(0.5), [x] * 600, 0.25)
    assert torch.allclose(w.norm(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-3)
    usage = F.one_hot((x @ w.T).argmax(1), 4).double().mean(0)
    assert torch.allclose(usage, torch.full((4,), 0.25, dtype=torch.float64), atol=0.02)


def test_softhebb_by_norm_leaves_a_unit_of_norm_one_alone():
    layer = units(3, 5)
    layer.weight.data[0] /= layer.weight.data[0].norm()
    before = layer.weight.detach().clone()
    x = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    after = descend(layer, SoftHebb(rate_power=0.5), [x], 0.1)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=1e-8)
    assert torch.all((after[1:] - before[1:]).norm(dim=1) > 1e-3)


@pytest.mark.oracle("instar")
def test_instar_with_steps_of_one_over_wins_is_sequential_k_means():
    x, _ = clusters(torch.Generator().manual_seed(1), n=300)
    layer = units(4, 8)
    layer.weight.data.copy_(x[:4])
    rule = Hebbian(nn.Sequential(layer), {"0": Instar()})
    means, wins = x[:4].clone(), torch.ones(4)
    members = [[m] for m in means.clone()]
    for sample in x[4:]:
        rule.zero_grad()
        rule(sample[None]).backward()
        nearest = (means - sample).square().sum(1).argmin()  # MacQueen 1967
        wins[nearest] += 1
        means[nearest] += (sample - means[nearest]) / wins[nearest]
        members[nearest].append(sample)
        layer.weight.data -= layer.weight.grad / wins[:, None]
    torch.testing.assert_close(layer.weight.detach(), means, rtol=0, atol=1e-12)
    by_hand = torch.stack([torch.stack(m).mean(0) for m in members])
    torch.testing.assert_close(layer.weight.detach(), by_hand, rtol=0, atol=1e-12)


@pytest.mark.oracle("soft-instar")
def test_soft_instar_climbs_the_likelihood_of_a_mixture_of_gaussians():
    x, _ = clusters(torch.Generator().manual_seed(2), n=50)
    layer, variance = units(4, 8), 1.7
    rule = Hebbian(nn.Sequential(layer), {"0": SoftInstar(variance)})
    rule(x).backward()
    w = layer.weight.detach().requires_grad_()
    distance = (x[:, None] - w).square().sum(2)
    likelihood = torch.logsumexp(-distance / (2 * variance), 1).mean()
    (slope,) = torch.autograd.grad(likelihood, w)
    torch.testing.assert_close(-layer.weight.grad, variance * slope, rtol=1e-10, atol=1e-12)


@pytest.mark.oracle("bcm")
def test_bcm_units_come_to_answer_one_pattern_each_with_k():
    k = 5
    patterns = torch.eye(k, dtype=torch.float64)
    layer = units(6, k)
    layer.weight.data.abs_()
    w = descend(layer, BCM(6, rate=0.2), [patterns] * 1200, 0.05)
    y = (patterns @ w.T).relu()  # (patterns, units)
    strongest = y.amax(0)
    torch.testing.assert_close(strongest, torch.full_like(strongest, k), rtol=0.05, atol=0)
    torch.testing.assert_close(
        1 - y.mean(0) / strongest, torch.full_like(strongest, 1 - 1 / k), rtol=0.01, atol=0
    )
    assert torch.all((y < 1e-6).sum(0) == k - 1)


def test_the_threshold_of_bcm_slides_after_the_mean_square_in_training_only():
    layer = units(3, 4)
    bcm = BCM(3, rate=0.25)
    rule = Hebbian(nn.Sequential(layer), {"0": bcm})
    assert bcm.theta.dtype == torch.float64
    x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.ones(3, dtype=torch.float64)
    for _ in range(3):
        rule(x)
        expected = 0.75 * expected + 0.25 * (x @ layer.weight.T).relu().pow(2).mean(0)
    torch.testing.assert_close(bcm.theta, expected.detach())
    rule.eval()
    rule(x)
    torch.testing.assert_close(bcm.theta, expected.detach())


# ---- Földiák: anti-Hebbian inhibition -----------------------------------------------------------


def bars(n, generator):
    """Images (n, 64) of 8 horizontal and 8 vertical bars, each there with probability 1 / 8."""
    there = torch.rand(n, 16, generator=generator, dtype=torch.float64) < 1 / 8
    return (there[:, :8, None] | there[:, None, 8:]).double().flatten(1)


@pytest.mark.oracle("foldiak")
def test_foldiak_has_one_unit_for_each_bar():
    g = torch.Generator().manual_seed(0)
    layer = units(16, 64)
    layer.weight.data.copy_(F.normalize(torch.rand(16, 64, generator=g, dtype=torch.float64)))
    foldiak = Foldiak(16, p=1 / 8, alpha=0.0, gamma=0.1)
    descend(layer, foldiak, [bars(1, g) for _ in range(100)], 0.0)  # the thresholds alone, as in the paper
    foldiak.alpha, foldiak.gamma = 0.1, 0.02
    w = descend(layer, foldiak, [bars(1, g) for _ in range(1200)], 0.02)
    single = torch.zeros(16, 8, 8, dtype=torch.float64)
    for i in range(8):
        single[i, i, :] = single[8 + i, :, i] = 1
    answers = foldiak.respond(single.flatten(1) @ w.T)
    assert torch.all(answers.sum(0) == 1)
    assert torch.all(answers.sum(1) == 1)


def test_foldiak_written_out():
    x = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = units(3, 4)
    layer.weight.data.abs_()
    foldiak = Foldiak(3, p=0.3, alpha=0.2, gamma=0.05)
    rule = Hebbian(nn.Sequential(layer), {"0": foldiak})
    foldiak.threshold.copy_(torch.tensor([0.1, 5.0, 0.2]))
    # The second unit is silent, so that its inhibition of the third would rise above 0.
    foldiak.inhibition.copy_(torch.tensor([[0, -0.4, -0.1], [-0.4, 0, 0], [-0.1, 0, 0]]))
    w, v, t = layer.weight.detach().clone(), foldiak.inhibition.clone(), foldiak.threshold.clone()

    rule(x).backward()

    growth = torch.zeros_like(w)
    fired = []
    for sample in x:
        y = torch.zeros(3, dtype=torch.float64)
        for _ in range(3000):  # Euler's method with much smaller steps, up to rest
            a = w @ sample + v @ y - t
            y = y + 0.01 * (1 / (1 + torch.exp(-10 * a)) - y)
        y = (y > 0.5).double()
        fired.append(y)
        growth += torch.outer(y, sample) - y[:, None] * w
    torch.testing.assert_close(-layer.weight.grad, growth / 5)
    assert 0 < sum(fired).sum() < 15
    for i in range(3):
        often = sum(y[i] for y in fired) / 5
        torch.testing.assert_close(foldiak.threshold[i], t[i] + 0.05 * (often - 0.3))
        for j in range(3):
            together = sum(y[i] * y[j] for y in fired) / 5
            expected = min(0.0, v[i, j] - 0.2 * (together - 0.09)) if i != j else 0.0
            assert foldiak.inhibition[i, j].item() == pytest.approx(float(expected), abs=1e-12)
