"""Associative memories of ±1 patterns: stored by a local rule, recalled as the nearest attractor.

They are no `hebbian.rule.Rule`: nothing is descended, a pattern is stored in one look.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Hopfield(nn.Module):
    """Hopfield 1982: ``units`` binary units with symmetric weights, stored by Hebb, dW = p pᵀ / units.

    Recalls up to about 0.138 random patterns a unit with few errors (Amit, Gutfreund & Sompolinsky
    1985), and beyond that almost none.  Needs patterns that are hardly correlated.  It cannot tell a pattern
    from its negative, which is stored with it, nor forget.  ``weight`` (units, units) is a buffer.
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
        """Return the weight change (units, units) that ``pattern`` (units,) asks for."""
        return torch.outer(pattern, pattern) / len(pattern)

    @torch.no_grad()
    def recall(self, cue: Tensor, steps: int = 20) -> Tensor:
        """Return the states (P, units) that the net settles to from ``cue`` (P, units), both ±1.

        The units take the sign of their input one after another, first to last, so that the energy
        -s W s / 2 never grows; a unit without input stays.  Ends at a fixed point or after ``steps``
        sweeps.

        Raises
        ------
        ValueError
            If the cues have another shape or other values.
        """
        state = self._checked(cue).clone()
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
            raise ValueError("patterns must hold -1 and 1 only; use 2 * bits - 1")
        return patterns.to(self.weight)


class Storkey(Hopfield):
    """Storkey 1997: dW_ij = (p_i p_j - p_i h_ji - h_ij p_j) / units, h_ij = sum over k not i, j of W_ik p_k.

    As local and as incremental as Hebb's storage, it takes off what the stored patterns already say of
    the new one, and holds more of them.
    """

    def change(self, pattern: Tensor) -> Tensor:
        """Return the weight change (units, units) that ``pattern`` (units,) asks for."""
        field = self.weight @ pattern
        h = field[:, None] - self.weight * pattern  # of unit i without j; the diagonal is 0
        crosstalk = h * pattern
        return (torch.outer(pattern, pattern) - crosstalk - crosstalk.T) / len(pattern)
