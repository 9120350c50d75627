"""Phases: a readout on cached, scaled features is the same as one trained on the whole model."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from hebbian import registry
from hebbian.nn import RePU
from trainers import Phase, Recipe, mlp, predict, recommended, train
from trainers.models import gaussian, uniform
from trainers.readout import Features, fit_scaling, fold, last_linear
from trainers.recipes import cosine, linear

QUICK = Recipe(Phase(partial(SGD, lr=0.01), 2, 10), readout=Phase(partial(SGD, lr=0.1), 2, 10))


def data(n=60, dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 12, generator=g, dtype=dtype), torch.randint(0, 3, (n,), generator=g)


def net(dtype=torch.float32, **wanted):
    model = mlp(12, [8, 7], 3, **wanted)
    uniform(model, torch.Generator().manual_seed(0))
    return model.to(dtype)


def run(name, model, recipe=QUICK, seed=0, data=data, **more):
    x, y = data()
    return train(name, model, x, y, criterion=F.cross_entropy, classes=3, recipe=recipe, seed=seed, **more)


def same(a, b):
    return all(
        torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", sorted(registry.rules()))
def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(name):
    def trained(seed):
        model = net(activation=partial(nn.Dropout, 0.5), centred=True)
        torch.randn(seed + 1)  # whatever the caller drew before must not matter
        run(name, model, seed=seed)
        return model

    assert same(trained(3), trained(3))
    assert not same(trained(3), trained(4))


def test_the_callers_random_state_is_left_alone():
    model = net(activation=partial(nn.Dropout, 0.5))
    before = torch.get_rng_state()
    run("dfa", model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["none", "mean", "standard"])
def test_folding_keeps_the_scores(kind):
    h = torch.rand(50, 7, dtype=torch.float64) * torch.arange(7)  # the first feature never changes
    readout = nn.Linear(7, 3, dtype=torch.float64)
    scaling = fit_scaling(h, kind)
    expected = readout(scaling(h))
    fold(scaling, readout)
    torch.testing.assert_close(readout(h), expected, rtol=1e-12, atol=1e-12)


def test_scalings_are_what_their_names_say():
    h = torch.rand(50, 7, dtype=torch.float64) * 3 + torch.arange(7)
    assert torch.equal(fit_scaling(h, "none")(h), h)
    assert fit_scaling(h, "mean")(h).mean().item() == pytest.approx(1)
    z = fit_scaling(h, "standard")(h).numpy()
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1)
    with pytest.raises(ValueError, match="needs a positive one; use 'standard'"):
        fit_scaling(-h, "mean")


@pytest.mark.parametrize("name", ["frozen", "oja"])
def test_the_cached_readout_is_the_uncached_one(name):
    """Written out: the same steps on the last layer, with the whole model in the loop."""
    model, start = (net(torch.float64, centred=True) for _ in range(2))
    x, y = data(dtype=torch.float64)
    recipe = replace(QUICK, readout=replace(QUICK.readout, batch=len(x), schedule=linear))
    run(name, model, recipe, data=lambda: (x, y))
    body = model[:-1]
    z = body(x).detach()
    mean, std = z.mean(0), z.std(0, correction=0)
    w, b = start[-1].weight, start[-1].bias
    for rate in (0.1, 0.05):  # annealed linearly over the two epochs of one batch each
        scores = F.linear((body(x).detach() - mean) / std, w, b)
        grads = torch.autograd.grad(F.cross_entropy(scores, y), [w, b])
        w, b = ((p - rate * g).detach().requires_grad_() for p, g in zip((w, b), grads, strict=True))
    torch.testing.assert_close(model(x), F.linear((body(x) - mean) / std, w, b), rtol=1e-10, atol=1e-10)


def test_unsupervised_features_do_not_see_the_labels():
    x, y = data()
    a, b = net(), net()
    run("softhebb", a, data=lambda: (x, y))
    run("softhebb", b, data=lambda: (x, y.flip(0)))
    assert same(a[:-1], b[:-1])
    assert not same(a[-1], b[-1])


def test_frozen_keeps_its_weights_and_gathers_batch_statistics():
    model = net(centred=True)
    before = copy.deepcopy(model)
    run("frozen", model)
    for old, new in zip(before[0].parameters(), model[0].parameters(), strict=True):
        assert torch.equal(old, new)
    assert not torch.equal(before[1][0].running_mean, model[1][0].running_mean)


def test_phases_have_names_and_the_readout_is_judged_on_features():
    seen = {}

    class Listener:
        def on_epoch(self, trainer):
            seen[trainer.phase] = trainer.evaluate()

    x, y = data()
    rule = run("krotov", net(), callbacks=[Listener()], held=(x, y))
    hits = (predict(rule, x).argmax(1) == y).double().mean().item()
    assert seen == {"features": {}, "readout": {"accuracy": hits}}
    seen.clear()
    run("backprop", net(), callbacks=[Listener()])
    assert list(seen) == ["train"]


def test_one_logit_is_enough():
    x, _ = data()
    target = (x[:, :1] > 0).float()
    model = mlp(12, [8], 1)
    rule = train(
        "oja",
        model,
        x,
        target,
        criterion=F.binary_cross_entropy_with_logits,
        classes=1,
        recipe=replace(QUICK, readout=Phase(partial(SGD, lr=1.0), 50, 20)),
        seed=0,
    )
    assert predict(rule, x).shape == (60, 1)
    assert ((predict(rule, x) > 0) == (target > 0.5)).double().mean() > 0.7


def test_settings_reach_the_rule():
    rule = run("krotov", net(), settings={"k": 3, "delta": 0.1})
    assert {(p.k, p.delta) for p in rule.plasticity.values()} == {(3, 0.1)}


def test_features_are_what_the_last_linear_gets():
    model, (x, _) = net(), data()
    torch.testing.assert_close(Features(model, last_linear(model))(x), model[:-1](x))


def test_a_model_without_a_linear_readout_is_refused():
    with pytest.raises(TypeError, match="needs a Linear layer with a bias"):
        last_linear(nn.Sequential(nn.Linear(3, 3), nn.Conv1d(3, 3, 1)))
    model = nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 3), nn.Tanh())
    with pytest.raises(TypeError, match="move what follows it"):
        Features(model, last_linear(model))(data()[0])


def test_every_registered_rule_has_settings_and_a_stranger_gets_those_of_its_kind():
    for name in registry.rules():
        assert isinstance(recommended(name), Recipe)
    assert recommended("dfa") == recommended("backprop")
    with pytest.raises(ValueError, match="no rule named 'krotv'; did you mean 'krotov'"):
        recommended("krotv")


@pytest.mark.parametrize(("schedule", "half"), [(linear, 0.5), (cosine, 0.5)])
def test_schedules_end_at_zero(schedule, half):
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer, 10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 1
    assert rates[5] == pytest.approx(half)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)


def test_a_phase_has_at_least_one_epoch():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        Phase(SGD, epochs=0)


def test_small_data_get_more_epochs():
    phase = Phase(SGD, epochs=10, least_steps=95)
    assert [phase.epochs_for(n) for n in (5, 9, 10, 100)] == [19, 11, 10, 10]


def test_repu_is_the_power_of_the_positive_part():
    u = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    torch.testing.assert_close(RePU(4.5)(u), torch.tensor([0.0, 0.0, 0.5**4.5, 3.0**4.5]))
    with pytest.raises(ValueError, match="n must be positive, got 0"):
        RePU(0)


def test_first_weights_follow_their_distributions():
    model = mlp(400, [300], 10)
    gaussian(model, torch.Generator().manual_seed(0))
    w = model[0][1].weight
    # 120,000 draws: the mean and the standard deviation are within 5 standard errors
    assert w.mean().item() == pytest.approx(0, abs=5 * 120_000**-0.5)
    assert w.std().item() == pytest.approx(1, abs=5 * 240_000**-0.5)
    assert not model[0][1].bias.any()
    assert 0.99 < model[-1].weight.abs().max().item() * 300**0.5 <= 1
    with pytest.raises(ValueError, match="at least one hidden layer"):
        mlp(4, [], 2)
