"""How each parameter of a rule learns: `hebbian.Rule.report`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hebbian.rule import evaluating, predicted_targets

if TYPE_CHECKING:
    from hebbian.rule import Rule

BY_RULE, BY_CRITERION, NOT = "by the rule", "by the criterion", "not at all"


@dataclass(frozen=True)
class Report:
    """How the parameters of a rule learn, by name; ``str(report)`` is a table.

    ``by the criterion`` is exactly as by backprop of the whole model.
    """

    title: str
    shapes: Mapping[str, torch.Size]
    learns: Mapping[str, str]

    def __str__(self) -> str:
        rows = [("parameter", "shape", "learns")]
        rows += [(name, str(tuple(shape)), self.learns[name]) for name, shape in self.shapes.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([self.title, "", *lines])


def report(rule: Rule, x: Tensor, y: Tensor | None = None) -> Report:
    """See `hebbian.Rule.report`."""
    rule = deepcopy(rule).double()  # its state changes in the copy only
    x = x.double() if x.is_floating_point() else x
    cuda = [x.device] if x.is_cuda else []
    with torch.random.fork_rng(devices=cuda), torch.enable_grad(), evaluating(rule):
        y = predicted_targets(rule.predict(x).detach()) if y is None else y
        y = y.double() if y.is_floating_point() else y
        free = {name: p for name, p in rule.named_parameters() if p.requires_grad}
        own = _gradients(rule(x, y), free)
        criterion = getattr(rule, "criterion", None)
        steepest = {} if criterion is None else _gradients(criterion(rule.model(x), y), free)
    inner = rule.inner_parameters()
    learns = {}
    for names in _by_module(rule):
        descends = _are_equal([own.get(n) for n in names], [steepest.get(n) for n in names])
        for name in names:
            p = rule.get_parameter(name)
            if not p.requires_grad:
                learns[name] = f"{NOT}: requires_grad is False"
            elif name not in own:
                learns[name] = NOT
            elif descends:
                learns[name] = BY_CRITERION
            else:
                learns[name] = f"by backprop{inner[p]} from the rule's error" if p in inner else BY_RULE
    shapes = {name: p.shape for name, p in rule.named_parameters()}
    return Report(f"{type(rule).__name__} of {type(rule.model).__name__}", shapes, learns)


def _gradients(objective: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return the gradient of each parameter that ``objective`` depends on."""
    found = torch.autograd.grad(objective, [*parameters.values()], allow_unused=True)
    return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}


def _by_module(rule: nn.Module) -> list[list[str]]:
    """Return the names of the parameters, those of one module together."""
    groups = defaultdict(list)
    for name, _ in rule.named_parameters():
        groups[name.rpartition(".")[0]].append(name)
    return [*groups.values()]


def _are_equal(own: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> bool:
    """Return whether the gradients of a module are those of backprop, and not all of them 0.

    The two are computed in another order, so their last bits may differ.
    """
    pairs = [(a, b) for a, b in zip(own, other, strict=True) if a is not None]
    if not pairs or any(b is None for _, b in pairs):
        return False
    a, b = (torch.cat([g.flatten() for g in side]) for side in zip(*pairs, strict=True))
    return bool((a - b).norm() <= 1e-9 * b.norm()) and bool(b.any())
