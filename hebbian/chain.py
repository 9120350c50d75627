"""The blocks of a chain, and the interface of rules that act at them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hebbian.nn import RePU
from hebbian.rule import Rule, check_tensor, evaluating
from hebbian.synapse import LAYERS, NORMS

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
