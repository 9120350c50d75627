"""Two-factor rules, each as its paper has it: dw = mean(gate xᵀ) - decay w.

A plasticity takes the currents u (samples, out) and the weights w (out, in) and returns the
post-synaptic gate (samples, out) and the decay, a vector (out,) or a matrix (out, out).  It may define

- ``synapse(w)``, the weights that make the currents where these are not w itself;
- ``check(layer)``, which raises `ValueError` where the rule cannot act at that layer.

Those that remember something from batch to batch are modules: see `hebbian.plasticity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.synapse import Synaptic

Update = tuple[Tensor, Tensor]
Plasticity = Callable[[Tensor, Tensor], Update]


def frozen(u: Tensor, w: Tensor) -> Update:
    """No plasticity: random features, the control of every learned one.  dw = 0."""
    return torch.zeros_like(u), u.new_zeros(u.shape[1])


def hebb(u: Tensor, w: Tensor) -> Update:
    """Hebb 1949: dw = y xᵀ with y = u.  Grows without bound unless the weights are constrained."""
    return u, u.new_zeros(u.shape[1])


def covariance(u: Tensor, w: Tensor) -> Update:
    """Sejnowski 1977: dw = (y - <y>) (x - <x>)ᵀ with y = u, and <> the mean over the batch.

    Hebb without the mean of the data, and as unbounded; one sample alone teaches nothing.
    """
    return u - u.mean(0), u.new_zeros(u.shape[1])  # the gate has mean 0, so <x> drops out


def oja(u: Tensor, w: Tensor) -> Update:
    """Oja 1982, eq. 3: dw = y (x - y w)ᵀ with y = u.

    Every unit converges to the first principal component, with norm 1: many units without
    competition learn the same feature.
    """
    return u, u.square().mean(0)


@dataclass(frozen=True)
class Subspace:
    """Oja 1989: dw = y (x - Wᵀ y)ᵀ with y = u, where all units share in rebuilding the input.

    The rows become an orthonormal basis of the space of the first principal components, in no order.
    """

    def check(self, layer: Synaptic) -> None:
        """Refuse units that see different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the currents and how they go together."""
        return u, u.T @ u / len(u)


@dataclass(frozen=True)
class Sanger:
    """Sanger 1989 (GHA): dw_i = y_i (x - sum_{k <= i} y_k w_k)ᵀ with y = u.

    Unit i converges to principal component i, with norm 1.  An ``activation``, y = f(u), makes it the
    nonlinear Hebbian PCA of Lagani et al. 2021, which they use with relu at convolutions.
    """

    activation: Callable[[Tensor], Tensor] | None = None

    def check(self, layer: Synaptic) -> None:
        """Refuse units that see different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the responses and how each goes together with itself and those before it."""
        y = u if self.activation is None else self.activation(u)
        return y, (y.T @ y / len(y)).tril()


def _refuse_groups(plasticity: Plasticity, layer: Synaptic) -> None:
    groups = getattr(layer, "groups", 1)
    if groups > 1:
        raise ValueError(
            f"{plasticity} compares what its units make of the same input, but with groups={groups} they see "
            "different channels; use one convolution a group"
        )


@dataclass(frozen=True)
class Instar:
    """Competitive learning: dw = y (x - w)ᵀ with y = 1 for the k units nearest to the input, else 0.

    Grossberg 1976; for k = 1 each unit's weights follow the mean of the inputs that it wins, which is the
    k-means of MacQueen 1967.  For weights of equal norm the nearest units are those of largest current.
    A unit that is never among the nearest never learns.
    """

    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def check(self, layer: Synaptic) -> None:
        """Refuse fewer units than win, and units that see different inputs."""
        _refuse_fewer_units(self, self.k, layer)
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the winners and how often each wins."""
        y = torch.zeros_like(u).scatter_(1, _nearness(u, w).topk(self.k, 1).indices, 1.0)
        return y, y.mean(0)


@dataclass(frozen=True)
class SoftInstar:
    """Soft competitive learning, Nowlan 1990: dw = y (x - w)ᵀ with y = softmax(-|x - w|² / 2 temperature).

    y is the posterior of a mixture of equally likely Gaussians with means w and variance temperature, so
    the update climbs its likelihood.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _refuse_frost(self.temperature)

    def check(self, layer: Synaptic) -> None:
        """Refuse units that see different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return each unit's responsibility and its mean."""
        y = torch.softmax(_nearness(u, w) / self.temperature, 1)
        return y, y.mean(0)


def _nearness(u: Tensor, w: Tensor) -> Tensor:
    """Return -|x - w|² / 2 up to |x|² / 2, which all units share as long as they see the same x."""
    return u - w.square().sum(1) / 2


def _refuse_fewer_units(plasticity: Plasticity, k: int, layer: Synaptic) -> None:
    units = layer.weight.shape[0]
    if k > units:
        raise ValueError(f"{plasticity} ranks {k} units, but the layer has {units}")


def _refuse_frost(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


@dataclass(frozen=True)
class SoftHebb:
    """Moraitis 2022, eq. 6, with the anti-Hebbian losers of Journé 2023: dw = y (x - u w)ᵀ.

    y = softmax(u / temperature) over the units, with its sign turned for all but the strongest.
    Wants centred, scaled input.  Units of different groups of a convolution compete as well, for the softmax
    compares currents, whatever each comes from.  With ``rate_power`` each unit's update is multiplied by
    abs(norm(w) - 1)^rate_power: Journé 2023 have 0.5.
    """

    temperature: float = 1.0
    rate_power: float | None = None

    def __post_init__(self) -> None:
        _refuse_frost(self.temperature)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the signed softmax and its decay."""
        y = torch.softmax(u / self.temperature, 1)
        wins = F.one_hot(u.argmax(1), u.shape[1]).bool()
        y = torch.where(wins, y, -y)
        if self.rate_power is not None:
            y = y * (w.norm(dim=1) - 1).abs().pow(self.rate_power)
        return y, (y * u).mean(0)


@dataclass(frozen=True)
class Krotov:
    """Krotov & Hopfield 2019, eqs. 3, 9 and 10: dw = g (x - u w)ᵀ with u = sum sign(w) |w|^(p-1) x.

    g is 1 for the strongest unit, -delta for the k-th strongest, 0 for the others; where k is 1 there
    is no anti-Hebbian unit.  Converged units have p-norm 1.  Units of different groups of a convolution are
    ranked together, as currents are all that is compared.  The published step is divided by its
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

    def check(self, layer: Synaptic) -> None:
        """Refuse fewer units than are ranked."""
        _refuse_fewer_units(self, self.k, layer)

    def synapse(self, w: Tensor) -> Tensor:
        """Return the weights that make the currents: w itself for p = 2."""
        return w if self.p == 2 else w.sign() * w.abs().pow(self.p - 1)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the gate by rank and its decay."""
        rank = u.topk(self.k, 1).indices
        g = torch.zeros_like(u)
        if self.k > 1:
            g.scatter_(1, rank[:, -1:], -self.delta)
        g.scatter_(1, rank[:, :1], 1.0)
        return g, (g * u).mean(0)


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
