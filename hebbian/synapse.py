"""The synaptic view of a layer: Linear and ConvNd look alike to a rule, every place one more sample.

Letters: x the layer's input, w its weight, u = w x its currents without bias, as (samples, out).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Synaptic = nn.Linear | Convolution
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONVOLUTION_FOR: dict[int, type[Convolution]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
"""By the axes of the maps (N, channels, *space) that it takes."""
_WEIGHT_GRADIENT: dict[int, Callable[..., Tensor]] = {
    1: grad.conv1d_weight,
    2: grad.conv2d_weight,
    3: grad.conv3d_weight,
}


def weight_layers(model: nn.Module) -> list[str]:
    """Return the paths of all Linear and ConvNd layers of ``model``, in order of registration."""
    return [path for path, module in model.named_modules() if isinstance(module, LAYERS)]


def synaptic(model: nn.Module, path: str) -> Synaptic:
    """Return the layer of ``model`` at ``path``.

    Raises
    ------
    ValueError
        If nothing lies at ``path``.
    TypeError
        If what lies there has no synaptic view.
    """
    found = dict(model.named_modules()).get(path)
    if found is None:
        raise ValueError(f"no layer at {path!r}; layers with weights: {', '.join(weight_layers(model))}")
    if not isinstance(found, LAYERS):
        raise TypeError(
            f"{path!r} is a {type(found).__name__}; a plasticity acts at Linear, Conv1d, Conv2d or Conv3d "
            f"layers: {', '.join(weight_layers(model))}"
        )
    return found


def rows(u: Tensor, layer: Synaptic) -> Tensor:
    """Lay out (N, out, *space) or (N, *time, out) as (samples, out)."""
    return (u if isinstance(layer, nn.Linear) else u.movedim(1, -1)).flatten(0, -2)


def places(gate: Tensor, layer: Synaptic, like: Tensor) -> Tensor:
    """Undo `rows`: (samples, out) -> the shape of the layer's output ``like``."""
    if isinstance(layer, nn.Linear):
        return gate.view(like.shape)
    return gate.view(like.movedim(1, -1).shape).movedim(-1, 1)


def current(layer: Synaptic, x: Tensor, w: Tensor) -> Tensor:
    """Return the layer's response to ``x`` without bias, with weights ``w`` in place of its own."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, w)
    return layer._conv_forward(x, w, None)


def padded(layer: Convolution, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return ``x`` with the padding that torch's kernels do not do, and what is left for them to do."""
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return x, layer.padding
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode=mode), (0,) * len(layer.stride)


def correlate(layer: Synaptic, x: Tensor, gate: Tensor) -> Tensor:
    """Return sum over samples of gate xᵀ in the shape of the layer's weight, without unfolding.

    ``gate`` has the shape of the layer's output.  This is the gradient of <gate, layer(x)> in the
    weight, taken directly, so that nothing is computed twice.
    """
    if isinstance(layer, nn.Linear):
        return gate.flatten(0, -2).T @ x.flatten(0, -2)
    x, padding = padded(layer, x)
    weight_gradient = _WEIGHT_GRADIENT[len(layer.stride)]
    return weight_gradient(x, layer.weight.shape, gate, layer.stride, padding, layer.dilation, layer.groups)


def surrogate(w: Tensor, update: Tensor) -> Tensor:
    """Return the scalar whose gradient in ``w`` is exactly minus ``update``."""
    return -torch.sum(w * update.detach())


def drawn(layer: nn.Module, like: Tensor, generator: torch.Generator | None) -> nn.Module:
    """Draw what ``layer`` has from U(-1, 1) / sqrt(fan-in), as torch does, and put it beside ``like``."""
    bound = next(layer.parameters())[0].numel() ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer.to(like)
