"""Two-factor rules as published: dw = mean(gate xᵀ) - decay w.

See `hebbian.two_factor` for what a plasticity is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from hebbian.synapse import Synaptic
from hebbian.two_factor import Plasticity, Update, Winners, register_plasticity


@register_plasticity(name="frozen", source="control: random features")
def frozen(u: Tensor, w: Tensor) -> Update:
    """No plasticity: random features, the control for learned ones.

    Equation::

        dw = 0
    """
    return Winners(u.new_empty((len(u), 0), dtype=torch.long), ()), u.new_zeros(u.shape[1])


@register_plasticity(name="hebb", source="Hebb 1949")
def hebb(u: Tensor, w: Tensor) -> Update:
    """Hebb's rule; it grows without bound unless the weights are constrained.

    Equation::

        dw = y xᵀ, y = u
    """
    return u, u.new_zeros(u.shape[1])


@register_plasticity(name="covariance", source="Sejnowski 1977", traits={"batch statistics"})
def covariance(u: Tensor, w: Tensor) -> Update:
    """Covariance rule: Hebb's rule without the mean of the data, and as unbounded.

    Equation::

        dw = (y - <y>) (x - <x>)ᵀ, y = u; <> the batch mean

    A batch of one sample changes nothing.
    """
    return u - u.mean(0), u.new_zeros(u.shape[1])  # the gate has mean 0, so <x> drops out


@register_plasticity(name="oja", source="Oja 1982")
def oja(u: Tensor, w: Tensor) -> Update:
    """Oja's rule (eq. 3): every unit converges to the first principal component, with norm 1.

    Equation::

        dw = y (x - y w)ᵀ, y = u

    Many units without competition therefore learn the same feature.

    Examples
    --------
    >>> import torch
    >>> from hebbian import oja
    >>> gate, decay = oja(torch.tensor([[2.0], [4.0]]), torch.ones(1, 3))
    >>> decay
    tensor([10.])
    """
    return u, u.square().mean(0)


@register_plasticity(name="subspace", source="Oja 1989", traits={"no groups"})
@dataclass(frozen=True)
class Subspace:
    """Oja's subspace rule: all units reconstruct the input together.

    Equation::

        dw = y (x - Wᵀ y)ᵀ, y = u

    The rows become an orthonormal basis of the space of the first principal components, in no order.
    """

    def check(self, layer: Synaptic) -> None:
        """Refuse units with different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the currents, and the input that all units predict together."""
        return u, torch.linalg.multi_dot((u.T, u, w)) / len(u)


@register_plasticity(name="sanger", source="Sanger 1989", traits={"no groups"})
@register_plasticity(name="hpca", source="Lagani et al. 2021", traits={"no groups"}, activation=torch.relu)
@dataclass(frozen=True)
class Sanger:
    """Sanger's generalised Hebbian algorithm: unit i converges to principal component i, with norm 1.

    Equation::

        dw_i = y_i (x - sum_{k<=i} y_k w_k)ᵀ; y = u (sanger) or relu(u) (hpca)

    An ``activation`` other than the identity makes it the nonlinear Hebbian PCA of Lagani et al. 2021, which
    they use with relu at convolutions.
    """

    activation: Callable[[Tensor], Tensor] | None = None

    def check(self, layer: Synaptic) -> None:
        """Refuse units with different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the responses, and the input that each unit and those before it predict together."""
        y = u if self.activation is None else self.activation(u)
        predicted = torch.empty_like(w)
        for start in range(0, len(w), _UNITS):  # the upper triangle of the correlations is not computed
            stop = min(start + _UNITS, len(w))
            correlations = y[:, start:stop].T @ y[:, :stop]
            correlations[:, start:].tril_()
            predicted[start:stop] = correlations @ w[:stop]
        return y, predicted / len(y)


_UNITS = 128  # of a block, small beside a layer and large enough for fast products


def _refuse_groups(plasticity: Plasticity, layer: Synaptic) -> None:
    groups = getattr(layer, "groups", 1)
    if groups > 1:
        raise ValueError(
            f"{plasticity} compares the responses of units to the same input, but with groups={groups} they "
            "receive different channels; use one convolution for each group"
        )


@register_plasticity(name="instar", source="Grossberg 1976; MacQueen 1967", traits={"no groups"})
@dataclass(frozen=True)
class Instar:
    """Competitive learning; for k = 1 and steps of 1 / wins, the sequential k-means of MacQueen 1967.

    Equation::

        dw = y (x - w)ᵀ; y = 1 for the k units nearest to x, else 0

    For weights of equal norm the nearest units are those with the largest current.  A unit that is never
    among the nearest never learns.
    """

    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def check(self, layer: Synaptic) -> None:
        """Refuse fewer units than win, and units with different inputs."""
        _refuse_fewer_units(self, self.k, layer)
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the winners and how often each wins."""
        winners = Winners(_nearness(u, w).topk(self.k, 1).indices, (1.0,) * self.k)
        return winners, winners.sum(u.new_ones(winners.units.shape), u.shape[1]) / len(u)


