"""A model that is not an `nn.Sequential` as a chain of stages, between which one tensor passes.

The model is traced by `torch.fx`.  A skip connection does not cross the boundary of a stage, so a residual
block is one stage, as is a module that cannot be traced further.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn

from hebbian.rule import evaluating

_RESHAPING = {"flatten", "reshape", "unflatten", "view"}
_UNBOUND = {torch.flatten, torch.reshape, torch.unflatten}
_PRODUCTS = {
    *("matmul", "mm", "bmm", operator.matmul, torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.einsum),
    *(F.linear, F.bilinear, F.embedding, F.conv1d, F.conv2d, F.conv3d),
    *(torch.conv1d, torch.conv2d, torch.conv3d),
}


@dataclass(frozen=True)
class Stage:
    """A part of a traced model, from one tensor to one tensor.

    Parameters
    ----------
    nodes
        Of the graph, in the order of execution.
    source, result
        The node before the first one that is used, and the one that is returned.
    """

    nodes: tuple[fx.Node, ...]
    source: fx.Node
    result: fx.Node

    def __add__(self, after: Stage) -> Stage:
        """Return both in one."""
        return Stage(self.nodes + after.nodes, self.source, after.result)

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules that the stage calls, by their paths."""
        paths = [str(node.target) for node in self.nodes if node.op == "call_module"]
        return {path: model.get_submodule(path) for path in paths}

    def attributes(self) -> list[fx.Node]:
        """Return the parameters and buffers that the stage reads from modules that it does not call."""
        inputs = (node for user in self.nodes for node in user.all_input_nodes)
        return list(dict.fromkeys(node for node in inputs if node.op == "get_attr"))

    def multiplies(self) -> bool:
        """Whether a parameter that no module of the stage has is the weight of a product or convolution."""
        users = (user for node in self.attributes() for user in node.users)
        return any(user.target in _PRODUCTS for user in users)

    def reshapes(self, model: nn.Module) -> bool:
        """Whether the stage changes the shape of its input only."""
        return all(
            isinstance(model.get_submodule(str(node.target)), nn.Flatten | nn.Unflatten)
            if node.op == "call_module"
            else node.target in _RESHAPING | _UNBOUND
            for node in self.nodes
        )

    def name(self, model: nn.Module) -> str:
        """Return the path of the module with parameters in the stage, or of the first and the last one."""
        paths = [path for path, m in self.modules(model).items() if next(m.parameters(), None) is not None]
        paths = paths or [str(node.target) for node in self.attributes()]
        if not paths:
            return str(self.result)
        return paths[0] if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"

    def build(self, model: nn.Module) -> fx.GraphModule:
        """Return the stage as a module that has the layers of ``model``."""
        graph = fx.Graph()
        copies = {self.source: graph.placeholder("h")}
        for node in (*self.attributes(), *self.nodes):
            copies[node] = graph.node_copy(node, copies.__getitem__)
        graph.output(copies[self.result])
        return fx.GraphModule(model, graph, type(model).__name__)


def stages(model: nn.Module, leaves: Collection[nn.Module] = ()) -> list[Stage]:
    """Return the smallest stages into which ``model`` can be divided, first to last.

    Parameters
    ----------
    model
        Any module whose forward takes one tensor; further arguments with defaults are not given.
    leaves
        Modules that are not divided.

    Raises
    ------
    TypeError
        If the forward pass takes or returns several tensors, cannot be traced, or depends on the mode or
        changes buffers other than by its modules.
    """
    graph = _trace(model, leaves)
    first, *nodes = (node for node in graph.nodes if node.op not in ("get_attr", "output"))
    result, source, start = [], first, 0
    used = {node: i for i, node in enumerate((*nodes, *graph.find_nodes(op="output")))}
    last = {node: max((used[user] for user in node.users), default=-1) for node in (first, *nodes)}
    for i, node in enumerate(nodes):
        passes = [n for n in (first, *nodes[: i + 1]) if last[n] > i]
        if passes == [node] and not _is_tuple(node):
            result.append(Stage(tuple(nodes[start : i + 1]), source, node))
            source, start = node, i + 1
    (output,) = graph.find_nodes(op="output")
    if any(node.op == "placeholder" for node in nodes) or source is not output.args[0]:
        raise TypeError(
            f"{type(model).__name__} does not map one tensor to one tensor; wrap it in a module that does"
        )
    return result


def update_attributes(stage: fx.GraphModule, model: nn.Module) -> None:
    """Give a stage the parameters and buffers that ``model`` has now: its own methods may replace them."""
    for node in stage.graph.find_nodes(op="get_attr"):
        parent, _, name = str(node.target).rpartition(".")
        setattr(stage.get_submodule(parent), name, getattr(model.get_submodule(parent), name))


class _Tracer(fx.Tracer):
    """Enters modules with children that are neither of torch, nor of this package, nor among ``leaves``."""

    def __init__(self, leaves: Collection[nn.Module]) -> None:
        super().__init__()
        self.leaves = {*leaves}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is called as a whole."""
        own = type(m).__module__.partition(".")[0] == __name__.partition(".")[0]
        whole = own or m in self.leaves or next(m.children(), None) is None
        return whole or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module, leaves: Collection[nn.Module]) -> fx.Graph:
    parameters = inspect.signature(model.forward).parameters.values()
    optional = {p.name: p.default for p in parameters if p.default is not p.empty}
    before = _buffers(model)
    try:
        with evaluating(model):
            graph = _Tracer(leaves).trace(model, optional)
            model.train()
            other = _Tracer(leaves).trace(model, optional)
    except Exception as error:  # whatever the forward of a stranger's model raises
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"{type(model).__name__} cannot be traced by torch.fx ({reason}); name its stages, which are not "
            "traced: hebbian.divide(model, names)"
        ) from error
    if changed := [name for name, state in _buffers(model).items() if state != before.get(name)]:
        raise TypeError(
            f"the forward pass of {type(model).__name__} changes its buffer {changed[0]!r}, which its "
            "blocks would not do; change it in the forward of a module of its own"
        )
    if str(graph) != str(other):
        raise TypeError(
            f"the forward pass of {type(model).__name__} depends on its mode; use modules for that, such as "
            "nn.Dropout in place of F.dropout"
        )
    given = len(parameters) - len(optional)
    for extra in graph.find_nodes(op="placeholder")[given:]:  # only assertions of their defaults use them
        for node in [*extra.users, extra]:
            for user in [*node.users]:
                graph.erase_node(user)
            graph.erase_node(node)
    return graph


def _buffers(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return what identifies the content of each buffer."""
    return {name: (id(b), b._version) for name, b in model.named_buffers()}


def _is_tuple(node: fx.Node) -> bool:
    """Whether a node returns several values, which are then used one by one."""
    return all(user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users)
