"""Phases: cached and block-wise computations equal those of the whole model."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from hebbian import BCM, Hebbian, SoftHebb, oja, registry
from tests.helpers import FEED_FORWARD, same_state, samples, small_mlp
from trainers import Cache, Phase, Recipe, RunOptions, TrainingData, mlp, predict, recommended, train_rule
from trainers.networks import convnet, gaussian, uniform
from trainers.recipes import cosine, linear

QUICK = Recipe(Phase(partial(SGD, lr=0.01), 2, 10), readout=Phase(partial(SGD, lr=0.1), 2, 10))


def data(dtype=torch.float32):
    return samples(60, 12, 3, dtype)


def run(name, model, recipe=QUICK, seed=0, data=data, callbacks=(), cache=None, **more):
    options = RunOptions(seed, callbacks, cache=cache or Cache())
    return train_rule(name, model, TrainingData(*data(), classes=3, **more), recipe, options)


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(name):
    def trained(seed):
        model = small_mlp(activation=partial(nn.Dropout, 0.5), centred=True)
        torch.randn(seed + 1)  # whatever the caller drew before must not matter
        run(name, model, seed=seed)
        return model

    once = trained(3)
    assert same_state(once, trained(3))
    assert not same_state(once, trained(4))


def test_the_callers_random_state_is_left_alone():
    model = small_mlp(activation=partial(nn.Dropout, 0.5))
    before = torch.get_rng_state()
    run("dfa", model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["frozen", "oja"])
def test_the_cached_readout_is_the_uncached_one(name):
    """Written out: the same steps on the last layer, with the whole model in the loop."""
    model, start = (small_mlp(dtype=torch.float64, centred=True) for _ in range(2))
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


WITHOUT_LABELS = sorted(name for name, entry in registry.list_rules().items() if not entry.supervised)
WITH_LABELS = sorted(set(FEED_FORWARD) - set(WITHOUT_LABELS))
GREEDY = replace(QUICK, greedy=True)


def unaltered(x, generator):
    """An augmentation that changes nothing, but prevents caching."""
    return x


def images(dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    return torch.randn(30, 2, 10, 10, generator=g, dtype=dtype), torch.randint(0, 3, (30,), generator=g)


def greedily(model, plasticity, x, recipe, seed):
    """Train layer after layer through the whole model, with one block in train mode and no cache."""
    g = torch.Generator().manual_seed(seed)
    phase = recipe.learn
    for path, rule in plasticity.items():
        hebbian = Hebbian(model, {path: rule})
        optimizer = phase.optimizer(hebbian.parameters())
        steps = phase.epochs * (len(x) // phase.batch)
        schedule = phase.schedule(optimizer, steps)
        for _ in range(phase.epochs):
            for chosen in torch.randperm(len(x), generator=g).split(phase.batch):
                hebbian.train()
                for i, block in enumerate(model):
                    block.train(path.startswith(f"{i}."))
                optimizer.zero_grad()
                hebbian(x[chosen]).backward()
                optimizer.step()
                schedule.step()


@pytest.mark.parametrize(
    ("name", "make"), [("oja", lambda: oja), ("softhebb", SoftHebb), ("bcm", lambda: BCM(units=6))]
)
def test_greedy_training_is_each_layer_alone_on_finished_ones(name, make):
    (x, y), expected = images(), convnet((2, 10, 10), [6, 6], 3, centred=True, width=3).double()
    uniform(expected, torch.Generator().manual_seed(0))
    found = copy.deepcopy(expected)
    greedily(expected, {"0.1": make(), "1.1": make()}, x, GREEDY, seed=4)
    run(name, found, GREEDY, 4, lambda: (x, y))
    assert same_state(found[:2], expected[:2])


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_greedy_training_from_the_cache_is_that_without_it(name):
    def trained(**more):
        model = small_mlp(dtype=torch.float64, centred=True)
        run(name, model, GREEDY, data=lambda: data(dtype=torch.float64), **more)
        return model.state_dict()

    # the cache passes other batches through the part below: other last digits
    torch.testing.assert_close(trained(), trained(augment=unaltered))


def test_greedy_training_does_not_depend_on_the_storage_of_features(tmp_path):
    def trained(limit):
        model = small_mlp(centred=True)
        run("softhebb", model, GREEDY, cache=Cache(limit, tmp_path))
        return model

    assert same_state(trained(0), trained(1 << 20))
    assert not list(tmp_path.iterdir())


def test_finished_greedy_blocks_are_unchanged():
    seen = {}

    class Listener:
        def on_phase(self, trainer):
            seen[trainer.phase] = copy.deepcopy(model)

    model = small_mlp(centred=True)
    run("oja", model, GREEDY, callbacks=[Listener()])
    assert list(seen) == ["features.0", "features.1", "readout"]
    assert same_state(seen["features.0"][0], model[0])
    assert same_state(seen["features.1"][1], model[1])
    assert not same_state(seen["features.0"][1], model[1])


def test_a_greedy_chain_may_have_blocks_without_weights():
    flat = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)
    )
    uniform(flat, torch.Generator().manual_seed(0))
    model = small_mlp()
    run("softhebb", model, GREEDY)
    run("softhebb", flat, GREEDY)
    assert same_state(flat, model)


def passes(layer):
    """Count the samples at the input of a layer."""
    seen = []
    layer.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    return seen


@pytest.mark.parametrize(("augment", "samples"), [(None, 60), (unaltered, 2 * 60 + 2)])
def test_a_frozen_block_sees_every_sample_once_or_as_altered_in_each_epoch(augment, samples):
    """Two epochs of 60 samples; with augmentation two more are passed as the example for the rule."""
    model = small_mlp()
    seen = passes(model[0])
    run("backprop", model, replace(QUICK, frozen_blocks=1), augment=augment)
    assert sum(seen) == samples


@pytest.mark.parametrize("name", ["backprop", "dfa", "forward-forward", "pc", "oja", "clapp"])
@pytest.mark.parametrize("augment", [None, unaltered])
def test_the_rest_is_trained_on_the_output_of_a_frozen_part(name, augment):
    """Written out: the rest alone, on the output of the part in eval mode."""
    x, y = data(dtype=torch.float64)
    model = small_mlp(dtype=torch.float64, centred=True)
    model[0](x)  # statistics of its own
    before, rest = copy.deepcopy(model[0]), copy.deepcopy(model[1:])
    rule = run(name, model, replace(QUICK, frozen_blocks=1), data=lambda: (x, y), augment=augment)
    h = before.eval()(x).detach()
    alone = run(name, rest, data=lambda: (h, y))
    assert same_state(model[0], before)
    torch.testing.assert_close(model[1:].state_dict(), rest.state_dict())  # h is of other batches
    torch.testing.assert_close(predict(rule, x), predict(alone, h))


def test_a_linear_probe_leaves_only_the_last_block_to_learn():
    model = small_mlp()
    before = copy.deepcopy(model)
    run("backprop", model, replace(QUICK, frozen_blocks=2))
    assert same_state(model[:2], before[:2])
    assert not same_state(model[2], before[2])


@pytest.mark.parametrize("frozen", [-1, 3])
def test_a_block_must_be_left_to_learn(frozen):
    with pytest.raises(ValueError, match=f"leave one of the 3 blocks to learn, got {frozen}"):
        run("backprop", small_mlp(), replace(QUICK, frozen_blocks=frozen))


@pytest.mark.parametrize("recipe", [GREEDY, replace(QUICK, frozen_blocks=1)])
def test_only_a_chain_has_blocks(recipe):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small_mlp()

        def forward(self, x):
            return self.body(x)

    with pytest.raises(
        TypeError, match=r"frozen blocks and greedy training need an nn.Sequential, got Model"
    ):
        run("oja", Model(), recipe)


def test_a_greedy_recipe_is_for_unsupervised_rules():
    with pytest.raises(ValueError, match="greedy training is for unsupervised rules; 'dfa' is supervised"):
        run("dfa", small_mlp(), GREEDY)


@pytest.mark.parametrize("recipe", [QUICK, GREEDY])
def test_single_layers_may_have_settings_of_their_own(recipe):
    x, y = data(dtype=torch.float64)
    own = {"0.1": {"temperature": 0.3}, "1.0": {}}
    model, plain = small_mlp(dtype=torch.float64), small_mlp(dtype=torch.float64)
    single = {"layers": own, "temperature": 2.0}
    run("softhebb", model, replace(recipe, settings=single), data=lambda: (x, y))
    run("softhebb", plain, replace(recipe, settings={"temperature": 2.0}), data=lambda: (x, y))
    rule = registry.build(
        "softhebb", small_mlp(), None, example=x[:2], classes=3, layers=own, temperature=2.0
    )
    assert [p.temperature for p in rule.plasticity.values()] == [0.3, 2.0]
    assert not same_state(model[0], plain[0])


def test_layers_that_are_not_there_or_take_no_settings_are_refused():
    with pytest.raises(ValueError, match=r"no layer at '7\.1'"):
        run("oja", small_mlp(), replace(GREEDY, settings={"layers": ["0.1", "7.1"]}))
    with pytest.raises(TypeError, match="'stdp' takes no settings for single layers"):
        run("stdp", small_mlp(), replace(QUICK, settings={"layers": {"0.1": {"temperature": 1.0}}}))
    for recipe in (QUICK, GREEDY):
        with pytest.raises(TypeError, match="'clapp' acts at all layers of the model; give no layers"):
            run("clapp", small_mlp(), replace(recipe, settings={"layers": ["0.1"]}))


TUNED = replace(QUICK, finetune=Phase(partial(SGD, lr=0.1), 1, 60))


@pytest.mark.parametrize(
    ("name", "greedy"), [("oja", False), ("oja", True), ("dfa", False), ("forward-forward", False)]
)
def test_fine_tuning_continues_from_the_learned_weights_by_backprop(name, greedy):
    """Written out: one step on all data from the weights of the same training without that phase."""
    x, y = data(dtype=torch.float64)
    tuned, model = (small_mlp(dtype=torch.float64, centred=True) for _ in range(2))
    rule = run(name, tuned, replace(TUNED, greedy=greedy), data=lambda: (x, y))
    run(name, model, replace(QUICK, greedy=greedy), data=lambda: (x, y))
    before = copy.deepcopy(model)
    model.zero_grad()
    F.cross_entropy(model.train()(x), y).backward()
    SGD(model.parameters(), lr=0.1).step()
    for (path, found), expected in zip(tuned.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert not torch.equal(found, before.state_dict()[path])
    torch.testing.assert_close(predict(rule, x), tuned.eval()(x))


def test_fine_tuning_is_the_last_phase_and_excludes_the_frozen_part():
    phases = []

    class Listener:
        def on_phase(self, trainer):
            phases.append(trainer.phase)

    model = small_mlp(centred=True)
    before = copy.deepcopy(model[0])
    run("oja", model, replace(TUNED, frozen_blocks=1), callbacks=[Listener()])
    assert phases == ["features", "readout", "finetune"]
    assert same_state(model[0], before)
    phases.clear()
    run("dfa", small_mlp(), TUNED, callbacks=[Listener()])
    assert phases == ["train", "finetune"]


def test_unsupervised_features_do_not_see_the_labels():
    x, y = data()
    a, b = small_mlp(), small_mlp()
    run("softhebb", a, data=lambda: (x, y))
    run("softhebb", b, data=lambda: (x, y.flip(0)))
    assert same_state(a[:-1], b[:-1])
    assert not same_state(a[-1], b[-1])


def test_frozen_keeps_its_weights_and_gathers_batch_statistics():
    model = small_mlp(centred=True)
    before = copy.deepcopy(model)
    run("frozen", model)
    for old, new in zip(before[0].parameters(), model[0].parameters(), strict=True):
        assert torch.equal(old, new)
    assert not torch.equal(before[1][0].running_mean, model[1][0].running_mean)


def test_phases_have_names_and_the_readout_is_evaluated_on_features():
    seen = {}

    class Listener:
        def on_epoch(self, trainer):
            seen[trainer.phase] = trainer.evaluate()

    x, y = data()
    rule = run("krotov", small_mlp(), callbacks=[Listener()], held_out=(x, y))
    hits = (predict(rule, x).argmax(1) == y).double().mean().item()
    assert seen == {"features": {}, "readout": {"accuracy": hits}}
    seen.clear()
    run("backprop", small_mlp(), callbacks=[Listener()])
    assert list(seen) == ["train"]


def test_one_logit_is_enough():
    x, _ = data()
    target = (x[:, :1] > 0).float()
    model = mlp(12, [8], 1)
    one_logit = TrainingData(x, target, classes=1, criterion=F.binary_cross_entropy_with_logits)
    recipe = replace(QUICK, readout=Phase(partial(SGD, lr=1.0), 50, 20))
    rule = train_rule("oja", model, one_logit, recipe)
    assert predict(rule, x).shape == (60, 1)
    assert ((predict(rule, x) > 0) == (target > 0.5)).double().mean() > 0.7
    with pytest.raises(ValueError, match="use a criterion of one logit"):
        TrainingData(x, target, classes=1)


def test_settings_reach_the_rule():
    rule = run("krotov", small_mlp(), replace(QUICK, settings={"k": 3, "delta": 0.1}))
    assert {(p.k, p.delta) for p in rule.plasticity.values()} == {(3, 0.1)}


def test_every_rule_has_settings_and_a_new_one_those_of_its_kind(monkeypatch):
    for name in registry.list_rules():
        assert isinstance(recommended(name), Recipe)
    known = registry.find_rule("oja"), registry.find_rule("backprop")
    strangers = {f"my-{entry.name}": replace(entry, name=f"my-{entry.name}") for entry in known}
    monkeypatch.setattr(registry, "list_rules", lambda: strangers | {entry.name: entry for entry in known})
    for entry in known:
        assert recommended(f"my-{entry.name}") == recommended(entry.name)
    monkeypatch.undo()
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
