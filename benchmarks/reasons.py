"""Why some rules perform worse than random features: python benchmarks/reasons.py [--rules NAME ...].

Each reason is one measurement on the nets, images and settings of benchmarks/rules.py with seed 0,
evaluated on the 2,000 training images that it holds out.  benchmarks/results/reasons.json stores them for
docs/rules.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from journal import NETS, REASONS as FILE
from rules import BATCH, HIDDEN, SETTINGS, images, make, recipe_for
from torch import Tensor, nn

from hebbian.backprop import Backprop
from hebbian.perturbation import RewardModulatedHebb
from hebbian.registry import build
from hebbian.rule import Rule
from hebbian.spiking import PairSTDP
from hebbian.synapse import Synaptic, synaptic, weight_layers
from trainers.data.batches import TrainingData
from trainers.networks import convnet, mlp
from trainers.phases import train_rule
from trainers.prediction import accuracy, predict
from trainers.recipes import Recipe, recommended

DRAWS = 20


def trained(rule: str, net: str) -> tuple[nn.Sequential, float]:
    """Return the net trained by a rule, and its accuracy."""
    recipe = recipe_for(rule, net)
    return _fit(rule, make(net, recipe, 0), recipe, **SETTINGS.get((rule, net), {}))


def _fit(rule: str, model: nn.Sequential, recipe: Recipe, **settings: object) -> tuple[nn.Sequential, float]:
    data = images(True)
    training = TrainingData(data.x_train, data.y_train, classes=10)
    fitted: Rule = train_rule(rule, model, training, replace(recipe, settings=settings))
    return model, accuracy(predict(fitted, data.x_test), data.y_test)


def first(model: nn.Module) -> Synaptic:
    """Return the first layer with weights."""
    return synaptic(model, weight_layers(model)[0])


def alike(w: Tensor) -> float:
    """Return the mean |cosine| between the weights of two units."""
    unit = F.normalize(w.flatten(1), dim=1)
    n = len(unit)
    return float(((unit @ unit.T).abs().sum() - n) / (n * (n - 1)))


def one_feature(rule: str) -> str:
    """Return how similar units without competition are."""
    model, _ = trained(rule, "mlp")
    return (
        "by theory all units learn the same feature, the first component (or the mean): the mean |cosine| "
        f"of two units of the perceptron is {alike(first(model).weight.detach()):.2f}"
    )


def one_layer(rule: str) -> str:
    """Compare two hidden layers with one, by the rule and by random features."""
    recipe, reached = recipe_for(rule, "mlp"), []
    still = replace(recipe, learn=recommended("frozen").learn)
    for hidden in (HIDDEN[:1], HIDDEN):
        for name, settings in ((rule, recipe), ("frozen", still)):
            model = mlp(784, hidden, 10, recipe.activation, recipe.centred)
            recipe.initialise(model, torch.Generator().manual_seed(0))
            options = SETTINGS.get((rule, "mlp"), {}) if name == rule else {}
            reached.append(f"{_fit(name, model, settings, **options)[1]:.1%}")
    return (
        "of held-out images it reaches {} with one hidden layer (random features {}) and {} with two ({})"
    ).format(*reached)


def narrow(rule: str) -> str:
    """Compare how many dimensions a perceptron's features span with those of random ones."""
    spanned = [dimensions(trained(name, "mlp")[0]) for name in (rule, "frozen")]
    return (
        "units learn similar features: the features of the perceptron span "
        f"{spanned[0]:.1f} dimensions (random ones {spanned[1]:.1f}), by the participation ratio of their "
        "correlations"
    )


def dimensions(model: nn.Sequential) -> float:
    """Return the participation ratio (sum l)² / sum l² of the eigenvalues l of the features' correlations."""
    with torch.no_grad():
        h = model[:-1].eval()(images(True).x_test)
    correlations = h[:, h.std(0) > 0].T.corrcoef()
    return float(correlations.trace().square() / correlations.square().sum())


