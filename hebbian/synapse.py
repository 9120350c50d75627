"""The synaptic view of a layer: for a rule, each place of a convolution is a further sample of a Linear.

Letters: x the layer's input, w its weight, u = w x its currents without bias, as (samples, out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad
from torch.nn.utils.parametrize import is_parametrized

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Synaptic = nn.Linear | Convolution
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
CONVOLUTION_FOR: dict[int, type[Convolution]] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
"""By the number of axes of its input (N, channels, ...)."""
_WEIGHT_GRADIENT: dict[int, Callable[..., Tensor]] = {
    1: grad.conv1d_weight,
    2: grad.conv2d_weight,
    3: grad.conv3d_weight,
}


def weight_layers(model: nn.Module) -> list[str]:
    """Return the paths of all Linear and ConvNd layers of ``model``, in order of registration.

    Raises
    ------
    TypeError
        If a part of the model is scripted or traced, whose layers cannot be reached.
    """
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and [*module.parameters()]:
            raise TypeError(
                f"module {path!r} is scripted or traced, so that no rule can act at its layers; use the "
                "original module, and torch.compile for speed"
            )
    return [path for path, module in model.named_modules() if isinstance(module, LAYERS)]


def synaptic(model: nn.Module, path: str) -> Synaptic:
    """Return the layer of ``model`` at ``path``.

    Raises
    ------
    ValueError
        If ``model`` has no module at ``path``.
    TypeError
        If the module is not a Linear or ConvNd layer.
    """
    layer = dict(model.named_modules()).get(path)
    if layer is None:
        raise ValueError(f"no layer at {path!r}; layers with weights: {', '.join(weight_layers(model))}")
    if not isinstance(layer, LAYERS):
        raise TypeError(
            f"{path!r} is a {type(layer).__name__}; a plasticity acts at Linear, Conv1d, Conv2d or Conv3d "
            f"layers: {', '.join(weight_layers(model))}"
        )
    return layer


def has_own_forward(layer: Synaptic) -> bool:
    """Return whether ``layer`` computes its output in another way than torch's class."""
    base = next(base for base in LAYERS if isinstance(layer, base))
    return any(
        name in vars(layer) or getattr(type(layer), name, None) is not getattr(base, name, None)
        for name in ("forward", "_conv_forward")
    )


def is_set_by_hook(layer: Synaptic) -> bool:
    """Return whether a forward pre-hook computes the weight of ``layer`` and assigns it."""
    return "weight" not in layer._parameters and not is_parametrized(layer, "weight")


def rows(u: Tensor, layer: Synaptic) -> Tensor:
    """Reshape (N, out, ...) or (N, ..., out) to (samples, out)."""
    return (u if isinstance(layer, nn.Linear) else u.movedim(1, -1)).flatten(0, -2)


def places(gate: Tensor, layer: Synaptic, like: Tensor) -> Tensor:
    """Invert `rows`: (samples, out) -> the shape of the layer's output ``like``."""
    if isinstance(layer, nn.Linear):
        return gate.view(like.shape)
    return gate.view(like.movedim(1, -1).shape).movedim(-1, 1)


def current(layer: Synaptic, x: Tensor, w: Tensor) -> Tensor:
    """Return the layer's response to ``x`` without bias, with weights ``w``."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, w)
    return layer._conv_forward(x, w, None)


def padded(layer: Convolution, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """Return ``x`` with the padding that torch's kernels do not support, and the remaining padding."""
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return x, layer.padding
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode=mode), (0,) * len(layer.stride)


def correlate(layer: Synaptic, x: Tensor, gate: Tensor) -> Tensor:
    """Return sum over samples of gate xᵀ in the shape of the layer's weight.

    ``gate`` has the shape of the layer's output.  This is the gradient of <gate, layer(x)> with
    respect to the weight, computed directly, without a second forward pass.
    """
    if isinstance(layer, nn.Linear):
        return gate.flatten(0, -2).T @ x.flatten(0, -2)
    if is_faster_unfolded(layer, x) and not _HAS_AVX512:
        samples = gate.movedim(1, -1).flatten(0, -2)
        sums = x.new_empty(layer.out_channels, layer.weight[0].numel())
        for part, patches in unfolded(layer, x):
            sums.addmm_(samples[part].T, patches, beta=int(part.start > 0))
        return folded(sums, layer)
    if _is_channels_last(gate):  # the library is slow on two layouts
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    x, padding = padded(layer, x)
    weight_gradient = _WEIGHT_GRADIENT[len(layer.stride)]
    return weight_gradient(x, layer.weight.shape, gate, layer.stride, padding, layer.dilation, layer.groups)


