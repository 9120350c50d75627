"""The interface of a learning rule: a module whose forward returns the objective to descend."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from traceback import walk_stack
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils import checkpoint

from hebbian.synapse import NORMS, has_own_forward, is_set_by_hook, synaptic, weight_layers

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(scores (N, K), targets) -> scalar, the mean over the batch, as torch's loss modules do."""

Forward = TypeVar("Forward", bound=Callable[..., Tensor])


class Rule(nn.Module):
    """A model together with a method to compute updates of its parameters.

    ``rule(x, y)`` returns a scalar; after ``backward()`` every parameter's ``.grad`` is *minus* the
    update of the rule, so any `torch.optim` optimizer, gradient scaler or `DistributedDataParallel`
    works as with a loss.  For rules that do not descend a loss the value of the scalar has no meaning:
    plot metrics of `predict` instead.

    The state of a rule (feedback weights, running thresholds, traces) is in buffers and parameters of the
    rule.  ``model`` remains an ordinary module: ``model(x)`` is unchanged.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if lazy := [path for path, m in model.named_modules() if isinstance(m, LazyModuleMixin)]:
            raise ValueError(
                f"layer {lazy[0]!r} has no weights yet; run the model on a batch, then build the rule"
            )
        self.model = model

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return `forward`; `ValueError` for an empty batch, of which no rule has a mean."""
        if not len(x):
            raise ValueError("the batch is empty; expected at least one sample")
        objective: Tensor = super().__call__(x, y)
        return objective

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the scalar objective of inputs ``x`` (N, ...) and targets ``y``."""
        raise NotImplementedError

    def predict(self, x: Tensor) -> Tensor:
        """Return raw scores (N, K); K = 1 is one logit for class 1.

        Examples
        --------
        >>> import torch
        >>> from hebbian import Backprop, probabilities
        >>> rule = Backprop(torch.nn.Linear(4, 3), torch.nn.CrossEntropyLoss())
        >>> probabilities(rule.predict(torch.zeros(2, 4))).shape
        torch.Size([2, 3])
        """
        scores: Tensor = self.model(x)
        return scores


def probabilities(scores: Tensor) -> Tensor:
    """Convert raw scores (N, K) into class probabilities (N, max(K, 2)).

    K = 1 is one logit, positive for class 1, so the columns are classes 0 and 1; K >= 2 is a softmax.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be (N, K), got {tuple(scores.shape)}")
    if scores.shape[1] == 1:
        return torch.cat([torch.sigmoid(-scores), torch.sigmoid(scores)], 1)
    return torch.softmax(scores, 1)


def has_classes(scores: Tensor, y: Tensor) -> bool:
    """Return whether ``y``, (N,) or (N, 1), holds one of the classes of raw scores (N, K) for each sample.

    Classes are integers from 0 to K - 1; for one logit also floating-point 0 and 1.
    """
    if scores.ndim != 2 or y.shape not in ((len(scores),), (len(scores), 1)) or not len(y):
        return False
    k = scores.shape[1]
    if y.is_floating_point():
        return k == 1 and bool(((y == 0) | (y == 1)).all())
    return int(y.min()) >= 0 and int(y.max()) < max(k, 2)


def check_classes(y: Tensor, classes: int, count: int | None = None) -> None:
    """Raise `ValueError` if ``y`` is not (count,) labels, each of them a class from 0 to ``classes`` - 1.

    For rules that need a class of every sample, also where a criterion ignores some.  Not checked in a
    compiled graph.
    """
    if torch.compiler.is_compiling():
        return
    if y.is_floating_point() or y.shape != (len(y) if count is None else count,):
        raise ValueError(
            f"targets are {y.dtype} {tuple(y.shape)}; expected one class for each of {count or len(y)} "
            "samples, integers (N,): for one-hot targets y.argmax(1)"
        )
    if (bad := y[(y < 0) | (y >= classes)]).numel():
        raise ValueError(
            f"label {int(bad[0])}; expected classes 0 to {classes - 1}: leave out samples without a class"
        )


class Block(nn.Sequential):
    """A block of a chain: successive children of the model, under their names."""

    @property
    def name(self) -> str:
        """The names of the children, joined by a plus sign."""
        return "+".join(self._modules)

    def forward(self, h: Tensor) -> Tensor:
        """Return the output of the block.

        Raises
        ------
        RuntimeError
            If the block changes ``h`` in place, which is also the output of the block before it, or if no
            gradient reaches its parameters.
        """
        unversioned = torch.compiler.is_compiling() or h.is_inference()
        h = h.clone() if unversioned else h
        version = 0 if unversioned else h._version
        try:
            out: Tensor = super().forward(h)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            error.add_note(f"raised in block {self.name!r} of the chain")
            raise
        if not unversioned and h._version != version:
            raise RuntimeError(
                f"block {self.name!r} changes its input in place, which the rule still needs; use operations "
                "that are not in place (inplace=False)"
            )
        check_tensor(f"block {self.name!r}", out)
        lost = torch.is_grad_enabled() and not out.requires_grad
        if lost and any(p.requires_grad for p in self.parameters()):
            raise RuntimeError(
                f"the output of block {self.name!r} has no gradient, so that the block cannot learn; take it "
                "out of torch.no_grad, detach or re-entrant checkpointing (use_reentrant=False)"
            )
        return out


