"""Spike-timing-dependent plasticity at Linear and ConvNd layers of any model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, check_criterion, full_precision, probabilities
from hebbian.rule_info import ANY_LAYERS, register_rule
from hebbian.synapse import Synaptic, correlate, current, surrogate
from hebbian.tapped import TappedRule


def trace(spikes: Tensor, tau: float) -> Tensor:
    """Return sum over earlier steps s < t of exp(-(t - s) / tau) spikes[s], for ``spikes`` (T, ...)."""
    decay = math.exp(-1 / tau)
    total = [torch.zeros_like(spikes[0])]
    for now in spikes[:-1]:
        total.append(torch.add(now, total[-1], alpha=decay))
    return torch.stack(total).mul_(decay)


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

    def __call__(self, pre: Tensor) -> Tensor:
        """Return how a postsynaptic spike in each step changes the weights from ``pre`` (T, N, ...).

        The spikes ``pre``, 0 or 1, are those of a layer's inputs, one step a time bin.
        """
        change = trace(pre, self.tau_plus).mul_(self.a_plus)
        if self.a_minus:
            change.sub_(trace(pre.flip(0), self.tau_minus).flip(0), alpha=self.a_minus)
        return change


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
        if not torch.compiler.is_compiling() and not x.isfinite().all():
            raise ValueError(
                f"layer {self.layers[layer]!r}: the input has NaN or infinity, expected activity"
            )
        samples = max(1, _VALUES // x[0].numel())
        with torch.no_grad():
            ledger.append((layer, [self.spikes(layer, part) for part in x.split(samples)]))
        return out.detach()

    def spikes(self, layer: Synaptic, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes of a layer's inputs and the unit of each place that fires, both (T, N, ...).

        Parameters
        ----------
        layer
            A layer.
        x
            Its input (N, ...).
        """
        pre = self.encode(x)
        return pre, fire(trace(arrive(layer, pre), self.leak), -1 if isinstance(layer, nn.Linear) else 2)

    def encode(self, x: Tensor) -> Tensor:
        """Return spikes (T, N, ...), True or False, that encode the activity ``x`` (N, ...)."""
        x = x.relu()
        rate = x / x.flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (x.ndim - 1))
        # As fine as a uniform float32, for half its time and a quarter of that of torch.bernoulli.
        drawn = torch.randint(2**24, (self.steps, *x.shape), dtype=torch.int32, device=x.device)
        return drawn < (2**24 * self.peak * rate).round().int()

    def reward(self, scores: Tensor, y: Tensor | None) -> Tensor:
        """Return the factor (N,) of each sample's change."""
        return scores.new_ones(len(scores))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, if there is one, the criterion."""
        scores, spikes = self.run(x)
        reward = self.reward(scores.detach(), y)
        objectives = []
        for layer, parts in spikes:
            rewards = reward.split([pre.shape[1] for pre, _ in parts])
            total = torch.zeros_like(layer.weight)
            for (pre, post), factor in zip(parts, rewards, strict=True):
                change = self.stdp(pre.to(total)).mul_(factor.view(-1, *[1] * (pre.ndim - 2)))
                total += learn(layer, change, post)
            objectives.append(surrogate(layer.weight, total / (len(reward) * post[0, 0].numel())))
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


def arrive(layer: Synaptic, pre: Tensor) -> Tensor:
    """Return the currents (T, N, ...) that the spikes ``pre`` (T, N, ...) cause in ``layer``."""
    dense = torch.compiler.is_compiling() or layer.weight.device.type != "cpu"
    if dense or not isinstance(layer, nn.Linear):
        return current(layer, pre.flatten(0, 1).to(layer.weight), layer.weight).unflatten(0, pre.shape[:2])
    # Few inputs fire, and adding their weights is faster than the product with all.
    spikes = pre.flatten(0, -2)
    offsets = F.pad(spikes.count_nonzero(1).cumsum(0), (1, 0))
    weights = layer.weight.T.contiguous()
    summed = F.embedding_bag(
        spikes.nonzero(as_tuple=True)[1], weights, offsets, mode="sum", include_last_offset=True
    )
    return summed.unflatten(0, pre.shape[:-1])


def fire(potential: Tensor, dim: int) -> Tensor:
    """Return the unit along ``dim`` that fires, sampled from the softmax of ``potential``.

    The inverse of the cumulative distribution takes one random number for each unit that fires.
    """
    cumulative = torch.softmax(potential.movedim(dim, -1).contiguous(), -1).cumsum_(-1)
    total = cumulative[..., -1:]
    drawn = total * (1 - torch.rand(total.shape, dtype=total.dtype, device=total.device))  # above 0
    return torch.searchsorted(cumulative, drawn).squeeze(-1).clamp(max=potential.shape[dim] - 1)


def learn(layer: Synaptic, change: Tensor, post: Tensor) -> Tensor:
    """Return the sum over steps, samples and places of the changes, in the shape of the weight.

    Parameters
    ----------
    layer
        The layer that learns.
    change
        What a postsynaptic spike in each step changes, (T, N, ...) in the shape of the layer's input.
    post
        The unit that fires in each step at each place (T, N, ...).
    """
    if isinstance(layer, nn.Linear):
        return torch.zeros_like(layer.weight).index_add_(0, post.flatten(), change.flatten(0, -2))
    spikes = F.one_hot(post, layer.out_channels).movedim(-1, 2).to(change.dtype)
    return correlate(layer, change.flatten(0, 1), spikes.flatten(0, 1))


_VALUES = 2**16  # of a layer's input that are simulated at once: their spikes fit into the cache
