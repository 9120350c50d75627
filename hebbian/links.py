"""Chains of known layers, for rules that use every link between units in both directions."""

from __future__ import annotations

from itertools import groupby
from typing import TypeGuard

from torch import Tensor, fx, nn

from hebbian.chain import POINTWISE, Block, ChainRule
from hebbian.synapse import LAYERS

_LINKS = (
    *LAYERS,
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    *(nn.Flatten, nn.Unflatten, nn.Upsample, nn.Identity, nn.Dropout),
)

LINKS = "a chain of blocks of Linear, ConvNd, pooling and pointwise layers"


class LinkRule(ChainRule):
    """A rule of the layers inside the blocks of a chain, ``layers`` of each block, in order.

    Linear and ConvNd layers, flattening and pooling are links, used in both directions; pointwise activations
    are the units between them.

    Raises
    ------
    TypeError
        If a block contains a layer that is neither a known link nor a known pointwise activation.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.layers = [_known(block, block.name) for block in self.blocks]
        self._passed_by += [m for b in self.blocks for m in b.modules() if m is not b and _is_chain(m)]

    def _check_chain(self, x: Tensor) -> None:
        super()._check_chain(x)
        if [_known(block, block.name) for block in self.blocks] != self.layers:
            raise RuntimeError("layers of the model were replaced; build the rule after that")


def _known(part: nn.Module, block: str) -> list[nn.Module]:
    """Return the layers of a part of the block called ``block``, in order."""
    if _is_chain(part):
        return [layer for child in part for layer in _known(child, block)]
    if not isinstance(part, (*_LINKS, *POINTWISE)):
        raise TypeError(
            f"this rule uses every link in both directions and cannot use {_name(part)} in block {block!r}; "
            "build blocks of Linear, ConvNd, pooling, Flatten and pointwise activations of torch"
        )
    return [part]


def _name(part: nn.Module) -> str:
    traced = "operations of the forward pass of " if isinstance(part, fx.GraphModule) else ""
    return traced + type(part).__name__


def _is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return isinstance(module, nn.Sequential) and type(module).forward in (
        nn.Sequential.forward,
        Block.forward,
    )


def alternate(layers: list[nn.Module]) -> tuple[list[nn.Sequential], list[nn.Sequential]]:
    """Return the links, the last of which may be empty, and the activations between them."""
    first = next(k for k, layer in enumerate(layers) if isinstance(layer, LAYERS))
    groups = groupby(layers[first:], lambda layer: isinstance(layer, POINTWISE))
    parts = [nn.Sequential(*group) for _, group in groups]
    parts[0] = nn.Sequential(*layers[:first], *parts[0])  # an activation of the input has no states
    if len(parts) % 2 == 0:
        parts.append(nn.Sequential())
    return parts[::2], parts[1::2]