def larger_steps() -> str:
    """Return what reward-modulated STDP reaches on the perceptron as its steps grow from none."""
    sizes = (0.0, 0.005, 0.1)
    shares = []
    for size in sizes:
        recipe = recipe_for("rstdp", "mlp")
        settings = {**SETTINGS["rstdp", "mlp"], "stdp": PairSTDP(size, 0.0)}
        shares.append(_fit("rstdp", make("mlp", recipe, 0), recipe, **settings)[1])
    values = ", ".join(f"{share:.1%} (a+ = {size:g})" for size, share in zip(sizes, shares, strict=True))
    return (
        "the larger the steps that its one bit of reward a sample gates, the less its features are worth: of "
        f"held-out images the perceptron reaches {values}"
    )


def off(rule: str) -> str:
    """Return how far one update of a noisy rule is from the gradient, in lengths of the gradient."""
    data, values = images(True), []
    x, y = data.x_train[:BATCH], data.y_train[:BATCH]
    for net in NETS:
        model = make(net, recipe_for(rule, net), 0)
        exact = gradient(Backprop(model, F.cross_entropy), x, y)
        settings = SETTINGS.get((rule, net), {})
        noisy = build(rule, model, F.cross_entropy, example=x, classes=10, **settings)
        torch.manual_seed(0)
        missed = torch.stack([gradient(noisy, x, y) - exact for _ in range(DRAWS)])
        values.append(float(missed.square().sum(1).mean().sqrt() / exact.norm()))
    return (
        f"right on average, but one batch's update misses the gradient by {values[0]:.0f} times its length "
        f"on the perceptron and {values[1]:.0f} times in convolutions"
    )


def gradient(rule: Rule, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of ``rule`` for the weights of its model, without the biases, as one vector."""
    weights = [synaptic(rule.model, path).weight for path in weight_layers(rule.model)]
    return torch.cat([g.flatten() for g in torch.autograd.grad(rule(x, y), weights)])


def surprise() -> str:
    """Return also how much of the reward's variance is unrelated to the noise in a trained net."""
    data = images(True)
    x, y = data.x_train[:256], data.y_train[:256]
    recipe = replace(recipe_for("three-factor", "conv"), learn=recipe_for("backprop", "conv").learn)
    model, _ = _fit("backprop", make("conv", recipe, 0), recipe)
    rule = RewardModulatedHebb(model, F.cross_entropy, **SETTINGS["three-factor", "conv"])
    torch.manual_seed(0)
    with torch.no_grad():
        losses = torch.stack([F.cross_entropy(rule.run(x)[0], y, reduction="none") for _ in range(DRAWS)])
    share = 1 - float(losses.var(0).mean() / losses.var())
    return (
        f"{off('three-factor')}; and its running mean of the reward is the same for all samples: in "
        f"convolutions trained by backprop, {share:.0%} of the reward's variance is between samples"
    )


def wider_kernels() -> str:
    """Return what one convolution reaches by Forward-Forward as its kernels see more of a label at once."""
    recipe, shares = recipe_for("forward-forward", "conv"), []
    for width in (5, 15):
        model = convnet((1, 28, 28), [16], 10, recipe.activation, recipe.centred, width)
        recipe.initialise(model, torch.Generator().manual_seed(0))
        shares.append(_fit("forward-forward", model, recipe, **SETTINGS["forward-forward", "conv"])[1])
    return (
        "a kernel sees little of a label at once: one convolution of 16 kernels by itself reaches "
        f"{shares[0]:.1%} of held-out images with kernels 5 wide, {shares[1]:.1%} with kernels 15 wide"
    )


MEASURED: dict[str, Callable[[], str]] = {
    **{rule: partial(one_feature, rule) for rule in ("hebb", "covariance", "oja")},
    "krotov": partial(one_layer, "krotov"),
    **{rule: partial(narrow, rule) for rule in ("bcm", "foldiak")},
    "rstdp": larger_steps,
    "forward-forward": wider_kernels,
    **{rule: partial(off, rule) for rule in ("node-perturbation", "weight-perturbation")},
    "three-factor": surprise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", nargs="+", default=list(MEASURED), choices=list(MEASURED), metavar="NAME")
    options = parser.parse_args()
    if "HEBBIAN_DATA" not in os.environ:
        parser.error("set HEBBIAN_DATA to the folder that holds mnist/")
    torch.set_num_threads(1)
    for rule in options.rules:
        reason = MEASURED[rule]()
        print(f"{rule}: {reason}", flush=True)
        found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
        found[rule] = reason
        FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
