"""What every learning rule is: a module whose forward returns the objective to descend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(scores (N, K), targets) -> scalar, the mean over the batch, as torch's loss modules do."""

Forward = TypeVar("Forward", bound=Callable[..., Tensor])


class Rule(nn.Module):
    """A model together with a way to assign credit to its parameters.

    ``rule(x, y)`` returns a scalar; after ``backward()`` every parameter's ``.grad`` is *minus* the
    update that the rule asks for, so any `torch.optim` optimizer, gradient scaler or
    `DistributedDataParallel` works as it does with a loss.  For rules that do not descend a loss the
    scalar's value means nothing: plot metrics of `predict` instead.

    Whatever the rule remembers (feedback weights, running thresholds, traces) is a buffer or a
    parameter of the rule.  ``model`` stays an ordinary module: ``model(x)`` keeps its meaning.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the scalar objective of inputs ``x`` (N, ...) and targets ``y``."""
        raise NotImplementedError

    def predict(self, x: Tensor) -> Tensor:
        """Return raw scores (N, K); K = 1 is one logit for class 1."""
        scores: Tensor = self.model(x)
        return scores


def probabilities(scores: Tensor) -> Tensor:
    """Turn raw scores (N, K) into class probabilities (N, max(K, 2)).

    K = 1 is one logit, positive for class 1, so the columns are classes 0 and 1; K >= 2 is a softmax.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be (N, K), got {tuple(scores.shape)}")
    if scores.shape[1] == 1:
        return torch.cat([torch.sigmoid(-scores), torch.sigmoid(scores)], 1)
    return torch.softmax(scores, 1)


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the links of a chain, first to last; the last one is the readout.

    A rule of blocks is itself where a block holds one weight layer; inside a coarser block the error
    travels by backprop.

    Raises
    ------
    TypeError
        If ``model`` is no `nn.Sequential` of at least two blocks.
    """
    if not isinstance(model, nn.Sequential) or len(model) < 2:
        raise TypeError(
            "this rule needs a chain of at least two blocks (nn.Sequential), got "
            f"{type(model).__name__}; wrap the stages of the model in one nn.Sequential"
        )
    return list(model.children())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put ``module`` in eval mode, and every submodule back in its own mode afterwards."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


@torch.no_grad()
def outputs(chain: Sequence[nn.Module], example: Tensor) -> list[Tensor]:
    """Return what each block gives for ``example``, without touching modes or running statistics."""
    with evaluating(nn.ModuleList(chain)):
        return fed_detached(chain, example)


def fed_detached(chain: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    """Return what each block gives when it is fed, detached, what the one before it gave."""
    result, h = [], x
    for block in chain:
        h = block(h.detach())
        result.append(h)
    return result


def full_precision(forward: Forward) -> Forward:
    """Run a rule's ``forward`` in the dtype of its model, also under autocast.

    For rules that take differences of nearly equal numbers.
    """

    @wraps(forward)
    def run(rule: Any, x: Tensor, y: Tensor | None = None) -> Tensor:
        if x.is_floating_point():
            x = x.to(next(rule.model.parameters()).dtype)
        with torch.autocast(x.device.type, enabled=False):
            return forward(rule, x, y)

    return cast(Forward, run)


class TappedRule(Rule):
    """A rule that acts at chosen layers of any model, as the data passes through them.

    The hooks are laid once, as bound methods, and rest unless the rule itself runs the model: so
    ``model(x)`` stays what it was, a deep copy is independent, and `torch.compile` sees one graph.
    """

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module]) -> None:
        super().__init__(model)
        self._ledger: list[Any] | None = None
        for layer in layers:
            layer.register_forward_hook(self._hook)

    def at(self, layer: nn.Module, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Return what ``layer`` passes on in place of ``out``; the rule may note something."""
        raise NotImplementedError

    def run(self, x: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the model's output with the taps open, and what they noted."""
        self._ledger = []
        try:
            return self.model(x), self._ledger
        finally:
            self._ledger = None

    def _hook(self, layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out if self._ledger is None else self.at(layer, args[0], out, self._ledger)
