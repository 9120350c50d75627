"""Chains of known layers, for rules that use every link between units in both directions."""

from __future__ import annotations

from itertools import groupby
from typing import TypeGuard

import torch
import torch.nn.functional as F
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

_FUNCTIONS: dict[object, type[nn.Module]] = {
    **dict.fromkeys((F.relu, torch.relu, "relu"), nn.ReLU),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh"), nn.Tanh),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.flatten, "flatten"), nn.Flatten),
    **{F.max_pool1d: nn.MaxPool1d, F.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d},
}
"""Functions of a forward pass, and the layers that take the same arguments after the input."""

LINKS = "a chain of blocks of Linear, ConvNd, pooling and pointwise layers"


class LinkRule(ChainRule):
    """A rule of the layers inside the blocks of a chain, ``layers`` of each block, in order.

    Linear and ConvNd layers, flattening and pooling are links, used in both directions; pointwise activations
    are the units between them.  In a traced model functions such as ``F.relu`` are such layers too.

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
        now, modules = [_known(block, block.name) for block in self.blocks], {*self.model.modules()}
        if _among(modules, now) != _among(modules, self.layers):
            raise RuntimeError("layers of the model were replaced; build the rule after that")


def _known(part: nn.Module, block: str) -> list[nn.Module]:
    """Return the layers of a part of the block called ``block``, in order."""
    if _is_chain(part):
        return [layer for child in part for layer in _known(child, block)]
    if isinstance(part, fx.GraphModule) and (layers := _straight(part)) is not None:
        return [known for layer in layers for known in _known(layer, block)]
    if not isinstance(part, (*_LINKS, *POINTWISE)):
        raise TypeError(
            f"this rule uses every link in both directions and cannot use {_name(part)} in block {block!r}; "
            "build blocks of Linear, ConvNd, pooling, Flatten and pointwise activations of torch"
        )
    return [part]


def _straight(stage: fx.GraphModule) -> list[nn.Module] | None:
    """Return the modules and known functions of a stage, each of which uses only the one before it."""
    layers: list[nn.Module] = []
    last, *nodes, output = stage.graph.nodes
    for node in nodes:
        if node.all_input_nodes != [last] or node.args[:1] != (last,):
            return None
        if node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
            layers.append(stage.get_submodule(node.target))
        elif node.target in _FUNCTIONS:
            settings = {name: value for name, value in node.kwargs.items() if name != "inplace"}
            layers.append(_FUNCTIONS[node.target](*node.args[1:], **settings))
        else:
            return None
        last = node
    return layers if output.args == (last,) else None


def _among(modules: set[nn.Module], parts: list[list[nn.Module]]) -> list[list[nn.Module]]:
    return [[layer for layer in layers if layer in modules] for layers in parts]


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
