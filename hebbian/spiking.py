"""Spike-timing-dependent plasticity at Linear and ConvNd layers of any model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, check_criterion, full_precision, probabilities
from hebbian.rule_info import ANY_LAYERS, register_rule
from hebbian.synapse import Synaptic, correlate, current, surrogate
from hebbian.tapped import TappedRule


def traces(signals: Iterable[Tensor], tau: float, like: Tensor) -> Iterator[Tensor]:
    """Yield what remains of ``signals`` (N, ...) in the step after each of them, in the dtype of ``like``.

    A signal d steps ago counts exp(-d / tau).
    """
    decay, total = math.exp(-1 / tau), like.new_zeros(())
    for now in signals:
        total = (total + now).mul_(decay)
        yield total


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

    def __call__(self, pre: Tensor, like: Tensor) -> Iterator[tuple[int, float, Tensor]]:
        """Yield steps, sizes and traces: a postsynaptic spike in a step changes weights by size times trace.

        A step may occur twice: its changes add up.

        Parameters
        ----------
        pre
            Spikes (T, N, ...) of a layer's inputs, 0 or 1, one step a time bin.
        like
            A tensor with the dtype of the traces.
        """
        for step, trace in enumerate(traces(pre[:-1], self.tau_plus, like), 1):
            yield step, self.a_plus, trace
        if self.a_minus:
            for step, trace in enumerate(traces(pre[1:].flip(0), self.tau_minus, like), 2):
                yield len(pre) - step, -self.a_minus, trace


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

    Compiled by the default backend of ``torch.compile``, which has its own `torch.rand`, a seed gives other
    spikes of the same distribution; with ``options={"fallback_random": True}`` it gives those of the rule
    that is not compiled, except where rounding changes a draw.

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
        with torch.no_grad():
            pre = self.encode(x)
            rest = torch.zeros_like(out, memory_format=torch.contiguous_format)
            potentials = traces(arrive(layer, pre[:-1]), self.leak, rest)
            units = -1 if isinstance(layer, nn.Linear) else 1
            post = torch.stack([fire(p, units) for p in itertools.chain([rest], potentials)])
        ledger.append((layer, pre, post))
        return out.detach()

    def encode(self, x: Tensor) -> Tensor:
        """Return spikes (T, N, ...), 0 or 1, that encode the activity ``x`` (N, ...)."""
        x = x.relu()
        rate = x / x.flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (x.ndim - 1))
        return draw(self.peak * rate, self.steps)

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
            changes = self.stdp(pre, layer.weight.detach())
            change = learn(layer, changes, post, reward / (len(reward) * post[0, 0].numel()))
            objectives.append(surrogate(layer.weight, change))
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


def draw(rate: Tensor, steps: int) -> Tensor:
    """Return independent spikes (steps, ...), 0 or 1 as int8, with probability ``rate``."""
    # 15 bits are enough where the rate is rounded up or down at random, so that it is exact on average.
    uniform = torch.rand(rate.shape, dtype=rate.dtype, device=rate.device)
    below = ((2**15 * rate + uniform).floor() - 2**15).to(torch.int16)
    return (random_numbers(below, steps) < below).view(torch.int8)


@torch.library.custom_op("hebbian::random_numbers", mutates_args=())
def random_numbers(like: Tensor, steps: int) -> Tensor:
    """Return independent numbers (steps, *like.shape) from -2**15 to -1, int16, also in compiled graphs."""
    if like.device.type != "cpu":
        return torch.randint(-(2**15), 0, (steps, *like.shape), dtype=torch.int16, device=like.device)
    # In a tenth of the time: four numbers from each of NumPy's, with the seed from torch.
    size = steps * like.numel()
    bits = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(-(-size // 4))
    bits |= 0x8000800080008000
    return torch.from_numpy(bits.view(np.int16)[:size].reshape(steps, *like.shape))


@random_numbers.register_fake
def _(like: Tensor, steps: int) -> Tensor:
    return like.new_empty((steps, *like.shape), dtype=torch.int16)


def _on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def arrive(layer: Synaptic, pre: Tensor) -> Iterator[Tensor]:
    """Yield the currents (N, ...) that the spikes ``pre`` (T, N, ...) of each step, 0 or 1, cause."""
    if not isinstance(layer, nn.Linear) or not _on_cpu(layer.weight):
        yield from (current(layer, now.to(layer.weight), layer.weight) for now in pre)
        return
    # Few inputs fire, and adding their weights is faster than the product with all.
    weights = [w.T.contiguous() for w in layer.weight.split(_UNITS)]
    width = pre.shape[-1]
    for steps in pre.split(max(1, _VALUES // pre[0].numel())):
        firing = np.flatnonzero(steps.numpy().view(bool))
        starts = torch.from_numpy(np.searchsorted(firing, np.arange(0, steps.numel() + 1, width)))
        inputs = torch.from_numpy(firing - firing // width * width)
        sums = [F.embedding_bag(inputs, w, starts, mode="sum", include_last_offset=True) for w in weights]
        yield from torch.cat(sums, 1).view(*steps.shape[:-1], -1)


def fire(potential: Tensor, dim: int) -> Tensor:
    """Return the unit along ``dim`` that fires, sampled from the softmax of ``potential``.

    The inverse of the cumulative distribution takes one random number for each unit that fires.
    """
    cumulative = torch.softmax(potential.movedim(dim, -1).contiguous(), -1).cumsum_(-1)
    total = cumulative[..., -1:]
    drawn = total * torch.rand(total.shape, dtype=total.dtype, device=total.device)
    return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1).clamp_(max=potential.shape[dim] - 1)


def learn(
    layer: Synaptic, changes: Iterable[tuple[int, float, Tensor]], post: Tensor, factor: Tensor
) -> Tensor:
    """Return the sum over steps, samples and places of the changes, in the shape of the weight.

    Parameters
    ----------
    layer
        The layer that learns.
    changes
        What a postsynaptic spike changes, see `PairSTDP`.
    post
        The unit that fires in each step at each place (T, N, ...).
    factor
        Of each sample's change (N,).
    """
    total = torch.zeros_like(layer.weight)
    for step, size, trace in changes:
        change = (size * factor).view(-1, *[1] * (trace.ndim - 1)) * trace
        if isinstance(layer, nn.Linear):
            total.index_add_(0, post[step].flatten(), change.flatten(0, -2))
        else:
            spikes = F.one_hot(post[step], layer.out_channels).movedim(-1, 1).to(change.dtype)
            total += correlate(layer, change, spikes)
    return total


# How many units' weights are added at once, and for how many inputs: they fit into the cache.
_UNITS, _VALUES = 64, 2**20
