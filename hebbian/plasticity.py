"""Two-factor rules, each as its paper has it: dw = mean(gate xᵀ) - decay w.

A plasticity takes the currents u (samples, out) and the weights w (out, in) and returns the
post-synaptic gate (samples, out) and the decay, a vector (out,) or a matrix (out, out).  It may define
``synapse(w)``, the weights that make the currents where these are not w itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Update = tuple[Tensor, Tensor]
Plasticity = Callable[[Tensor, Tensor], Update]


def frozen(u: Tensor, w: Tensor) -> Update:
    """No plasticity: random features, the control of every learned one.  dw = 0."""
    return torch.zeros_like(u), u.new_zeros(u.shape[1])


def hebb(u: Tensor, w: Tensor) -> Update:
    """Hebb 1949: dw = y xᵀ with y = u.  Grows without bound unless the weights are constrained."""
    return u, u.new_zeros(u.shape[1])


def oja(u: Tensor, w: Tensor) -> Update:
    """Oja 1982, eq. 3: dw = y (x - y w)ᵀ with y = u.

    Every unit converges to the first principal component, with norm 1: many units without
    competition learn the same feature.
    """
    return u, u.square().mean(0)


@dataclass(frozen=True)
class SoftHebb:
    """Moraitis 2022, eq. 6, with the anti-Hebbian losers of Journé 2023: dw = y (x - u w)ᵀ.

    y = softmax(u / temperature) over the units, with its sign turned for all but the strongest.
    Wants centred, scaled input.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the signed softmax and its decay."""
        y = torch.softmax(u / self.temperature, 1)
        wins = F.one_hot(u.argmax(1), u.shape[1]).bool()
        y = torch.where(wins, y, -y)
        return y, (y * u).mean(0)


@dataclass(frozen=True)
class Krotov:
    """Krotov & Hopfield 2019, eqs. 3, 9 and 10: dw = g (x - u w)ᵀ with u = sum sign(w) |w|^(p-1) x.

    g is 1 for the strongest unit, -delta for the k-th strongest, 0 for the others; where k is 1 there
    is no anti-Hebbian unit.  Converged units have p-norm 1.  The published step is divided by its
    largest entry (`trainers.callbacks.max_normalise`).
    """

    k: int = 2
    delta: float = 0.4
    p: float = 2.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        if self.p < 1:
            raise ValueError(f"p must be at least 1, got {self.p}")

    def synapse(self, w: Tensor) -> Tensor:
        """Return the weights that make the currents: w itself for p = 2."""
        return w if self.p == 2 else w.sign() * w.abs().pow(self.p - 1)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the gate by rank and its decay."""
        if self.k > u.shape[1]:
            raise ValueError(f"Krotov(k={self.k}) ranks {self.k} units, but the layer has {u.shape[1]}")
        rank = u.topk(self.k, 1).indices
        g = torch.zeros_like(u)
        if self.k > 1:
            g.scatter_(1, rank[:, -1:], -self.delta)
        g.scatter_(1, rank[:, :1], 1.0)
        return g, (g * u).mean(0)