def is_faster_unfolded(layer: Convolution, x: Tensor) -> bool:
    """Return whether a product over samples with ``x`` is faster on its patches.

    On a processor, for many kernels, beside whose products the copies of the patches are cheap.
    """
    many = layer.out_channels >= _MANY_KERNELS
    return many and layer.groups == 1 and x.device.type == "cpu" and x.itemsize >= 4


def unfolded(layer: Convolution, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the patches of ``x`` (samples, in), of some images at a time, and which samples they are.

    The values of a patch are in the order ``(*kernel, channels)``.
    """
    x, padding = padded(layer, x)
    windows = F.pad(x.movedim(1, -1), [0, 0, *(p for p in reversed(padding) for _ in range(2))]).contiguous()
    axes = len(layer.stride)
    for axis, (kernel, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=1
    ):
        windows = windows.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    windows = windows.movedim(axes + 1, -1)  # (N, *places, *kernel, channels)
    start = 0
    for images in windows.split(max(1, _SAMPLES // math.prod(windows.shape[1 : axes + 1]))):
        patches = images.flatten(0, axes).flatten(1)
        yield slice(start, start + len(patches)), patches
        start += len(patches)


def folded(sums: Tensor, layer: Convolution) -> Tensor:
    """Return ``sums`` (out, in) over patches of `unfolded` in the shape of the layer's weight."""
    return sums.view(layer.out_channels, *layer.kernel_size, -1).movedim(-1, 1)


_MANY_KERNELS = 128
_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
"""With it the library's weight gradient is faster than a product over patches; a sum over winners is not."""
_SAMPLES = 1024  # in one product: enough for its speed, and a copy that does not grow with the batch


def in_memory_order(t: Tensor, w: Tensor) -> Tensor:
    """Return ``t``, of the shape of the weight ``w``, as ``(out, *kernel, in)`` if w is channels-last.

    A rule may take the inputs of a unit in any order; in this one it flattens w without a copy.
    """
    return t.movedim(1, -1) if _is_channels_last(w) else t


def from_memory_order(t: Tensor, w: Tensor) -> Tensor:
    """Return (out, in), flattened from `in_memory_order`, in the shape of ``w``."""
    return t.view_as(w.movedim(1, -1)).movedim(-1, 1) if _is_channels_last(w) else t.view_as(w)


def _is_channels_last(w: Tensor) -> bool:
    return w.ndim > 2 and not w.is_contiguous() and w.movedim(1, -1).is_contiguous()


def surrogate(w: Tensor, update: Tensor) -> Tensor:
    """Return the scalar whose gradient with respect to ``w`` is exactly minus ``update``."""
    return -torch.dot(*(in_memory_order(t, w).flatten() for t in (w, update.detach())))


def mark_plastic(layers: Iterable[nn.Module]) -> None:
    """Mark the weights of ``layers`` as those on which the step hooks of `trainers` act.

    Of a weight that `torch.nn.utils.parametrize` computes, the parameters from which it does are marked.
    """
    for layer in layers:
        if is_parametrized(layer, "weight"):
            for p in layer.parametrizations.weight.parameters():  # type: ignore[union-attr]
                p.computes_plastic = True  # type: ignore[union-attr]
        else:
            layer.weight.is_plastic = True  # type: ignore[union-attr]


def is_plastic(p: Tensor) -> bool:
    """Return whether ``p`` is a weight marked by `mark_plastic`."""
    return getattr(p, "is_plastic", False)


def computes_plastic(p: Tensor) -> bool:
    """Return whether ``p`` is marked by `mark_plastic` as a parameter that a weight is computed from."""
    return getattr(p, "computes_plastic", False)


def randn_like(t: Tensor) -> Tensor:
    """Draw N(0, 1) in the shape of ``t``, in an order that does not depend on its strides in memory."""
    return torch.randn_like(t, memory_format=torch.contiguous_format)


@contextmanager
def drawn_again(x: Tensor) -> Iterator[None]:
    """Restore the random state at the end: what follows draws the same numbers, such as dropout masks."""
    if torch.compiler.is_compiling():
        yield
        return
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        yield


def init_uniform(layer: nn.Module, like: Tensor, generator: torch.Generator | None) -> nn.Module:
    """Draw the parameters of ``layer`` from U(-1, 1) / sqrt(fan-in), as torch does; move it to ``like``."""
    bound = next(layer.parameters())[0].numel() ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer.to(like)
