"""The scores of windows without a short stretch, computed only as far as the stretch reaches.

A quarter of a second of two seconds changes a seventh of what the first convolutions compute.  So the layers
that look at a few neighbouring samples, from the first on, run on the stretch and its surroundings only: what
they compute elsewhere is that of the whole window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scores = Callable[[Tensor], Tensor]
"""Windows (N, C, T) -> scores (N, K): a network, or `Rule.predict` of a rule with its own readout."""

_CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
_POINTWISE = (nn.Identity, nn.Dropout, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def occluded_scores(
    scores: Scores, x: Tensor, baseline: Tensor, starts: Sequence[int], size: int, batch: int
) -> Iterator[Tensor]:
    """Yield the scores (N, K) of windows with each of several stretches replaced on all channels.

    Parameters
    ----------
    scores
        (N, C, T) -> (N, K), in evaluation mode.  The first layers of an `nn.Sequential` run on stretches as
        far as they are convolutions, poolings and activations over time; all else runs on whole windows.
    x, baseline
        (N, C, T) each: windows, and what replaces a stretch.
    starts, size
        The first sample of each stretch, and its length; the end of the window cuts it off.
    batch
        As many stretches run at once as take the memory of this many windows.
    """
    head, tail = _split(scores)
    whole = [x]
    for layer in head:
        whole[-1] = F.pad(whole[-1], (layer.padding, layer.padding))
        whole.append(layer.run(whole[-1]))
    width = min(size, x.shape[2])
    places = [min(start, x.shape[2] - width) for start in starts]
    steps = _plan(head, places, width, [full.shape[-1] for full in whole])
    largest = max(step.length * full[0, ..., 0].numel() for step, full in zip(steps, whole, strict=True))
    at_once = max(1, batch * x[0].numel() // (largest * len(x)))
    for some in torch.arange(len(starts)).split(at_once):
        chosen = some.tolist()
        part = torch.stack([_replaced(x, baseline, starts[i], places[i], width) for i in chosen])
        for layer, step, full in zip(head, steps, whole, strict=False):
            part = layer.run(step.surround(part, full, chosen).flatten(0, 1)).unflatten(0, (-1, len(x)))
        yield from tail(steps[-1].surround(part, whole[-1], chosen).flatten(0, 1)).unflatten(0, (-1, len(x)))


def _replaced(x: Tensor, baseline: Tensor, start: int, place: int, width: int) -> Tensor:
    """Return ``width`` samples from ``place``, those from ``start`` on replaced."""
    stretch = x[..., place : place + width].clone()
    stretch[..., start - place :] = baseline[..., start : place + width]
    return stretch


@dataclass(frozen=True)
class _Layer:
    """A layer whose output at a time depends on ``extent`` samples of its padded input, ``stride`` apart."""

    run: Scores
    extent: int = 1
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class _Step:
    """What a layer needs for each stretch: ``length`` samples of its padded input, from ``first``.

    The stretch begins ``at`` a sample of that input.
    """

    at: list[int]
    first: list[int]
    length: int

    def surround(self, part: Tensor, full: Tensor, chosen: Sequence[int]) -> Tensor:
        """Return what the layer needs: stretches (M, N, ..., t) within the whole windows (N, ..., T)."""
        out = part.new_empty(*part.shape[:-1], self.length)
        for i, stretch, needed in zip(chosen, part, out, strict=True):
            shift = self.at[i] - self.first[i]
            needed.copy_(full[..., self.first[i] : self.first[i] + self.length])
            inside = slice(max(0, -shift), max(0, self.length - shift))
            needed[..., max(0, shift) : max(0, shift + part.shape[-1])] = stretch[..., inside]
        return out


def _plan(head: Sequence[_Layer], places: list[int], width: int, lengths: Sequence[int]) -> list[_Step]:
    """Follow stretches through layers; ``lengths`` are those of their padded inputs and of the last output.

    At each layer all stretches are as long as the longest must be, and none reaches beyond the window.
    """
    steps = []
    for layer, length in zip(head, lengths[:-1], strict=True):
        at = [place + layer.padding for place in places]
        count = (length - layer.extent) // layer.stride + 1  # of outputs
        width = min(count, (width + layer.extent - 2) // layer.stride + 1)
        places = [max(0, min(-((layer.extent - 1 - start) // layer.stride), count - width)) for start in at]
        first = [layer.stride * place for place in places]
        steps.append(_Step(at, first, layer.stride * (width - 1) + layer.extent))
    return [*steps, _Step(places, [0] * len(places), lengths[-1])]


def _split(scores: Scores) -> tuple[list[_Layer], Scores]:
    """Return the first layers that are local, each with what acts on its outputs one by one, and the rest."""
    modules = _flatten(scores) if isinstance(scores, nn.Module) else []
    head: list[_Layer] = []
    for number, module in enumerate(modules):
        if head and _is_pointwise(module):
            head[-1] = replace(head[-1], run=_chain(head[-1].run, module))
        elif (layer := _local(module)) is not None:
            head.append(layer)
        else:
            return head, nn.Sequential(*modules[number:]) if head else scores
    return [], scores


def _flatten(module: nn.Module) -> list[nn.Module]:
    if type(module).forward is not nn.Sequential.forward or _is_modified(module):
        return [module]
    assert isinstance(module, nn.Sequential)
    return [layer for child in module for layer in _flatten(child)]


def _is_modified(module: nn.Module) -> bool:
    """Return whether a call of ``module`` may do something else than the ``forward`` of its class."""
    hooks = (
        *(module._forward_hooks, module._forward_pre_hooks),
        *(nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks),
    )
    has_own = not vars(module).keys().isdisjoint(("forward", "_conv_forward"))
    return has_own or type(module).__call__ is not nn.Module.__call__ or any(hooks)


def _chain(first: Scores, then: Scores) -> Scores:
    return lambda x: then(first(x))


def _is_pointwise(module: nn.Module) -> bool:
    batch_norm = type(module) in _NORMS and module.running_mean is not None
    return (batch_norm or type(module) in _POINTWISE) and not _is_modified(module)


def _local(module: Any) -> _Layer | None:
    """Return a convolution or pooling over time as `_Layer`, None if the module is something else."""
    if _is_modified(module):
        return None
    if type(module) is nn.Unflatten:
        return _Layer(module) if module.dim == 1 else None
    if type(module) in _CONVOLUTIONS:
        return _convolution(module)
    if type(module) in _POOLS and not module.ceil_mode:
        padding, dilation = _last(module.padding), _last(getattr(module, "dilation", 1))
        if (padding, dilation) == (0, 1):
            return _Layer(module, _last(module.kernel_size), _last(module.stride))
    return None


def _convolution(module: Any) -> _Layer | None:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    convolve = partial(
        _CONVOLUTIONS[type(module)],
        weight=module.weight,
        bias=module.bias,
        stride=module.stride,
        padding=(*module.padding[:-1], 0),
        dilation=module.dilation,
        groups=module.groups,
    )
    extent = module.dilation[-1] * (module.kernel_size[-1] - 1) + 1
    return _Layer(convolve, extent, module.stride[-1], module.padding[-1])


def _last(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[-1]
