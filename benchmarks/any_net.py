"""Every rule on five nets for digits: python benchmarks/any_net.py --seeds 3.

A flat perceptron, convolutions with batch normalisation, a residual net, a small vision transformer and a
recurrent net, all of them as their users write them.  Each rule trains with what `trainers.recommended`
names (on the first two nets also with its activation and centred inputs), for fewer steps, on the 1,437
training images of scikit-learn's digits, and is tested on the other 360; or it refuses the net, by a message
that is stored.  Finished runs are lines of benchmarks/results/any_net.jsonl; a second call computes those
that are missing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from journal import ANY_NET, ANY_NETS, Run, append, cell, read, summarise
from torch import Tensor, nn

from hebbian.recurrent import LeakyRNN
from hebbian.registry import list_rules
from trainers.data.batches import TrainingData
from trainers.data.images import load_images
from trainers.phases import RunOptions, train_rule
from trainers.prediction import accuracy, predict
from trainers.recipes import Recipe, recommended

EPOCHS, BATCH = 20, 32
SETTINGS = f"{EPOCHS} epochs, batches of {BATCH}"


def flat_mlp(recipe: Recipe) -> nn.Module:
    """Return a perceptron in one flat `nn.Sequential`."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, units in ((64, 100), (100, 50)):
        layers += [nn.BatchNorm1d(inputs, affine=False, momentum=None)] if recipe.centred else []
        layers += [nn.Linear(inputs, units), recipe.activation()]
    return nn.Sequential(*layers, nn.Linear(50, 10))


def conv(recipe: Recipe) -> nn.Module:
    """Return convolutions with batch normalisation in one flat `nn.Sequential`."""
    layers: list[nn.Module] = []
    for inputs, maps in ((1, 16), (16, 32)):
        layers += [nn.BatchNorm2d(inputs, affine=False, momentum=None)] if recipe.centred else []
        layers += [nn.Conv2d(inputs, maps, 3, padding=1)]
        layers += [] if recipe.centred else [nn.BatchNorm2d(maps)]
        layers += [recipe.activation(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation, and a skip (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps, of the same size."""
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(h)))


class ResNet(nn.Module):
    """A residual net of two blocks."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.layers = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))
        self.fc = nn.Linear(channels * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of images (N, 1, 8, 8)."""
        h = self.layers(F.relu(self.bn(self.conv(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(h, 2), 1))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each after a norm and with a skip (Dosovitskiy et al. 2021)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attention = nn.MultiheadAttention(features, 4, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (N, T, features)."""
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer of two blocks on 16 patches."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, features, 2, 2)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, features))
        self.blocks = nn.Sequential(TransformerBlock(features), TransformerBlock(features))
        self.norm, self.head = nn.LayerNorm(features), nn.Linear(features, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of images (N, 1, 8, 8)."""
        tokens = self.patch(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class Rows(nn.Module):
    """A recurrent net that reads an image row after row."""

    def __init__(self, units: int = 100) -> None:
        super().__init__()
        self.cell, self.hidden, self.head = LeakyRNN(8, units, 4.0), nn.Linear(units, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of images (N, 1, 8, 8)."""
        return self.head(torch.tanh(self.hidden(self.cell(x.squeeze(1)))))


MAKERS: tuple[Callable[[Recipe], nn.Module], ...] = (
    flat_mlp,
    conv,
    lambda recipe: ResNet(),
    lambda recipe: ViT(),
    lambda recipe: Rows(),
)
NETS = dict(zip(ANY_NETS, MAKERS, strict=True))


def recipe_for(rule: str) -> Recipe:
    """Return the recommended settings with fewer steps of the rule."""
    recipe = recommended(rule)
    return replace(recipe, learn=replace(recipe.learn, epochs=EPOCHS, batch=BATCH, least_steps=0))


def run(rule: str, net: str, seed: int) -> Run:
    """Train and test; a refusal is a result."""
    digits = load_images("digits")
    mean, std = digits.x_train.mean(), digits.x_train.std()
    x_train, x_test = ((x[:, None] - mean) / std for x in (digits.x_train, digits.x_test))
    torch.manual_seed(seed)
    recipe = recipe_for(rule)
    model = NETS[net](recipe)
    recipe.initialise(model, torch.Generator().manual_seed(seed))
    start = time.process_time()
    try:
        data = TrainingData(x_train, digits.y_train, classes=10)
        trained = train_rule(rule, model, data, recipe, RunOptions(seed))
    except (TypeError, ValueError, RuntimeError) as error:
        return Run(rule, net, seed, SETTINGS, None, 0.0, f"{type(error).__name__}: {error}")
    seconds = time.process_time() - start
    fraction = accuracy(predict(trained, x_test), digits.y_test)
    return Run(rule, net, seed, SETTINGS, fraction, round(seconds, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rules", nargs="+", default=list(list_rules()), metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = {(*done.key, done.settings) for done in read(ANY_NET)}
    for seed in range(options.seeds):
        for rule in options.rules:
            for net in NETS:
                if (rule, net, seed, SETTINGS) not in known:
                    done = run(rule, net, seed)
                    append(ANY_NET, done)
                    result = done.reason or f"{done.accuracy:.2%}"
                    print(f"{rule}, {net}, {seed}: {result}, {done.seconds:.1f} s", flush=True)
    for (rule, net), summary in summarise(read(ANY_NET)).items():
        print(f"{rule}, {net}: {cell(summary)}")


if __name__ == "__main__":
    main()
