"""Spike-timing-dependent plasticity at Linear and ConvNd layers of any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, check_criterion, full_precision, probabilities
from hebbian.rule_info import ANY_LAYERS, register_rule
from hebbian.synapse import Synaptic, correlate, current, rows, surrogate
from hebbian.tapped import TappedRule


def trace(spikes: Tensor, tau: float) -> Tensor:
    """Return sum over earlier steps s < t of exp(-(t - s) / tau) spikes[s], for ``spikes`` (T, ...)."""
    t = torch.arange(len(spikes), device=spikes.device)
    delay = (t[:, None] - t).to(spikes.dtype)
    return torch.tensordot(torch.where(delay > 0, torch.exp(-delay / tau), 0), spikes, 1)


@dataclass(frozen=True)
class PairSTDP:
    """Pair-based STDP (Song, Miller & Abbott 2000): every pair of a pre- and a postsynaptic spike counts.

    A pair with the postsynaptic spike d > 0 steps later adds a_plus exp(-d / tau_plus), one with it d
    steps earlier subtracts a_minus exp(-d / tau_minus); a pair in the same step has no effect.
    """

    a_plus: float = 0.005
    a_minus: float = 0.00525
    tau_plus: float = 20.0
    tau_minus: float = 20.0

    def __post_init__(self) -> None:
        if min(self.tau_plus, self.tau_minus) <= 0:
            raise ValueError(f"time constants must be positive, got {self.tau_plus} and {self.tau_minus}")

    def __call__(self, layer: Synaptic, pre: Tensor, post: Tensor) -> Tensor:
        """Return the change of the weight, summed over time, mean over samples and places.

        ``pre`` (T, N, ...) and ``post`` (T, N, ...) are spikes in the shapes of the layer's input and
        output, one step a time bin; the change is linear in each of them.
        """
        change = self.a_plus * correlate(layer, trace(pre, self.tau_plus).flatten(0, 1), post.flatten(0, 1))
        if self.a_minus:
            acausal = correlate(layer, pre.flatten(0, 1), trace(post, self.tau_minus).flatten(0, 1))
            change = change - self.a_minus * acausal
        return change / len(rows(post[0], layer))


@register_rule(
    name="stdp",
    family="spiking",
    source="Song, Miller & Abbott 2000; Nessler et al. 2013",
    needs=f"{ANY_LAYERS}; non-negative activity",
    build=lambda make, c: make(c.model, list(c.layers), c.criterion, **c.settings),
    traits={"local", "noisy"},
    supervised=False,
    at_layers=True,
)
class SpikeTiming(TappedRule):
    """Pair-based STDP at chosen layers, without labels: spikes exist in the rule, the model is unchanged.

    Equation::

        dW = sum a+ exp(-d / tau+), pre before post - sum a- exp(-d / tau-), post before pre

    Each layer's input is rate coded: an input fires in each of ``steps`` steps with a probability of its
    positive part divided by the sample's maximum, times ``peak``.  Leaky membranes after the layer's weights
    sum the input of earlier steps, and in each step one unit of a place fires, sampled from the softmax of
    the potentials (the winner-take-all circuit of Nessler 2013); units of different groups of a convolution
    compete as well.  The layer's ordinary output is passed on, detached.  Biases do not change.

    Parameters
    ----------
    model
        Any module.
    layers
        Paths of the Linear, Conv1d, Conv2d or Conv3d layers that learn.
    criterion
        The loss by which the parameters that are used after the last of these layers learn; without it
        nothing else learns and no targets are needed.
    stdp
        The window: by default the causal half of that of Song et al.  A sample's rates are constant during
        its presentation, so that the acausal half cancels what the causal half learns.  Without it weights
        only grow: bound them by a step hook such as `trainers.callbacks.unit_norm`.
    steps
        Length of a sample's presentation.
    peak
        Probability that a sample's strongest input fires in a step.
    leak
        Time constant of the membranes, in steps.  With a longer one potentials are larger and fewer units
        fire.
    """

    plastic = True

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        criterion: Criterion | None = None,
        stdp: PairSTDP | None = None,
        steps: int = 20,
        peak: float = 0.5,
        leak: float = 1.0,
    ) -> None:
        if steps < 2:
            raise ValueError(f"a pair of spikes needs at least 2 steps, got {steps}")
        if not 0 < peak <= 1:
            raise ValueError(f"peak must be above 0 and at most 1, got {peak}")
        super().__init__(model, layers)
        self.criterion = check_criterion(criterion)
        self.stdp = PairSTDP(a_minus=0.0) if stdp is None else stdp
        self.steps, self.peak, self.leak = steps, peak, leak

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Record the spikes before and after the layer; return its output, detached.

        Parameters
        ----------
        layer, x, out, ledger
            As in `TappedRule.at`.
        """
        with torch.no_grad():
            pre = self.encode(x)
            arrived = current(layer, pre.flatten(0, 1), layer.weight).unflatten(0, pre.shape[:2])
            post = fire(trace(arrived, self.leak), -1 if isinstance(layer, nn.Linear) else 2)
        ledger.append((layer, pre, post))
        return out.detach()

    def encode(self, x: Tensor) -> Tensor:
        """Return spikes (T, N, ...), 0 or 1, that encode the activity ``x`` (N, ...)."""
        x = x.relu()
        rate = x / x.flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (x.ndim - 1))
        return torch.bernoulli((self.peak * rate).contiguous().expand(self.steps, *x.shape))

    def reward(self, scores: Tensor, y: Tensor | None) -> Tensor:
        """Return the factor (N,) of each sample's change."""
        return scores.new_ones(len(scores))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, if there is one, the criterion."""
        scores, spikes = self.run(x)
        reward = self.reward(scores.detach(), y)
        objectives = []
        for layer, pre, post in spikes:
            rewarded = post * reward.view(-1, *[1] * (post.ndim - 2))
            objectives.append(surrogate(layer.weight, self.stdp(layer, pre, rewarded)))
        if self.criterion is not None:
            if y is None:
                raise ValueError("this rule has a criterion and needs targets: rule(x, y)")
            objectives.append(self.criterion(scores, y))
        return torch.stack(objectives).sum()


@register_rule(
    name="rstdp",
    family="spiking",
    source="Izhikevich 2007; Mozafari et al. 2018",
    needs=f"{ANY_LAYERS}; non-negative activity",
    build=lambda make, c: make(c.model, list(c.layers), c.criterion, **c.settings),
    traits={"noisy", "batch statistics"},
    at_layers=True,
)
class RewardSpikeTiming(SpikeTiming):
    """Reward-modulated STDP: a third factor scales the change and sets its sign.

    Equation::

        dW = mean((R - mean R) STDP); R = 1 where the model is right, else 0

    The mean of R is over the batch, as Mozafari scales reward and punishment.  The readout learns by the
    criterion.
    """

    def reward(self, scores: Tensor, y: Tensor | None) -> Tensor:
        """Return R - mean R of each sample."""
        if y is None:
            raise ValueError("reward-modulated STDP needs targets: rule(x, y)")
        if y.numel() != len(scores):
            raise ValueError(
                f"targets {tuple(y.shape)}; expected one class for each of {len(scores)} samples, (N,): for "
                "one-hot targets y.argmax(1)"
            )
        right = (probabilities(scores).argmax(1) == y.flatten()).to(scores.dtype)
        return right - right.mean()


def fire(potential: Tensor, dim: int) -> Tensor:
    """Return spikes like ``potential``: one unit along ``dim``, sampled from the softmax, fires."""
    gumbel = -torch.empty_like(potential, memory_format=torch.contiguous_format).exponential_().log()
    winner = (potential + gumbel).argmax(dim)
    return F.one_hot(winner, potential.shape[dim]).movedim(-1, dim).to(potential.dtype)
