"""The blocks of a chain, and the interface of rules that act at them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import TypeVar, cast

import torch
from torch import Tensor, fx, nn

from hebbian.graph import Stage, stages, update_attributes
from hebbian.nn import RePU
from hebbian.rule import Criterion, Rule, check_tensor, evaluating
from hebbian.synapse import LAYERS, NORMS

_Part = TypeVar("_Part")

POINTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.ReLU6),
    *(nn.Tanh, nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, RePU),
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
    """Return the blocks of a model, first to last; the last one is the readout.

    Of an `nn.Sequential`, a child that has weights begins a block.  Activations, norms, pooling, dropout and
    other children without weights belong to the block before them; a Flatten or Unflatten, and what comes
    before the first weights, to the block after it.  So a flat chain and one whose blocks are nested are the
    same.  A child is not divided.

    Any other model is divided in the same way into the smallest stages between which one tensor passes: a
    residual block, for example, is one block.  `divide` makes larger blocks.

    A rule for blocks is the published rule if each block has one weight layer at most; inside a larger one
    the error is propagated by backprop.

    Raises
    ------
    TypeError
        If the model has less than two blocks, or cannot be divided.
    """
    chain = _of_children(model) if is_chain(model) else _of_stages(model)
    if len(chain) < 2:
        raise TypeError(
            f"this rule needs at least two blocks with weights, got {len(chain)} in {type(model).__name__}: "
            f"{', '.join(block.name for block in chain) or 'none'}; divide the model into stages between "
            "which one tensor passes"
        )
    return chain


def is_chain(model: nn.Module) -> bool:
    """Return whether ``model`` runs its children one after the other, as `nn.Sequential` does."""
    return type(model).forward is nn.Sequential.forward


def divide(model: nn.Module, names: Sequence[str]) -> nn.Sequential:
    """Return a model as a chain of named blocks, for the rules that need one.

    What the model computes between two of the modules belongs to the block before; a Flatten or another
    change of shape, and what comes before the first one, to the block after it.  The chain has the layers of
    ``model``, so that what a rule trains is the model.

    Parameters
    ----------
    model
        Any module whose forward takes one tensor and calls the named modules in this order.
    names
        Paths of modules, at least two; they are not divided.

    Raises
    ------
    TypeError
        If the forward pass outside of the named modules cannot be traced by `torch.fx`, if it does not call
        them once each and in this order, or if more than one tensor passes from a block to the next.
    ValueError
        If there is no such module.

    Examples
    --------
    >>> from torch import nn
    >>> from hebbian import divide
    >>> class Residual(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.stem, self.layer, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         h = self.stem(x).relu()
    ...         return self.head(h + self.layer(h).relu())
    >>> [name for name, _ in divide(Residual(), ["stem", "head"]).named_children()]
    ['stem', 'head']
    """
    modules = dict(model.named_modules())
    if unknown := [name for name in names if name not in modules]:
        raise ValueError(f"no module at {unknown[0]!r} of {type(model).__name__}; see model.named_modules()")
    chain = _of_stages(model, {modules[name]: name for name in names})
    if (found := [block.name for block in chain]) != list(names):
        raise TypeError(
            f"the forward pass of {type(model).__name__} calls {', '.join(found) or 'none of the modules'}; "
            f"expected {', '.join(names)}, once each and in this order"
        )
    return nn.Sequential(OrderedDict((block.name.replace(".", "_"), block[0]) for block in chain))


def _of_children(model: nn.Module) -> list[Block]:
    """Return the blocks of an `nn.Sequential`."""
    items = cast("dict[str, nn.Module]", model._modules).items()  # a child may occur twice
    weighted = [_has_weights(child) for _, child in items]
    opening = [isinstance(child, nn.Flatten | nn.Unflatten) for _, child in items]
    return [Block(OrderedDict(block)) for block in _grouped(list(items), weighted, opening)]


def _of_stages(model: nn.Module, named: Mapping[nn.Module, str] | None = None) -> list[Block]:
    """Return the blocks of a traced model; each begins with one of the ``named`` modules, if any."""
    division = stages(model, named or ())
    called = [stage.modules(model) for stage in division]
    if named:
        weighted = [not named.keys().isdisjoint(modules.values()) for modules in called]
        for modules in called:
            together = [named[module] for module in modules.values() if module in named]
            if len(together) > 1:
                raise TypeError(
                    f"more than one tensor passes between {together[0]!r} and {together[1]!r}, such as by a "
                    "skip connection; name a module that contains both"
                )
    else:
        weighted = [
            any(map(_has_weights, modules.values())) or stage.multiplies()
            for stage, modules in zip(division, called, strict=True)
        ]
    opening = [stage.reshapes(model) for stage in division]
    chain = []
    for group in _grouped(division, weighted, opening):
        whole, block = reduce(Stage.__add__, group), Block()
        names = [named[module] for module in whole.modules(model).values() if named and module in named]
        block._modules[names[0] if names else whole.name(model)] = whole.build(model)  # a name may have dots
        chain.append(block)
    return chain


def _grouped(parts: Sequence[_Part], weighted: Sequence[bool], opening: Sequence[bool]) -> list[list[_Part]]:
    """Divide ``parts`` into blocks: each begins with weights, or with what is ``opening`` before them."""
    chain: list[list[_Part]] = []
    leading: list[_Part] = []
    for part, has_weights, opens in zip(parts, weighted, opening, strict=True):
        if has_weights:
            chain.append([*leading, part])
            leading = []
        elif chain and not leading and not opens:
            chain[-1].append(part)
        else:
            leading.append(part)
    if chain:
        chain[-1] += leading
    return chain


def _has_weights(child: nn.Module) -> bool:
    """Return whether a child of a chain begins a block: it has parameters other than those of norms."""
    own = (m for m in child.modules() if not isinstance(m, (*NORMS, nn.PReLU)))
    return isinstance(child, NoReadout) or any(m._parameters for m in own)


class NoReadout(nn.Identity):
    """The last block of a chain in which only hidden blocks learn."""


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
    TypeError
        If ``maps`` is set and a block returns (N, tokens, features).
    """
    with evaluating(nn.ModuleList(chain)):
        outputs = forward_detached(chain, example)
    for block, h in zip(chain, outputs, strict=True):
        if maps and h.ndim > 2 and _features(block) == h.shape[-1]:
            raise TypeError(
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


def forward_detached(chain: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Return the output of each block, whose input is the detached output of the block before it."""
    result, h = [], x
    for block in chain:
        h = block(h.detach())
        result.append(h)
    return result


def has_one_mode(block: nn.Sequential) -> bool:
    """Return whether ``block`` is known to compute in eval mode what it computes in training mode."""
    known = (*LAYERS, *POINTWISE, nn.Flatten, nn.Unflatten, nn.Identity, nn.Sequential, Block)
    return all(type(module) in known for module in block.modules())


def pullback(f: Callable[[Tensor], Tensor], h: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return ``f(h)`` and the function that multiplies by the transposed Jacobian of ``f`` at ``h``.

    It is called once.  No gradient passes it.
    """
    if torch.compiler.is_compiling():
        out, send = torch.func.vjp(f, h.detach())  # type: ignore[misc]
        return out.detach(), lambda v: send(v)[0].detach()
    with torch.enable_grad():  # costs less than torch.func
        h = h.detach().requires_grad_()
        out = f(h)

    def back(v: Tensor) -> Tensor:
        try:
            return torch.autograd.grad(out, h, v)[0]
        except RuntimeError as error:
            error.add_note(
                f"raised in the backward pass of block {getattr(f, 'name', 'readout')!r} of the chain"
            )
            raise

    return out.detach(), back


def output_error(criterion: Criterion, scores: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of ``criterion`` with respect to ``scores`` (N, K)."""
    loss, send = pullback(lambda s: criterion(s, y), scores)
    return send(torch.ones_like(loss))


class ChainRule(Rule):
    """A rule of the blocks of a model, which are listed when the rule is built; see `blocks`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.blocks = blocks(model)
        run = {module for block in self.blocks for module in block.modules()}
        self._passed_by = [module for module in model.modules() if module not in run]
        self._parts = self._all_parts()
        self._is_verified = is_chain(model)

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return `forward`, after a check that running the blocks is running the model.

        Raises
        ------
        RuntimeError
            If children of the model were replaced since the rule was built, the model has hooks, or its
            blocks do not compute what it does.
        ValueError
            If ``x`` is not a batch.
        """
        if not torch.compiler.is_compiling():
            self._check_chain(x)
        return super().__call__(x, y)

    def inner_parameters(self) -> dict[nn.Parameter, str]:
        """Return the parameters of blocks with more than one module with weights, or with a cell of torch."""
        inner: dict[nn.Parameter, str] = {}
        for block in self.blocks:
            weighted = [m for m in block.modules() if m._parameters and not isinstance(m, (*NORMS, nn.PReLU))]
            if len(weighted) > 1 or any(isinstance(module, nn.RNNBase) for module in weighted):
                inner |= dict.fromkeys(block.parameters(), f" inside block {block.name!r}")
        return inner

    def _check_chain(self, x: Tensor) -> None:
        """Raise an error where running the blocks is not running the model on ``x``."""
        if self._all_parts() != self._parts:
            raise RuntimeError("children of the model were replaced; build the rule after that")
        if any(module._forward_pre_hooks or module._forward_hooks for module in self._passed_by):
            raise RuntimeError(
                "the model has forward hooks, and this rule runs its children only; register them on a child"
            )
        if x.is_floating_point() and x.ndim < 2:
            raise ValueError(f"input of shape {tuple(x.shape)}, expected a batch (N, ...)")
        for block in self.blocks:
            for stage in block:
                if isinstance(stage, fx.GraphModule):
                    update_attributes(stage, self.model)
        if not self._is_verified:
            self._verify(x)

    def _all_parts(self) -> list[nn.Module]:
        """Return the modules that the blocks call, or that contain them."""
        if is_chain(self.model):
            return [*cast("dict[str, nn.Module]", self.model._modules).values()]
        return [*self.model.modules()]

    @torch.no_grad()
    def _verify(self, x: Tensor) -> None:
        """Compare, once, the output of the blocks with that of the model."""
        with evaluating(self.model):
            expected, out = self.model(x), reduce(lambda h, block: block(h), self.blocks, x)
        if not torch.allclose(out, expected, equal_nan=True):
            raise RuntimeError(
                f"the blocks of {type(self.model).__name__}, which torch.fx traced when the rule was built, "
                "do not compute what the model does; divide it by hand into an nn.Sequential"
            )
        self._is_verified = True
