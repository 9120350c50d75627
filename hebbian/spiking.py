"""Spike-timing-dependent plasticity at Linear and ConvNd layers of any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.rule import Criterion, TappedRule, full_precision, probabilities
from hebbian.synapse import Synaptic, correlate, current, rows, surrogate, synaptic


def trace(spikes: Tensor, tau: float) -> Tensor:
    """Return sum over earlier steps s < t of exp(-(t - s) / tau) spikes[s], for ``spikes`` (T, ...)."""
    t = torch.arange(len(spikes), device=spikes.device)
    since = (t[:, None] - t).to(spikes.dtype)
    return torch.tensordot(torch.where(since > 0, torch.exp(-since / tau), 0), spikes, 1)


@dataclass(frozen=True)
class PairSTDP:
    """Song, Miller & Abbott 2000: every pair of a spike before and a spike after a synapse changes it.

    A pair with the post-synaptic spike d > 0 steps later adds a_plus exp(-d / tau_plus), one with it d
    steps earlier takes a_minus exp(-d / tau_minus); a pair in the same step does nothing.
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


class SpikeTiming(TappedRule):
    """Pair STDP at chosen layers, without labels: spikes live inside the rule, the model stays as it is.

    Each layer's input is rate coded: an input fires in each of ``steps`` steps with a probability of its
    positive part divided by the sample's largest one, times ``peak``.  Behind the layer's weights, leaky
    membranes sum what arrived in earlier steps, and in each step one unit of a place fires, drawn from the
    softmax of the potentials (the winner-take-all circuit of Nessler 2013); units of different groups of a
    convolution compete as well, by their potentials alone.  The layer's ordinary output goes on, detached.
    Biases stay as they are.

    Parameters
    ----------
    model
        Any module.
    layers
        Paths of its Linear, Conv1d, Conv2d or Conv3d layers that learn so.
    criterion
        The loss by which the parameters that follow the last of these layers learn; without it
        nothing else learns and no targets are needed.
    stdp
        The window: by default the causal half of that of Song et al.  A sample's rates do not change while
        it is presented, so that the other half takes back the pattern that the causal one learns.  Without
        it weights only grow: bound them by a step hook, as `trainers.callbacks.unit_norm`.
    steps
        Length of a sample's presentation.
    peak
        Probability with which a sample's strongest input fires in a step.
    leak
        Time constant of the membranes, in steps.  The longer, the larger their potentials, and the fewer
        units ever fire.
    """

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
        super().__init__(model, [synaptic(model, path) for path in layers])
        self.criterion = criterion
        self.stdp = PairSTDP(a_minus=0.0) if stdp is None else stdp
        self.steps, self.peak, self.leak = steps, peak, leak

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Note the spikes before and after the layer; pass its output on, detached."""
        with torch.no_grad():
            pre = self.encode(x)
            arrived = current(layer, pre.flatten(0, 1), layer.weight).unflatten(0, pre.shape[:2])
            post = fire(trace(arrived, self.leak), -1 if isinstance(layer, nn.Linear) else 2)
        ledger.append((layer, pre, post))
        return out.detach()

    def encode(self, x: Tensor) -> Tensor:
        """Return the spikes (T, N, ...), 0 or 1, that stand for activity ``x`` (N, ...)."""
        x = x.relu()
        rate = x / x.flatten(1).amax(1).clamp(min=1e-12).view(-1, *[1] * (x.ndim - 1))
        return torch.bernoulli((self.peak * rate).expand(self.steps, *x.shape))

    def reward(self, scores: Tensor, y: Tensor | None) -> Tensor:
        """Return what each sample's change is multiplied by, (N,)."""
        return scores.new_ones(len(scores))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, where there is one, the criterion."""
        scores, noted = self.run(x)
        reward = self.reward(scores.detach(), y)
        objectives = []
        for layer, pre, post in noted:
            valued = post * reward.view(-1, *[1] * (post.ndim - 2))
            objectives.append(surrogate(layer.weight, self.stdp(layer, pre, valued)))
        if self.criterion is not None:
            if y is None:
                raise ValueError("this rule has a criterion and needs targets: rule(x, y)")
            objectives.append(self.criterion(scores, y))
        return torch.stack(objectives).sum()


class RewardSpikeTiming(SpikeTiming):
    """Reward-modulated STDP (Izhikevich 2007; Mozafari 2018): a third factor turns or scales the change.

    dW = mean((R - R̄) STDP), where R is 1 for a sample that the model gets right, else 0, and R̄ is the
    mean of R over the batch, as Mozafari scales reward and punishment.  The readout learns by the criterion.
    """

    def reward(self, scores: Tensor, y: Tensor | None) -> Tensor:
        """Return R - R̄ of each sample."""
        if y is None:
            raise ValueError("reward-modulated STDP needs targets: rule(x, y)")
        right = (probabilities(scores).argmax(1) == y.flatten()).to(scores.dtype)
        return right - right.mean()


def fire(potential: Tensor, dim: int) -> Tensor:
    """Return spikes like ``potential``: one unit along ``dim``, drawn from the softmax, fires."""
    gumbel = -torch.empty_like(potential).exponential_().log()
    winner = (potential + gumbel).argmax(dim)
    return F.one_hot(winner, potential.shape[dim]).movedim(-1, dim).to(potential.dtype)
