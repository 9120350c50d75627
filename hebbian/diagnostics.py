"""What a trained or training net is like: numbers about its units, and how a rule compares with backprop.

Nothing here changes what it looks at: models run in eval mode, rules as copies of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, evaluating
from hebbian.synapse import LAYERS, Synaptic, rows, synaptic, weight_layers

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def alignment(rule: Rule, criterion: Criterion, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return the cosine between what a rule asks of each layer's weights and what backprop asks.

    1 is backprop's own direction.  An update at a positive cosine still lowers the criterion, where the step
    is small enough: Lillicrap et al. 2016 plot this angle.

    Parameters
    ----------
    criterion
        What backprop descends, from ``rule.model(x)``, scores (N, K), and ``y``; the mean over the batch.
    x, y
        A batch (N, ...) and its targets.

    Returns
    -------
    dict
        By path of the Linear or ConvNd layer.  A layer for which either gradient is zero is left out.
    """
    rule = deepcopy(rule)  # traces, thresholds and feedback weights move in the copy only
    layers = {path: synaptic(rule.model, path).weight for path in weight_layers(rule.model)}
    layers = {path: w for path, w in layers.items() if w.requires_grad}
    cuda = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.enable_grad(), evaluating(rule):
        taught = _gradients(rule(x, y), layers)
        steepest = _gradients(criterion(rule.model(x), y), layers)
    return {
        path: F.cosine_similarity(taught[path], steepest[path], dim=0).item()
        for path in layers
        if taught[path].any() and steepest[path].any()
    }


def _gradients(objective: Tensor, layers: dict[str, Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(objective, list(layers.values()), allow_unused=True, materialize_grads=True)
    return {path: gradient.flatten().double() for path, gradient in zip(layers, found, strict=True)}


@torch.no_grad()
def activities(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what the units of each Linear and ConvNd layer pass on for ``x`` (N, ...), in eval mode.

    That is the output of the module called next, or next but for a norm, if it keeps the shape and has no
    weights: the activation.  Where another follows, or none (activations called as functions are not
    seen), it is the layer's own output.

    Returns
    -------
    dict
        By path of the layer, (samples, units): every place of a convolution is one more sample.
    """
    calls: list[tuple[nn.Module, Tensor]] = []
    leaves = [module for module in model.modules() if not list(module.children())]
    taps = [m.register_forward_hook(lambda m, args, out: calls.append((m, out))) for m in leaves]
    try:
        with evaluating(model):
            model(x)
    finally:
        for tap in taps:
            tap.remove()
    calls = [(m, out) for m, out in calls if isinstance(out, Tensor) and not isinstance(m, _NORMS)]
    paths = {synaptic(model, path): path for path in weight_layers(model)}
    found = {}
    for (layer, out), (after, changed) in pairwise([*calls, (model, x[:0])]):
        if layer in paths:
            passed = changed if changed.shape == out.shape and not isinstance(after, LAYERS) else out
            found[paths[layer]] = rows(passed, layer)
    return found


def dead(activity: Tensor) -> Tensor:
    """Tell which units are above zero for no sample: (samples, units) -> (units,), bool."""
    return activity.amax(0) <= 0


def selectivity(activity: Tensor) -> Tensor:
    """Return 1 - mean / maximum of each unit's response: (samples, units) -> (units,).

    Bienenstock, Cooper & Munro 1982: 0 for a unit that responds to all samples alike, 1 - 1/N for one that
    responds to one of N.  Responses below zero count as none; a unit without any has 0.
    """
    response = activity.clamp_min(0)
    strongest = response.amax(0)
    return torch.where(strongest > 0, 1 - response.mean(0) / strongest, 0)


def norm_error(w: Tensor, p: float = 2) -> Tensor:
    """Return how far each unit's incoming weights (units, ...) are from p-norm 1: (units,).

    0 is where Oja 1982, Sanger 1989, Moraitis et al. 2022 (SoftHebb) and, with their p, Krotov & Hopfield
    2019 converge; other rules do not.
    """
    return (w.flatten(1).norm(p, dim=1) - 1).abs()


def movement(before: Tensor, after: Tensor) -> float:
    """Return the distance between a layer's weights then and now, relative to their norm then."""
    return ((after - before).norm() / before.norm()).item()


def projections(model: nn.Module, paths: Sequence[str], x: Tensor, units: int) -> dict[str, Tensor]:
    """Return what the first units of layers look for, as weights on the input of ``model``.

    The weights of a deeper unit are carried down through those of the layers below, each unit of which
    enters by its mean gate: the mean gradient of the unit's current in the input.  In a linear net this
    is the product of the weight matrices, the linear combination of filters of Lee et al. 2008 and Erhan
    et al. 2009.  A convolution is looked at in the middle of its map.

    Parameters
    ----------
    paths
        Of Linear or ConvNd layers.
    x
        Inputs (N, ...) over which the gates are averaged.
    units
        How many units of a layer at most.

    Returns
    -------
    dict
        By path, (units, ...), each in the shape of one input.  Layers that the model does not call in eval
        mode are left out.
    """
    currents: dict[str, Tensor] = {}

    def note(layer: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
        currents[layers[layer]] = _middle(out, layer).clone()  # an activation may work in place

    layers = {synaptic(model, path): path for path in paths}
    taps = [layer.register_forward_hook(note) for layer in layers]
    x = x.detach().clone().requires_grad_()
    try:
        with torch.enable_grad(), evaluating(model):
            model(x)
    finally:
        for tap in taps:
            tap.remove()
    return {
        path: torch.stack([_mean_slope(current, x) for current in u.unbind(1)[:units]])
        for path, u in currents.items()
    }


def _mean_slope(current: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of a unit's current (N,) in its own input of ``x`` (N, ...), averaged."""
    (slopes,) = torch.autograd.grad(
        current.sum(), x, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return slopes.mean(0)


def _middle(out: Tensor, layer: Synaptic) -> Tensor:
    """Return the output (N, units) in the middle of the layer's map, or of its times."""
    if not isinstance(layer, nn.Linear):
        out = out.movedim(1, -1)
    while out.ndim > 2:
        out = out[:, out.shape[1] // 2]
    return out
