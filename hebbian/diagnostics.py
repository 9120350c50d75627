"""Statistics of the units of a net, and the comparison of a rule's update with backprop.

Nothing here changes its arguments: models run in eval mode, rules as copies.
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
from hebbian.synapse import LAYERS, NORMS, Synaptic, rows, synaptic, weight_layers


def alignment(rule: Rule, criterion: Criterion, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return the cosine between a rule's update of each layer's weights and that of backprop.

    With a positive cosine a small enough step lowers the criterion; Lillicrap et al. 2016 plot this angle.

    Parameters
    ----------
    rule
        Any rule; it is copied.
    criterion
        Loss of backprop, from ``rule.model(x)``, scores (N, K), and ``y``; the mean over the batch.
    x, y
        A batch (N, ...) and its targets.

    Returns
    -------
    dict
        By path of the Linear or ConvNd layer.  A layer for which either gradient is zero is omitted.
    """
    rule = deepcopy(rule)  # traces, thresholds and feedback weights change in the copy only
    layers = {path: synaptic(rule.model, path).weight for path in weight_layers(rule.model)}
    layers = {path: w for path, w in layers.items() if w.requires_grad}
    cuda = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.enable_grad(), evaluating(rule):
        own = _gradients(rule(x, y), layers)
        steepest = _gradients(criterion(rule.model(x), y), layers)
    return {
        path: F.cosine_similarity(own[path], steepest[path], dim=0).item()
        for path in layers
        if own[path].any() and steepest[path].any()
    }


def _gradients(objective: Tensor, layers: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = list(layers.values())
    gradients = torch.autograd.grad(objective, weights, allow_unused=True, materialize_grads=True)
    return {path: gradient.flatten().double() for path, gradient in zip(layers, gradients, strict=True)}


def activities(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the activity of the units of each Linear and ConvNd layer for ``x`` (N, ...), in eval mode.

    That is the output of the module called next, norms excepted, if it preserves the shape and has no
    weights: the activation.  Otherwise (also with activations called as functions) it is the layer's own
    output.

    Returns
    -------
    dict
        By path of the layer, (samples, units): every place of a convolution is a further sample.
    """
    return observe(model, x)[1]


@torch.no_grad()
def observe(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output of ``model`` for ``x`` (N, ...), in eval mode, and the `activities` of that pass."""
    calls: list[tuple[nn.Module, Tensor]] = []
    leaves = [module for module in model.modules() if not list(module.children())]
    taps = [m.register_forward_hook(lambda m, args, out: calls.append((m, out))) for m in leaves]
    try:
        with evaluating(model):
            output = model(x)
    finally:
        for tap in taps:
            tap.remove()
    calls = [(m, out) for m, out in calls if isinstance(out, Tensor) and not isinstance(m, NORMS)]
    paths = {synaptic(model, path): path for path in weight_layers(model)}
    result = {}
    for (layer, out), (after, changed) in pairwise([*calls, (model, x[:0])]):
        if layer in paths:
            active = changed if changed.shape == out.shape and not isinstance(after, LAYERS) else out
            result[paths[layer]] = rows(active, layer)
    return output, result


def dead(activity: Tensor) -> Tensor:
    """Return which units are above zero for no sample: (samples, units) -> (units,), bool."""
    return activity.amax(0) <= 0


def selectivity(activity: Tensor) -> Tensor:
    """Return 1 - mean / maximum of each unit's response: (samples, units) -> (units,).

    Bienenstock, Cooper & Munro 1982: 0 for a unit that responds equally to all samples, 1 - 1/N for one that
    responds to one of N.  Negative responses count as 0; a unit without responses has 0.
    """
    response = activity.clamp_min(0)
    strongest = response.amax(0)
    return torch.where(strongest > 0, 1 - response.mean(0) / strongest, 0)


def norm_error(w: Tensor, p: float = 2) -> Tensor:
    """Return the distance of the p-norm of each unit's incoming weights (units, ...) from 1: (units,).

    Oja 1982, Sanger 1989, Moraitis et al. 2022 (SoftHebb) and, with their p, Krotov & Hopfield 2019 converge
    to 0; other rules do not.
    """
    return (w.flatten(1).norm(p, dim=1) - 1).abs()


def relative_update(before: Tensor, after: Tensor) -> float:
    """Return the norm of the change of a layer's weights, relative to their norm before."""
    return ((after - before).norm() / before.norm()).item()


def projections(model: nn.Module, paths: Sequence[str], x: Tensor, units: int) -> dict[str, Tensor]:
    """Return the preferred inputs of the first units of layers, as weights on the input of ``model``.

    The weights of a deeper unit are projected through the layers below with the mean gate of each unit: the
    mean gradient of the unit's current with respect to the input.  In a linear net this is the product of
    the weight matrices, the linear combination of filters of Lee et al. 2008 and Erhan et al. 2009.  Of a
    convolution, the unit in the middle of the map is used.

    Parameters
    ----------
    model
        Any module.
    paths
        Of Linear or ConvNd layers.
    x
        Inputs (N, ...) over which the gates are averaged.
    units
        Maximal number of units of a layer.

    Returns
    -------
    dict
        By path, (units, ...), each in the shape of one input.  Layers that the model does not call in eval
        mode are omitted.
    """
    currents: dict[str, Tensor] = {}

    def record(layer: Any, args: tuple[Tensor, ...], out: Tensor) -> None:
        currents[layers[layer]] = _middle(out, layer).clone()  # an activation may operate in place

    layers = {synaptic(model, path): path for path in paths}
    taps = [layer.register_forward_hook(record) for layer in layers]
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
    """Return the mean gradient of a unit's current (N,) with respect to ``x`` (N, ...)."""
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
