"""Training from first to last: the rule's own phase, then a readout on features computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hebbian.backprop import Backprop
from hebbian.registry import build, find
from hebbian.rule import Criterion, Rule, evaluating
from hebbian.synapse import synaptic, weight_layers
from trainers.callbacks import Schedule
from trainers.data import Augment, Batches
from trainers.recipes import Phase, Recipe, Scale
from trainers.trainer import Trainer

Held = tuple[Tensor, Tensor]


def train(
    name: str,
    model: nn.Sequential,
    x: Tensor,
    y: Tensor,
    *,
    criterion: Criterion,
    classes: int,
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[object] = (),
    settings: Mapping[str, Any] | None = None,
    held: Held | None = None,
    augment: Augment | None = None,
) -> Rule:
    """Train ``model`` in place by the rule called ``name``.

    A supervised rule has one phase, ``train``.  One without labels has two: ``features``, in which it
    teaches all weight layers but the last, and ``readout``, in which the last layer learns by backprop.

    Parameters
    ----------
    x
        Inputs (N, ...).
    y
        Targets: classes (N,) for K >= 2, or (N, 1) float for K = 1.
    criterion
        Mean over the batch.
    classes
        Number of scores K.
    recipe
        Optimizers, rates, epochs; `trainers.recommended` has those of each rule.
    seed
        Of everything that is drawn; on the CPU the same seed gives the same weights bit for bit.
    callbacks
        See `trainers.Trainer`; they see all phases.
    settings
        Whatever else the rule's constructor takes.
    held
        Inputs and targets, as ``x`` and ``y``, on which callbacks may evaluate.
    augment
        Alters the inputs batch by batch while the rule itself learns; features for a readout are
        computed once, from the inputs as they are.

    Returns
    -------
    Rule
        In eval mode; its ``predict(x)`` gives the scores.
    """
    supervised = find(name).supervised
    with _seeded(seed, x.device):
        run = partial(_run, generator=torch.Generator().manual_seed(seed), callbacks=callbacks)
        rule = build(
            name,
            model,
            criterion if supervised else None,
            example=x[:2],
            classes=classes,
            **(settings or {}),
        )
        if supervised:
            run("train", rule, recipe.learn, x, y, held=held, augment=augment)
        else:
            run("features", rule, recipe.learn, x, None, augment=augment)
            _read_out(model, x, y, criterion, recipe, held, run)
    return rule.eval()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what cannot be given a generator (dropout, noise inside rules); leave the caller's state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _run(
    name: str,
    rule: Rule,
    phase: Phase,
    x: Tensor,
    y: Tensor | None,
    *,
    generator: torch.Generator,
    callbacks: Sequence[object],
    held: Held | None = None,
    augment: Augment | None = None,
) -> None:
    # A short last batch would weigh its samples more, and one of a single sample has no batch statistics.
    batches = Batches(x, y, phase.batch, generator, drop_last=len(x) >= phase.batch, augment=augment)
    epochs = phase.epochs_for(len(batches))
    optimizer = phase.optimizer(rule.parameters())
    if phase.hook is not None:
        phase.hook(optimizer)
    schedule = Schedule(phase.schedule(optimizer, epochs * len(batches)))
    Trainer(rule, optimizer, [schedule, *callbacks], name).fit(batches, epochs, held)


def _read_out(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    criterion: Criterion,
    recipe: Recipe,
    held: Held | None,
    run: Callable[..., None],
) -> None:
    readout = last_linear(model)
    h = features(model, readout, x)
    scaling = fit_scaling(h, recipe.scale)
    if held is not None:
        held = scaling(features(model, readout, held[0])), held[1]
    run("readout", Backprop(readout, criterion), recipe.readout, scaling(h), y, held=held)
    fold(scaling, readout)


def last_linear(model: nn.Module) -> nn.Linear:
    """Return the readout of ``model``.

    Raises
    ------
    TypeError
        If its last weight layer is no Linear with a bias.
    """
    path = weight_layers(model)[-1]
    layer = synaptic(model, path)
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise TypeError(f"a readout needs a Linear layer with a bias at the end, got {layer} at {path!r}")
    return layer


def features(model: nn.Module, readout: nn.Linear, x: Tensor, batch: int = 512) -> Tensor:
    """Return what ``readout`` gets (N, D) when ``model``, in eval mode, sees ``x`` (N, ...).

    Raises
    ------
    TypeError
        If the scores of ``model`` are not the output of ``readout``.
    """
    seen: list[Tensor] = []
    tap = readout.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    try:
        with torch.no_grad(), evaluating(model):
            scores = torch.cat([model(part) for part in x.split(batch)])
    finally:
        tap.remove()
    h = torch.cat(seen)
    with torch.no_grad():
        if not torch.allclose(readout(h[:batch]), scores[:batch], equal_nan=True):
            raise TypeError(
                "the scores must be what the last Linear gives; move what follows it into the loss"
            )
    return h


@dataclass(frozen=True)
class Scaling:
    """z = (h - shift) / scale; both (D,), or scalars."""

    shift: Tensor
    scale: Tensor

    def __call__(self, h: Tensor) -> Tensor:
        """Scale features (N, D)."""
        return (h - self.shift) / self.scale


def fit_scaling(h: Tensor, kind: Scale) -> Scaling:
    """Fit the scaling of features (N, D); a feature that never changes is only shifted.

    Raises
    ------
    ValueError
        If features are to be divided by a mean that is not positive.
    """
    return _SCALINGS[kind](h)


def _unscaled(h: Tensor) -> Scaling:
    return Scaling(h.new_zeros(()), h.new_ones(()))


def _by_mean(h: Tensor) -> Scaling:
    mean = h.mean()
    if not mean > 0:
        raise ValueError(
            f"the features' mean is {mean:.3g}: scale 'mean' needs a positive one; use 'standard'"
        )
    return Scaling(torch.zeros_like(mean), mean)


def _standard(h: Tensor) -> Scaling:
    spread, mean = torch.std_mean(h, 0, correction=0)
    return Scaling(mean, torch.where(spread > 0, spread, 1.0))


_SCALINGS: dict[Scale, Callable[[Tensor], Scaling]] = {
    "none": _unscaled,
    "mean": _by_mean,
    "standard": _standard,
}


@torch.no_grad()
def fold(scaling: Scaling, readout: nn.Linear) -> None:
    """Make ``readout`` give for h what it gave for ``scaling(h)``."""
    readout.weight.div_(scaling.scale)
    readout.bias.sub_((readout.weight * scaling.shift).sum(1))