def blocks(model: nn.Module) -> list[Block]:
    """Return the blocks of a chain, first to last; the last one is the readout.

    A child of the chain that has weights begins a block.  Activations, norms, pooling, dropout and other
    children without weights belong to the block before them; a Flatten or Unflatten, and what comes before
    the first weights, to the block after it.  So a flat chain and one whose blocks are nested are the same.

    A child is not divided: a rule for blocks is the published rule if each child has one weight layer at
    most; inside a larger one the error is propagated by backprop.

    Raises
    ------
    TypeError
        If ``model`` is not an `nn.Sequential` of at least two children with weights.
    """
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        raise TypeError(
            f"this rule needs a chain of at least two blocks (nn.Sequential), got {type(model).__name__}; "
            "wrap the stages of the model in one nn.Sequential, and compile the rule, not the model"
        )
    chain: list[dict[str, nn.Module]] = []
    leading: dict[str, nn.Module] = {}
    for name, child in model._modules.items():  # a child may occur twice
        if _has_weights(child):
            chain.append({**leading, name: child})
            leading = {}
        elif chain and not leading and not isinstance(child, nn.Flatten | nn.Unflatten):
            chain[-1][name] = child
        else:
            leading[name] = child
    if len(chain) < 2:
        raise TypeError(
            f"this rule needs a chain of at least two blocks with weights, got {len(chain)} in "
            f"{', '.join(type(child).__name__ for child in model)}; divide the model into its stages"
        )
    chain[-1].update(leading)
    return [Block(OrderedDict(block)) for block in chain]


def _has_weights(child: nn.Module) -> bool:
    """Return whether a child of a chain begins a block: it has parameters other than those of norms."""
    own = (m for m in child.modules() if not isinstance(m, (*NORMS, nn.PReLU)))
    return isinstance(child, NoReadout) or any(m._parameters for m in own)


class NoReadout(nn.Identity):
    """The last block of a chain in which only hidden blocks learn."""


