"""Associative memories of ±1 patterns: stored by a local rule, recalled as the nearest attractor.

They are not a `hebbian.rule.Rule`: there is no objective, a pattern is stored in one step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.rule_info import register_module


@register_module(
    name="hopfield",
    family="associative memory",
    source="Hopfield 1982; Amit, Gutfreund & Sompolinsky 1985",
    needs="patterns of -1 and 1 with low correlations: `hebbian.Hopfield(units)`, `store`, `recall`",
)
class Hopfield(nn.Module):
    """Hopfield network: ``units`` binary units with symmetric weights, stored by Hebb's rule.

    Equation::

        dW = p pᵀ / units, with zero diagonal; recall s_i <- sign(sum_j W_ij s_j), unit after unit

    Recalls up to about 0.138 random patterns a unit with few errors (Amit, Gutfreund & Sompolinsky
    1985), and above that almost none.  The negative of a pattern is stored with it.  ``weight``
    (units, units) is a buffer.
    """

    weight: Tensor

    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(units, units))

    @torch.no_grad()
    def store(self, patterns: Tensor) -> None:
        """Add ``patterns`` (P, units) of ±1 to those that are stored already.

        Raises
        ------
        ValueError
            If the patterns have another shape or other values.
        """
        for pattern in self._checked(patterns):
            self.weight.add_(self.change(pattern)).fill_diagonal_(0)

    def change(self, pattern: Tensor) -> Tensor:
        """Return the weight change (units, units) for ``pattern`` (units,)."""
        return torch.outer(pattern, pattern) / len(pattern)

    @torch.no_grad()
    def recall(self, initial: Tensor, steps: int = 20) -> Tensor:
        """Return the states (P, units) to which the net settles from ``initial`` (P, units), both ±1.

        The units take the sign of their input one after another, first to last, so that the energy
        -s W s / 2 never grows; a unit without input does not change.  Ends at a fixed point or after
        ``steps`` sweeps.

        Raises
        ------
        ValueError
            If the states have another shape or other values.
        """
        state = self._checked(initial).clone()
        for _ in range(steps):
            before = state.clone()
            for unit, w in enumerate(self.weight):
                field = state @ w
                state[:, unit] = torch.where(field == 0, state[:, unit], field.sign())
            if torch.equal(state, before):
                break
        return state

    def _checked(self, patterns: Tensor) -> Tensor:
        units = len(self.weight)
        if patterns.ndim != 2 or patterns.shape[1] != units:
            raise ValueError(f"patterns must be (P, {units}), got {tuple(patterns.shape)}")
        if not torch.all(patterns.abs() == 1):
            raise ValueError("patterns must contain -1 and 1 only; use 2 * bits - 1")
        return patterns.to(self.weight)


@register_module(
    name="storkey",
    family="associative memory",
    source="Storkey 1997",
    needs="patterns of -1 and 1: `hebbian.Storkey(units)`, `store`, `recall`",
)
class Storkey(Hopfield):
    """Storkey's rule: a Hopfield network with a larger capacity.

    Equation::

        dW_ij = (p_i p_j - p_i h_ji - h_ij p_j) / units, h_ij = sum_{k not i, j} W_ik p_k

    It is as local and incremental as Hebb's rule and subtracts the crosstalk of the stored patterns.
    """

    def change(self, pattern: Tensor) -> Tensor:
        """Return the weight change (units, units) for ``pattern`` (units,)."""
        field = self.weight @ pattern
        h = field[:, None] - self.weight * pattern  # of unit i without j; the diagonal is 0
        crosstalk = h * pattern
        return (torch.outer(pattern, pattern) - crosstalk - crosstalk.T) / len(pattern)
