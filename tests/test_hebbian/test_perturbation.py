"""Perturbation rules: unbiased, with the variance of theory, and equal to their formula for each draw."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hebbian import Backprop, Hebbian
from hebbian.perturbation import NodePerturbation, RewardModulatedHebb, WeightPerturbation, sample_losses
from tests.test_hebbian.helpers import batch, grads

LINEAR = (
    lambda: nn.Sequential(nn.Sequential(nn.Linear(20, 6), nn.Tanh()), nn.Linear(6, 4)),
    (20,),
)
CONV = (
    lambda: nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.Tanh()),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 4)),
    ),
    (2, 4, 4),
)


def make(case):
    torch.manual_seed(0)
    build, shape = case
    return build().double(), *batch(8, *shape)


def flat(found):
    return torch.cat([g.flatten() for g in found.values()])


@pytest.mark.oracle("weight-perturbation")
@pytest.mark.slow
def test_weight_perturbation_is_off_by_the_root_of_parameters_over_draws():
    torch.manual_seed(0)
    model, (x, y) = nn.Linear(5, 4).double(), batch(8, 5)
    rule = WeightPerturbation(model, F.cross_entropy, sigma=1e-4)
    exact = flat(grads(Backprop(model, F.cross_entropy), x, y))
    draws = torch.stack([flat(grads(rule, x, y, seed)) for seed in range(2000)])
    assert draws.shape[1] == 24
    for n in (100, 1000):
        means = draws.view(-1, n, 24).mean(1)
        error = ((means - exact).norm(dim=1) / exact.norm()).square().mean().sqrt().item()
        assert error == pytest.approx(math.sqrt(25 / n), rel=0.25)


def test_weight_perturbation_written_out():
    model, x, y = make(LINEAR)
    sigma = 0.1
    found = grads(WeightPerturbation(model, F.cross_entropy, sigma), x, y)
    torch.manual_seed(0)
    noise = [torch.randn_like(p) for p in model.parameters()]

    def loss(size):
        start = [p.detach().clone() for p in model.parameters()]
        for p, n in zip(model.parameters(), noise, strict=True):
            p.data += size * n
        value = F.cross_entropy(model(x), y).item()
        for p, s in zip(model.parameters(), start, strict=True):
            p.data.copy_(s)
        return value

    slope = (loss(sigma) - loss(-sigma)) / (2 * sigma)
    for g, n in zip(found.values(), noise, strict=True):
        torch.testing.assert_close(g, slope * n, rtol=1e-9, atol=1e-12)


def test_weight_perturbation_leaves_a_frozen_parameter_alone():
    model, x, y = make(LINEAR)
    model[0].requires_grad_(False)
    with_frozen = grads(WeightPerturbation(model, F.cross_entropy), x, y)
    assert set(with_frozen) == {"model.1.weight", "model.1.bias"}
    h = model[0](x)
    apart = grads(WeightPerturbation(model[1], F.cross_entropy), h, y)
    torch.testing.assert_close(with_frozen["model.1.weight"], apart["model.weight"])


@pytest.mark.oracle("node-perturbation")
@pytest.mark.parametrize("case", [LINEAR, CONV], ids=["linear", "conv"])
def test_node_perturbation_is_the_gradient_on_average(case):
    model, x, y = make(case)
    many = x.repeat(3000, *[1] * (x.ndim - 1)), y.repeat(3000)  # every copy draws noise of its own
    found = flat(grads(NodePerturbation(model, F.cross_entropy, sigma=1e-3), *many))
    exact = flat(grads(Backprop(model, F.cross_entropy), x, y))
    assert F.cosine_similarity(found, exact, dim=0) > 0.99
    assert (found @ exact / (exact @ exact)).item() == pytest.approx(1, abs=0.05)


def test_node_perturbation_of_a_convolution_has_the_variance_of_its_noisy_positions():
    # The noise n meets the slope g of the loss as n nᵀ g / sigma², of covariance |g|² + g gᵀ; the weights' J
    # carries it on, so that the squared error of one draw is |g|² |J|² + |J g|².
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False).double()
    model, (x, y) = nn.Sequential(layer, nn.Flatten()), batch(1, 2, 6, 6)
    slope = torch.randn(3, 3, 3, dtype=torch.float64)

    def linear(scores, y):
        return (scores * slope.flatten()).sum(1).mean()

    jacobian = torch.func.jacrev(lambda w: F.conv2d(x, w, stride=2, padding=1))(layer.weight)
    jacobian = jacobian.detach().reshape(27, 54)
    exact = slope.flatten() @ jacobian
    expected = slope.square().sum() * jacobian.square().sum() + exact.square().sum()
    rule = NodePerturbation(model, linear)
    many = x.expand(100, -1, -1, -1), y.expand(100)
    found = torch.stack([flat(grads(rule, *many, seed)) for seed in range(60)])
    assert ((found - exact).square().sum(1).mean() * 100 / expected).item() == pytest.approx(1, abs=0.15)


def test_node_perturbation_written_out():
    model, x, y = make(LINEAR)
    sigma = 0.1
    found = grads(NodePerturbation(model, F.cross_entropy, sigma), x, y)
    torch.manual_seed(0)
    first, second = model[0][0], model[1]
    n1 = sigma * torch.randn(8, 6, dtype=torch.float64)
    n2 = sigma * torch.randn(8, 4, dtype=torch.float64)
    dw1, dw2, db2 = torch.zeros(6, 20).double(), torch.zeros(4, 6).double(), torch.zeros(4).double()
    for i in range(8):
        h = torch.tanh(first(x[i]) + n1[i])
        tried = F.cross_entropy(second(h) + n2[i], y[i])
        rise = (tried - F.cross_entropy(model(x[i]), y[i])).detach() / sigma**2
        dw1 += rise * torch.outer(n1[i], x[i]) / 8
        dw2 += rise * torch.outer(n2[i], h.detach()) / 8
        db2 += rise * n2[i] / 8
    torch.testing.assert_close(found["model.0.0.weight"], dw1, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["model.1.weight"], dw2, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["model.1.bias"], db2, rtol=1e-9, atol=1e-12)


@pytest.mark.oracle("three-factor")
@pytest.mark.parametrize("case", [LINEAR, CONV], ids=["linear", "conv"])
def test_reward_modulation_climbs_the_expected_reward_of_a_bandit(case):
    model, x, y = make(case)
    x, y = x[:1], y[:1]
    rule = RewardModulatedHebb(model, F.cross_entropy, sigma=0.01)
    rule.expected.fill_(-F.cross_entropy(model(x), y).item())
    found = grads(rule, x.expand(20000, *x.shape[1:]), y.expand(20000))
    exact = grads(Backprop(model, F.cross_entropy), x, y)
    a, b = flat(found), flat({k: exact[k] for k in found})
    assert F.cosine_similarity(a, b, dim=0) > 0.99
    assert (a @ b / (b @ b)).item() == pytest.approx(1, abs=0.05)


def constant_reward(scores, y):
    return -torch.ones((), dtype=scores.dtype)


def test_a_reward_of_one_leaves_the_two_factor_rule_exactly():
    model, x, y = make(LINEAR)
    sigma = 0.1
    found = grads(RewardModulatedHebb(model, constant_reward, sigma), x, y)
    torch.manual_seed(0)
    n1 = sigma * torch.randn(8, 6, dtype=torch.float64)
    n2 = sigma * torch.randn(8, 4, dtype=torch.float64)
    h = torch.tanh(model[0][0](x) + n1).detach()
    for layer, seen, noise, name in (
        (model[0][0], x, n1, "model.0.0.weight"),
        (model[1], h, n2, "model.1.weight"),
    ):
        alone = Hebbian(layer, {"": lambda u, w, g=noise / sigma**2: (g, u.new_zeros(u.shape[1]))})
        torch.testing.assert_close(found[name], grads(alone, seen, None)["model.weight"], rtol=1e-12, atol=0)


def test_reward_meets_the_trace_of_earlier_activity():
    model = nn.Linear(3, 2).double()
    sigma, trace, rate = 0.1, 0.8, 0.25
    rule = RewardModulatedHebb(model, lambda scores, y: y.mean(), sigma, trace, rate)
    g = torch.Generator().manual_seed(1)
    x = torch.randn(5, 1, 3, generator=g, dtype=torch.float64)
    loss = torch.randn(5, 1, 1, generator=g, dtype=torch.float64)
    e, expected = torch.zeros(2, 3).double(), 0.0
    for t in range(5):
        found = grads(rule, x[t], loss[t], seed=t)["model.weight"]
        torch.manual_seed(t)
        noise = sigma * torch.randn(1, 2, dtype=torch.float64)
        e = trace * e + torch.outer(noise[0], x[t, 0]) / sigma**2
        torch.testing.assert_close(-found, (-loss[t].item() - expected) * e, rtol=1e-10, atol=1e-12)
        expected += rate * (-loss[t].item() - expected)


def test_losses_one_by_one_are_those_without_reduction():
    x, y = torch.randn(8, 4), batch(8, 4)[1]
    torch.testing.assert_close(sample_losses(F.cross_entropy, x, y), F.cross_entropy(x, y, reduction="none"))
    z, t = torch.randn(8, 1), torch.randint(0, 2, (8, 1)).float()
    expected = F.binary_cross_entropy_with_logits(z, t, reduction="none")[:, 0]
    torch.testing.assert_close(sample_losses(nn.BCEWithLogitsLoss(), z, t), expected)


@pytest.mark.parametrize("rule", [WeightPerturbation, NodePerturbation, RewardModulatedHebb])
def test_one_logit_learns_and_errors_state_the_cause(rule):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(256, 2)
    y = (x[:, :1] + x[:, 1:] > 0).float()
    learn = rule(model, nn.BCEWithLogitsLoss())
    optimizer = torch.optim.Adam(learn.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        learn(x, y).backward()
        optimizer.step()
    assert ((model(x) > 0) == (y > 0)).float().mean() > 0.95
    with pytest.raises(ValueError, match="needs targets"):
        learn(x)
    with pytest.raises(ValueError, match="sigma must be positive"):
        rule(model, nn.BCEWithLogitsLoss(), sigma=0)


def test_traces_and_rates_are_shares():
    for settings in ({"trace": 1.0}, {"rate": -0.1}):
        with pytest.raises(ValueError, match="must be at least 0"):
            RewardModulatedHebb(nn.Linear(2, 2), F.cross_entropy, **settings)


@pytest.mark.parametrize("kind", [WeightPerturbation, NodePerturbation])
def test_both_passes_have_the_same_dropout_masks(kind):
    """With other masks the difference of the losses would not vanish with sigma, and the update diverge."""
    torch.manual_seed(0)
    layers = [nn.Linear(20, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 4)]
    model = nn.Sequential(*layers).double()
    x, y = batch(8, 20)
    large, small = (flat(grads(kind(model, F.cross_entropy, sigma), x, y)) for sigma in (1e-4, 1e-5))
    torch.testing.assert_close(large, small, rtol=1e-2, atol=1e-4)
    without = flat(grads(kind(model, F.cross_entropy, 1e-5).eval(), x, y))
    assert (without - small).norm() > 0.1 * small.norm()