def check_tensor(what: str, out: object) -> None:
    """Raise `TypeError` if the output of a module is not a tensor."""
    if not isinstance(out, Tensor):
        raise TypeError(
            f"{what} returns a {type(out).__name__}, expected a tensor; wrap it in a module that returns one"
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set ``module`` to eval mode; afterwards restore the mode of every submodule."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


@torch.no_grad()
def block_outputs(chain: Sequence[Block], example: Tensor, maps: bool = False) -> list[Tensor]:
    """Return the output of each block for ``example``; modes and running statistics do not change.

    Parameters
    ----------
    chain
        Blocks, first to last.
    example
        A batch (N, ...) of inputs.
    maps
        Whether axis 1 must be that of the units or channels.

    Raises
    ------
    ValueError
        If ``maps`` is set and a block returns (N, tokens, features).
    """
    with evaluating(nn.ModuleList(chain)):
        outputs = forward_detached(chain, example)
    for block, h in zip(chain, outputs, strict=True):
        if maps and h.ndim > 2 and _features(block) == h.shape[-1]:
            raise ValueError(
                f"block {block.name!r} returns {tuple(h.shape)} with features last; this rule needs (N, "
                "units) or (N, channels, *space): flatten, average or transpose inside the block"
            )
    return outputs


def _features(block: nn.Module) -> int | None:
    """Return the size of the last axis after ``block`` if its last layer with weights works on that axis."""
    features = None
    for layer in block.modules():
        match layer:
            case nn.Linear():
                features = layer.out_features
            case nn.Embedding():
                features = layer.embedding_dim
            case nn.RNNBase():
                features = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
            case nn.modules.conv._ConvNd():
                features = None
    return features


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


def forward_detached(chain: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Return the output of each block, whose input is the detached output of the block before it."""
    result, h = [], x
    for block in chain:
        h = block(h.detach())
        result.append(h)
    return result


def full_precision(forward: Forward) -> Forward:
    """Run a rule's ``forward`` in the dtype of its model, also under autocast.

    For rules that subtract nearly equal numbers.
    """

    @wraps(forward)
    def run(rule: Any, x: Tensor, y: Tensor | None = None) -> Tensor:
        if x.is_floating_point():
            x = x.to(next(rule.model.parameters()).dtype)
        with torch.autocast(x.device.type, enabled=False):
            return forward(rule, x, y)

    return cast(Forward, run)


class ChainRule(Rule):
    """A rule of the blocks of a chain, which are listed when the rule is built; see `blocks`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.blocks = blocks(model)

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return `forward`, after a check that running the blocks is running the model.

        Raises
        ------
        RuntimeError
            If children of the model were replaced since the rule was built, or the model has hooks.
        ValueError
            If ``x`` is not a batch.
        """
        if not torch.compiler.is_compiling():
            self._check_chain(x)
        return super().__call__(x, y)

    def _check_chain(self, x: Tensor) -> None:
        children = [child for block in self.blocks for child in block]
        if children != [*self.model._modules.values()]:
            raise RuntimeError("children of the model were replaced; build the rule after that")
        if self.model._forward_pre_hooks or self.model._forward_hooks:
            raise RuntimeError(
                "the model has forward hooks, and this rule runs its children only; register them on a child"
            )
        if x.is_floating_point() and x.ndim < 2:
            raise ValueError(f"input of shape {tuple(x.shape)}, expected a batch (N, ...)")


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
        Paths of its Linear, Conv1d, Conv2d or Conv3d layers at which the rule acts.

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

    def __init__(self, model: nn.Module, layers: Iterable[str]) -> None:
        super().__init__(model)
        self.layers: dict[Any, str] = {synaptic(model, path): path for path in layers}
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
            if self.cuts_error and is_set_by_hook(layer):
                raise TypeError(
                    f"the weight of layer {path!r} is set by a hook (torch.nn.utils.weight_norm, "
                    f"spectral_norm, prune), where {type(self).__name__} cannot change it; use "
                    "torch.nn.utils.parametrizations, or prune.remove"
                )
        for owners in _owners(model).values():
            if len(owners) > 1 and not self.layers.keys().isdisjoint(owners):
                raise TypeError(
                    f"layers {' and '.join(map(repr, owners.values()))} share a parameter, so that a rule at "
                    "one would change the others; give each its own"
                )

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

    def run(self, x: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the model's output with the hooks active, and the ledger that they filled.

        Raises
        ------
        RuntimeError
            If a layer is not called once as a module, if its weight is used in another way as well, or if the
            backward pass would call it again (activation checkpointing).
        """
        ledger: list[Any] = []
        called: list[str] = []
        grad = torch.is_grad_enabled()
        act = f"{type(self).__name__} cannot act there"

        def tap(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> Tensor:
            path = self.layers[layer]
            if path in called and not self.propagates:
                raise RuntimeError(
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
            return out

        with (
            _uncompiled(),
            _hooked(self.layers, tap),
            torch.set_grad_enabled(grad and not self.cuts_error),
        ):
            out = self.model(x)
            check_tensor(f"model {type(self.model).__name__}", out)
            if missing := [path for path in self.layers.values() if path not in called]:
                raise RuntimeError(
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
        return out, ledger

    def _refuse_other_uses(self, out: Tensor, called: list[str]) -> None:
        """Refuse a parameter that enters ``out`` in another way than by the calls of its layer."""
        if torch.compiler.is_compiling():
            return  # a graph that is being compiled cannot be walked
        uses = parameter_uses(out)
        for layer, path in self.layers.items():
            known = called.count(path) if self.propagates else 0
            if any(uses[p] > known for p in (layer._parameters.get("weight"), layer.bias)):
                raise RuntimeError(
                    f"the weight of layer {path!r} is also used without calling the layer (F.linear), where "
                    f"{type(self).__name__} cannot act; use one layer for each call, "
                    "or choose other layers if the rule takes any"
                )


def refuse_recomputation(what: str) -> None:
    """Raise `RuntimeError` in activation checkpointing, whose second forward pass no rule observes."""
    if torch.compiler.is_compiling():
        return
    checkpointing = any(f.f_code.co_filename == checkpoint.__file__ for f, _ in walk_stack(None))
    if checkpointing or not torch.is_grad_enabled():
        raise RuntimeError(
            f"{what} is called inside activation checkpointing or torch.no_grad, where the backward pass is "
            "not that of the rule; call the model without them"
        )


def parameter_uses(out: Tensor) -> Counter[Tensor]:
    """Return how many operations in the graph of ``out`` use each parameter (leaf)."""
    uses: Counter[Tensor] = Counter()
    nodes = [] if out.grad_fn is None else [out.grad_fn]
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
    # By assignment, which torch.compile traces; it does not trace register_forward_hook.
    hooks = [(layer, layer._forward_hooks, layer._forward_hooks_with_kwargs) for layer in layers]
    for layer, plain, with_kwargs in hooks:
        layer._forward_hooks = OrderedDict(plain, rule=hook)
        layer._forward_hooks_with_kwargs = OrderedDict(with_kwargs, rule=True)
    try:
        yield
    finally:
        for layer, plain, with_kwargs in hooks:
            layer._forward_hooks, layer._forward_hooks_with_kwargs = plain, with_kwargs


def _uncompiled() -> AbstractContextManager[Any]:
    """Run compiled parts uncompiled: their graphs lack hooks, or would contain them ever after."""
    if torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules:
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