@register_plasticity(name="soft-instar", source="Nowlan 1990", traits={"no groups"})
@dataclass(frozen=True)
class SoftInstar:
    """Soft competitive learning.

    Equation::

        dw = y (x - w)ᵀ; y = softmax(-|x - w|² / (2 temperature))

    y is the posterior of a mixture of equally likely Gaussians with means w and variance temperature, so
    the update ascends its likelihood.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        _require_positive(self.temperature)

    def check(self, layer: Synaptic) -> None:
        """Refuse units with different inputs."""
        _refuse_groups(self, layer)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return each unit's responsibility and its mean."""
        y = torch.softmax(_nearness(u, w) / self.temperature, 1)
        return y, y.mean(0)


def _nearness(u: Tensor, w: Tensor) -> Tensor:
    """Return -|x - w|² / 2 + |x|² / 2; the second term is the same for all units with the same x."""
    return u - w.square().sum(1) / 2


def _refuse_fewer_units(plasticity: Plasticity, k: int, layer: Synaptic) -> None:
    units = layer.weight.shape[0]
    if k > units:
        raise ValueError(f"{plasticity} ranks {k} units, but the layer has {units}")


def _require_positive(temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


@register_plasticity(name="softhebb", source="Moraitis et al. 2022; Journé et al. 2023")
@dataclass(frozen=True)
class SoftHebb:
    """SoftHebb (Moraitis 2022, eq. 6) with the anti-Hebbian losers of Journé 2023.

    Equation::

        dw = y (x - u w)ᵀ; y = softmax(u / temperature), negative for all but the strongest unit

    Needs centred, scaled input.  Units of different groups of a convolution compete as well, since the
    softmax compares currents only.  With ``rate_power`` each unit's update is multiplied by
    abs(norm(w) - 1)^rate_power; Journé 2023 use 0.5.
    """

    temperature: float = 1.0
    rate_power: float | None = None

    def __post_init__(self) -> None:
        _require_positive(self.temperature)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the signed softmax and its decay."""
        y = torch.softmax(u if self.temperature == 1 else u / self.temperature, 1)
        winner = u.argmax(1, keepdim=True)
        strongest = y.gather(1, winner)
        y = y.neg_().scatter_(1, winner, strongest)
        if self.rate_power is not None:
            y = y * (w.norm(dim=1) - 1).abs().pow(self.rate_power)
        return y, (y * u).mean(0)


@register_plasticity(name="krotov", source="Krotov & Hopfield 2019")
@dataclass(frozen=True)
class Krotov:
    """Competition with an anti-Hebbian runner-up (eqs. 3, 9 and 10).

    Equation::

        dw = g (x - u w)ᵀ; g = 1 for the strongest unit, -delta for the k-th; u = sum sign(w) |w|^(p-1) x

    With k = 1 there is no anti-Hebbian unit.  Converged units have p-norm 1.  Units of different groups of
    a convolution are ranked together, since only currents are compared.  The published step is divided
    by its largest entry (`trainers.callbacks.max_normalise`).
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
        """Return the weights that produce the currents: w itself for p = 2."""
        return w if self.p == 2 else w.sign() * w.abs().pow(self.p - 1)

    def __call__(self, u: Tensor, w: Tensor) -> Update:
        """Return the strongest and the k-th unit, and their decay."""
        currents, ranked = u.topk(self.k, 1)
        columns, gates = ([0, -1], (1.0, -self.delta)) if self.k > 1 else ([0], (1.0,))
        winners = Winners(ranked[:, columns], gates)
        return winners, winners.sum(currents[:, columns], u.shape[1]) / len(u)


class Adaptive(nn.Module):
    """A plasticity with state, for a layer of ``units`` units."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    @classmethod
    def for_layer(cls, layer: Synaptic, **settings: Any) -> Self:
        """Return the plasticity for the units of ``layer``."""
        return cls(layer.weight.shape[0], **settings)

    def check(self, layer: Synaptic) -> None:
        """Refuse a layer of another size."""
        units = layer.weight.shape[0]
        if units != self.units:
            raise ValueError(f"{type(self).__name__} is for {self.units} units, but the layer has {units}")


@register_plasticity(
    name="bcm",
    source="Bienenstock, Cooper & Munro 1982; Intrator & Cooper 1992",
    traits={"rewrites weights"},
)
class BCM(Adaptive):
    """BCM rule with a sliding threshold for each unit.

    Equation::

        dw = y (y - theta) xᵀ, y = relu(u); theta follows the mean of y²

    theta is an exponential moving average with weight ``rate`` for the current batch; if it follows too
    slowly for the learning rate, the weights diverge.  A unit becomes selective: it responds to one of K
    equally frequent independent patterns, with y = K.
    """

    theta: Tensor

    def __init__(self, units: int, rate: float = 0.1) -> None:
        super().__init__(units)
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be in (0, 1], got {rate}")
        self.rate = rate
        self.register_buffer("theta", torch.ones(units))

    def forward(self, u: Tensor, w: Tensor) -> Update:
        """Return the gate, which changes sign at the threshold, and no decay."""
        y = u.relu()
        gate = y * (y - self.theta)
        if self.training:
            self.theta.lerp_(y.square().mean(0), self.rate)
        return gate, u.new_zeros(u.shape[1])


@register_plasticity(
    name="foldiak",
    source="Földiák 1990",
    traits={"rewrites weights"},
    needs="non-negative inputs",
)
class Foldiak(Adaptive):
    """Sparse coding by units that inhibit each other through anti-Hebbian weights v.

    Equation::

        dw = y (x - w)ᵀ; y fires at u + v y > t; dv = -alpha (y yᵀ - p²), v <= 0; dt = gamma (y - p)

    The units settle by dy/dt = f(u + v y - t) - y with f(a) = 1 / (1 + exp(-10 a)) and fire, y = 1, if the
    result is above 1/2.  No unit inhibits itself.  Each unit comes to fire for a fraction p of the inputs,
    decorrelated from the others.

    The inhibition acts in learning only and not in ``model(x)``; `respond` returns the sparse code.

    Parameters
    ----------
    units
        Number of units of the layer.
    p
        Fraction of inputs for which a unit fires.
    alpha, gamma
        Rates of the inhibition and of the thresholds.
    """

    inhibition: Tensor
    threshold: Tensor

    def __init__(self, units: int, p: float = 0.125, alpha: float = 0.1, gamma: float = 0.02) -> None:
        super().__init__(units)
        if not 0 < p < 1:
            raise ValueError(f"p, the fraction of inputs for which a unit fires, must be in (0, 1), got {p}")
        self.p, self.alpha, self.gamma = p, alpha, gamma
        self.register_buffer("inhibition", torch.zeros(units, units))
        self.register_buffer("threshold", torch.zeros(units))

    def respond(self, u: Tensor) -> Tensor:
        """Return which units fire, 0 or 1, at currents (samples, units)."""
        drive, inhibition = 10 * (u - self.threshold), 10 * self.inhibition
        y = _STRIDE * torch.sigmoid(drive)  # the first step, from y = 0
        for _ in range(_STEPS - 1):
            y.lerp_(torch.addmm(drive, y, inhibition).sigmoid_(), _STRIDE)
        return (y > 0.5).to(u)

    def forward(self, u: Tensor, w: Tensor) -> Update:
        """Return which units fire, and the firing rate of each."""
        y = self.respond(u)
        often = y.mean(0)
        if self.training:
            together = y.T @ y / len(y)
            self.inhibition.sub_(self.alpha * (together - self.p**2)).clamp_(max=0).fill_diagonal_(0)
            self.threshold.add_(self.gamma * (often - self.p))
        return y, often


_STEPS, _STRIDE = 40, 0.2  # eight time constants
