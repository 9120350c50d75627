"""The interface of rules that act at layers of any model, by hooks that exist during a forward pass."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from hebbian.rule import Rule, check_tensor, evaluating
from hebbian.synapse import has_own_forward, is_set_by_hook, mark_plastic, synaptic, weight_layers


class TappedRule(Rule):
    """A rule that acts at chosen layers of any model during its forward pass.

    The hooks exist only while the rule runs the model, so the model remains what it was.  In this pass every
    chosen layer must be called as a module, and once unless the rule propagates the error; otherwise the rule
    cannot act there, and raises.  Compiled parts of the model run uncompiled in it: compile the rule.

    Parameters
    ----------
    model
        Any module.
    layers
        Paths of its Linear, Conv1d, Conv2d or Conv3d layers at which the rule acts; by default all.

    Raises
    ------
    TypeError
        If a layer has a forward of its own, shares a parameter with another module, or has a weight that a
        hook computes where no gradient is recorded.
    ValueError
        If there are no layers.
    """

    propagates = False
    """Whether the output that `at` returns propagates the error through the layer."""

    cuts_error = True
    """Whether gradients are recorded only after the last of the layers was called.

    Then no error passes it on any path, and of the other parameters only those that are used after it learn.
    """

    plastic = False
    """Whether step hooks, such as those of `trainers.callbacks`, act at the weights of the layers."""

    def __init__(self, model: nn.Module, layers: Iterable[str] | None = None) -> None:
        super().__init__(model)
        paths = weight_layers(model) if layers is None else layers
        self.layers: dict[Any, str] = {synaptic(model, path): path for path in paths}
        if not self.layers:
            raise ValueError(
                f"{type(self).__name__} has no layer of {type(model).__name__} to act at; it acts at Linear "
                "and ConvNd layers, a plasticity by default at all but the last"
            )
        for layer, path in self.layers.items():
            if has_own_forward(layer):
                raise TypeError(
                    f"layer {path!r} ({type(layer).__name__}) has a forward of its own, not that of a Linear "
                    "or ConvNd layer; use one of torch's, with torch.nn.utils.parametrize for its weight"
                )
        for owners in _owners(model).values():
            if len(owners) > 1 and not self.layers.keys().isdisjoint(owners):
                raise TypeError(
                    f"layers {' and '.join(map(repr, owners.values()))} share a parameter, so that a rule at "
                    "one would change the others; give each its own"
                )
        self._check_weights()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or unpickled rule; torch copies a parameter without its marks."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._check_weights()

    def _check_weights(self) -> None:
        """Refuse weights that a hook computes, and mark plastic ones; they may be replaced at any time."""
        for layer, path in self.layers.items():
            if self.cuts_error and is_set_by_hook(layer):
                raise TypeError(
                    f"the weight of layer {path!r} is set by a hook (torch.nn.utils.weight_norm, "
                    f"spectral_norm, prune), where {type(self).__name__} cannot change it; use "
                    "torch.nn.utils.parametrizations, or prune.remove"
                )
        if self.plastic:
            mark_plastic(self.layers)

    def inner_parameters(self) -> dict[nn.Parameter, str]:
        """Return the parameters of all modules but the layers."""
        own = {p for layer in self.layers for p in layer.parameters()}
        return {p: "" for p in self.model.parameters() if p not in own}

    def at(self, layer: nn.Module, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Return the replacement of the layer's output.

        Parameters
        ----------
        layer
            The hooked layer.
        x, out
            Its input and output; other modules may change them in place after this call.
        ledger
            A list to which the rule may append records of this pass.
        """
        raise NotImplementedError

    def observe(self, x: Tensor) -> list[Any]:
        """Return the ledger of a forward pass, which ends after the last layer if nothing else can matter.

        Raises
        ------
        TypeError
            As in `run`.
        """
        ledger: list[Any] = []
        ends = not torch.compiler.is_compiling() and _is_plain(self.model, self.layers)
        with suppress(_AllCalled):
            self._run(x, ledger, ends)
        return ledger

    def run(self, x: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the model's output with the hooks active, and the ledger that they filled.

        Raises
        ------
        TypeError
            If a layer is not called once as a module, or if its weight is used in another way as well.
        RuntimeError
            If the backward pass would call a layer again (activation checkpointing).
        """
        ledger: list[Any] = []
        return self._run(x, ledger, ends=False), ledger

    def _run(self, x: Tensor, ledger: list[Any], ends: bool) -> Tensor:
        called: list[str] = []
        grad = torch.is_grad_enabled()
        if not torch.compiler.is_compiling():
            self._check_weights()
        act = f"{type(self).__name__} cannot act there"

        def tap(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor:
            path = self.layers[layer]
            if path in called and not self.propagates:
                raise TypeError(
                    f"layer {path!r} is called more than once in a forward pass, so {act}; use one layer for "
                    "each call, or choose other layers if the rule takes any"
                )
            called.append(path)
            if grad and self.propagates:
                refuse_recomputation(f"layer {path!r}")
            h = args[0] if args else kwargs["input"]
            _check_batch(path, layer, h)
            if not self.propagates:
                self._refuse_other_uses(h, called)
            out = self.at(layer, h, out, ledger)
            if len(called) == len(self.layers):
                torch.set_grad_enabled(grad)
                if ends:
                    raise _AllCalled
            return out

        with (
            _uncompiled(),
            _hooked(self.layers, tap),
            torch.set_grad_enabled(grad and not self.cuts_error),
        ):
            out = self.model(x)
            check_tensor(f"model {type(self.model).__name__}", out)
            if missing := [path for path in self.layers.values() if path not in called]:
                raise TypeError(
                    f"layer {missing[0]!r} is not called as a module in the forward pass, so {act}; its "
                    "parent may skip it or use the weight directly (nn.MultiheadAttention, F.linear): call "
                    "the layer, or choose other layers if the rule takes any"
                )
            if torch.is_grad_enabled() != grad:
                raise RuntimeError(
                    f"layer {called[-1]!r} is called inside torch.no_grad or re-entrant activation "
                    "checkpointing, so the layers after it could not learn; take it out (use_reentrant=False)"
                )
        if grad:
            self._refuse_other_uses(out, called)
        return out

    def _refuse_other_uses(self, out: Tensor, called: list[str]) -> None:
        """Refuse a parameter that enters ``out`` in another way than by the calls of its layer."""
        if torch.compiler.is_compiling() or out.grad_fn is None:
            return  # a graph that is being compiled cannot be walked
        uses = parameter_uses(out)
        for layer, path in self.layers.items():
            known = called.count(path) if self.propagates else 0
            if any(uses[p] > known for p in (layer._parameters.get("weight"), layer.bias)):
                raise TypeError(
                    f"the weight of layer {path!r} is also used without calling the layer (F.linear), where "
                    f"{type(self).__name__} cannot act; use one layer for each call, "
                    "or choose other layers if the rule takes any"
                )


class _AllCalled(Exception):
    """Ends a forward pass."""


def _is_plain(model: nn.Module, layers: Iterable[nn.Module]) -> bool:
    """Return whether a model is a chain of layers without hooks, and after ``layers`` without buffers.

    Then each layer is called once, and what follows the last of them changes nothing.
    """
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    last = max(map(modules.index, layers))
    return len(set(modules)) == len(modules) and not any(
        (module._buffers and i > last)
        or module._forward_hooks
        or module._forward_pre_hooks
        or (module._modules and type(module).forward is not nn.Sequential.forward)
        for i, module in enumerate(modules)
    )


@torch.no_grad()
def layers_in_order(model: nn.Module, example: Tensor) -> list[str]:
    """Return the paths of the weight layers of ``model`` in the order in which it calls them for ``example``.

    Layers that it does not call come first.  Modes, running statistics and random states do not change.
    """
    layers = {synaptic(model, path): path for path in weight_layers(model)}
    order: list[str] = []
    cuda = [example.device] if example.is_cuda else []
    with (
        torch.random.fork_rng(devices=cuda),
        evaluating(model),
        _uncompiled(),
        _hooked(layers, lambda layer, *_: order.append(layers[layer])),
    ):
        model(example)
    return [path for path in layers.values() if path not in order] + list(dict.fromkeys(order[::-1]))[::-1]


def refuse_recomputation(what: str) -> None:
    """Raise `RuntimeError` in activation checkpointing, whose second forward pass no rule observes."""
    if torch.compiler.is_compiling():
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename != checkpoint.__file__:
        frame = frame.f_back
    if frame is not None or not torch.is_grad_enabled():
        raise RuntimeError(
            f"{what} is called inside activation checkpointing or torch.no_grad, where the backward pass is "
            "not that of the rule; call the model without them"
        )


def parameter_uses(out: Tensor) -> Counter[Tensor]:
    """Return how many operations in the graph of ``out`` use each parameter (leaf)."""
    uses: Counter[Tensor] = Counter()
    nodes: list[Any] = [out.grad_fn]
    seen = set(nodes)
    while nodes:
        for node, _ in nodes.pop().next_functions:
            if node is None:
                continue
            if hasattr(node, "variable"):
                uses[node.variable] += 1
            elif node not in seen:
                seen.add(node)
                nodes.append(node)
    return uses


def _check_batch(path: str, layer: Any, h: Tensor) -> None:
    if h.ndim < 2 if isinstance(layer, nn.Linear) else h.ndim != len(layer.stride) + 2:
        raise ValueError(f"layer {path!r}: input of shape {tuple(h.shape)}, expected a batch (N, ...)")


def _owners(model: nn.Module) -> dict[Tensor, dict[nn.Module, str]]:
    """Return the modules that own each parameter, with their paths."""
    owners: dict[Tensor, dict[nn.Module, str]] = defaultdict(dict)
    for path, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners[parameter][module] = path
    return owners


@contextmanager
def _hooked(layers: Iterable[Any], hook: Callable[..., Any]) -> Iterator[None]:
    """Call ``hook`` after every forward pass of ``layers`` inside the context."""
    # By assignment, which torch.compile traces, unlike register_forward_hook; nn.Module's own is slow.
    hooks = [(layer, layer._forward_hooks, layer._forward_hooks_with_kwargs) for layer in layers]
    for layer, plain, with_kwargs in hooks:
        # First, so that other hooks act on what the rule returns, as layers after this one do.
        object.__setattr__(layer, "_forward_hooks", OrderedDict({"rule": hook, **plain}))
        object.__setattr__(layer, "_forward_hooks_with_kwargs", OrderedDict({"rule": True, **with_kwargs}))
    try:
        yield
    finally:
        for layer, plain, with_kwargs in hooks:
            object.__setattr__(layer, "_forward_hooks", plain)
            object.__setattr__(layer, "_forward_hooks_with_kwargs", with_kwargs)


def _uncompiled() -> AbstractContextManager[Any]:
    """Run compiled parts uncompiled: their graphs lack hooks, or would contain them ever after."""
    if torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
