"""Two-factor rules that remember: thresholds and inhibition that follow the activity of the units.

They are modules, made for a number of units.  What they remember changes once a call while they are in
training mode, after the call has used it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hebbian.plasticity import Update
from hebbian.synapse import Synaptic


class Adaptive(nn.Module):
    """A plasticity with memory, for a layer of ``units`` units."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def check(self, layer: Synaptic) -> None:
        """Refuse a layer of another size."""
        units = layer.weight.shape[0]
        if units != self.units:
            raise ValueError(f"{type(self).__name__} was made for {self.units} units, the layer has {units}")


class BCM(Adaptive):
    """Bienenstock, Cooper & Munro 1982: dw = y (y - theta) xᵀ with y = relu(u).

    theta, one for each unit, slides after the mean of y² (Intrator & Cooper 1992), by ``rate`` of the way
    at every call; where it slides too slowly for the learning rate the weights diverge.  A unit becomes
    selective: of K equally frequent independent patterns one drives it, with y = K.
    """

    theta: Tensor

    def __init__(self, units: int, rate: float = 0.1) -> None:
        super().__init__(units)
        if not 0 < rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], got {rate}")
        self.rate = rate
        self.register_buffer("theta", torch.ones(units))

    def forward(self, u: Tensor, w: Tensor) -> Update:
        """Return the gate, which changes its sign at the threshold, and no decay."""
        y = u.relu()
        gate = y * (y - self.theta)
        if self.training:
            self.theta.lerp_(y.square().mean(0), self.rate)
        return gate, u.new_zeros(u.shape[1])


class Foldiak(Adaptive):
    """Földiák 1990: dw = y (x - w)ᵀ among units that inhibit each other by anti-Hebbian weights v <= 0.

    The units settle by dy/dt = f(u + v y - t) - y with f(a) = 1 / (1 + exp(-10 a)) and fire, y = 1, where
    that ends above 1/2.  Then dv = -alpha (y yᵀ - p²), but never above 0 and no unit inhibits itself, and
    dt = gamma (y - p): each unit fires for a share p of the inputs, and no two for the same reason.

    Wants input that is not negative.  The inhibition acts in learning only, ``model(x)`` does without;
    `respond` gives the sparse code.
    """

    inhibition: Tensor
    threshold: Tensor

    def __init__(self, units: int, p: float = 0.125, alpha: float = 0.1, gamma: float = 0.02) -> None:
        super().__init__(units)
        if not 0 < p < 1:
            raise ValueError(f"p is the share of inputs for which a unit fires, in (0, 1), got {p}")
        self.p, self.alpha, self.gamma = p, alpha, gamma
        self.register_buffer("inhibition", torch.zeros(units, units))
        self.register_buffer("threshold", torch.zeros(units))

    def respond(self, u: Tensor) -> Tensor:
        """Return which units fire, 0 or 1, at currents (samples, units)."""
        y = torch.zeros_like(u)
        for _ in range(_STEPS):
            y = y.lerp(torch.sigmoid(10 * (u + y @ self.inhibition - self.threshold)), _STRIDE)
        return (y > 0.5).to(u)

    def forward(self, u: Tensor, w: Tensor) -> Update:
        """Return which units fire and how often each does."""
        y = self.respond(u)
        often = y.mean(0)
        if self.training:
            together = y.T @ y / len(y)
            self.inhibition.sub_(self.alpha * (together - self.p**2)).clamp_(max=0).fill_diagonal_(0)
            self.threshold.add_(self.gamma * (often - self.p))
        return y, often


_STEPS, _STRIDE = 40, 0.2  # eight time constants
