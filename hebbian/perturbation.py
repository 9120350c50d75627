"""Rules that try a random change and keep what helped: noise, eligibility and one number for all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, TappedRule, full_precision
from hebbian.synapse import correlate, surrogate, synaptic, weight_layers


def one_by_one(criterion: Criterion, scores: Tensor, y: Tensor) -> Tensor:
    """Return the loss of each sample (N,): the criterion of batches of one.

    A mean over the batch is undone exactly.  Class weights by which the mean is divided, as in torch's
    `CrossEntropyLoss`, cancel.
    """
    alone = torch.func.vmap(lambda s, t: criterion(s[None], t[None]))
    losses: Tensor = alone(scores, y)
    return losses


class WeightPerturbation(Rule):
    """Antithetic weight perturbation (Spall 1992; Salimans 2017): one number for the whole batch.

    dθ = -n (L(θ + sigma n) - L(θ - sigma n)) / (2 sigma), n ~ N(0, 1) for each parameter.  On average this is
    the gradient; one call misses it by sqrt(P + 1) of its length, with P parameters.  Both passes run in
    the rule's own mode, so running statistics advance twice a call.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    sigma
        Size of the perturbation.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float = 0.01) -> None:
        super().__init__(model)
        self.criterion, self.sigma = criterion, _positive(sigma)

    @torch.no_grad()
    def loss(self, noise: dict[str, Tensor], size: float, x: Tensor, y: Tensor) -> Tensor:
        """Return the criterion where the parameters are changed by ``size`` times ``noise``."""
        changed = {name: p + size * noise[name] for name, p in self._free()}
        return self.criterion(torch.func.functional_call(self.model, changed, (x,)), y)

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the slope of the loss along the noise, times <θ, n>."""
        if y is None:
            raise ValueError("weight perturbation needs targets: rule(x, y)")
        noise = {name: torch.randn_like(p) for name, p in self._free()}
        rise = self.loss(noise, self.sigma, x, y) - self.loss(noise, -self.sigma, x, y)
        slope = rise / (2 * self.sigma)
        moved = [torch.sum(p * noise[name]) for name, p in self._free()]
        return slope * torch.stack(moved).sum()

    def _free(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]


class _Exploring(TappedRule):
    """Noise at the output of every weight layer, which is noted with the layer, its input and output."""

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float) -> None:
        super().__init__(model, [synaptic(model, path) for path in weight_layers(model)])
        self.criterion, self.sigma = criterion, _positive(sigma)

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Pass a noisy output on, detached."""
        noise = self.sigma * torch.randn_like(out)
        ledger.append((layer, x.detach(), out, noise))
        return (out + noise).detach()


class NodePerturbation(_Exploring):
    """Williams 1992; Fiete & Seung 2006: a sample's noise is kept as far as it lowered the sample's loss.

    dW = -mean(n (L(u + n) - L(u)) xᵀ) / sigma², n ~ N(0, sigma²) at the currents u of all weight layers at
    once; biases alike.  On average, and for small sigma, this is the gradient.  The loss is taken for each
    sample alone, see `one_by_one`.  Two passes run in the rule's own mode, so running statistics advance
    twice a call; parameters of other layers than Linear and ConvNd do not learn.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    sigma
        Size of the noise.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float = 0.05) -> None:
        super().__init__(model, criterion, sigma)

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the mean over samples of the rise of the loss, times <n, u> / sigma²."""
        if y is None:
            raise ValueError("node perturbation needs targets: rule(x, y)")
        with torch.no_grad():
            quiet = one_by_one(self.criterion, self.model(x), y)
        scores, tried = self.run(x)
        rise = one_by_one(self.criterion, scores.detach(), y) - quiet
        kept = [torch.sum(out * _times(rise, noise)) for _, _, out, noise in tried]
        return torch.stack(kept).sum() / (self.sigma**2 * len(x))


class RewardModulatedHebb(_Exploring):
    """Three factors: input, post-synaptic fluctuation and reward (Williams 1992; Frémaux & Gerstner 2016).

    dW = mean((R - R̄) E), with the eligibility E <- trace E + n xᵀ / sigma², noise n ~ N(0, sigma²) at the
    currents of all weight layers, the reward R = -loss of each sample, and its running mean R̄.  Where R is 1
    and R̄ is 0 and there is no trace, this is the two-factor rule of x and n.  One pass, and no error but
    R - R̄: on average, and without trace, the gradient of the expected reward.  Biases stay as they are.

    Within a batch each sample's own n xᵀ meets its own reward.  The trace of earlier calls, in which samples
    are averaged, meets the batch's mean reward: a batch of one is one life, and a larger batch shares what
    it remembers.  A trace is for rewards that come late; independent samples want none.

    Parameters
    ----------
    model
        Any module.
    criterion
        Minus the reward, mean over the batch; taken for each sample alone, see `one_by_one`.
    sigma
        Size of the noise.
    trace
        Share of the eligibility that lasts until the next call.
    rate
        How fast R̄ follows R.
    """

    expected: Tensor

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        sigma: float = 0.3,
        trace: float = 0.0,
        rate: float = 0.1,
    ) -> None:
        if not 0 <= trace < 1:
            raise ValueError(f"trace must be at least 0 and below 1, got {trace}")
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be at least 0 and at most 1, got {rate}")
        super().__init__(model, criterion, sigma)
        self.trace, self.rate = trace, rate
        self.names: dict[nn.Module, str] = {}
        self.eligibility = nn.Module()
        for i, path in enumerate(weight_layers(model)):
            layer = synaptic(model, path)
            self.names[layer] = str(i)
            self.eligibility.register_buffer(str(i), torch.zeros_like(layer.weight))
        self.register_buffer("expected", layer.weight.new_zeros(()))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates, and remember eligibility and reward."""
        if y is None:
            raise ValueError("reward-modulated Hebb needs targets: rule(x, y)")
        scores, tried = self.run(x)
        reward = -one_by_one(self.criterion, scores.detach(), y)
        surprise = reward - self.expected
        self.expected.lerp_(reward.mean(), self.rate)
        scale = self.sigma**2 * len(x)
        objectives = []
        for layer, seen, _, noise in tried:
            change = correlate(layer, seen, _times(surprise, noise)) / scale
            if self.trace:
                e = self.eligibility.get_buffer(self.names[layer])
                change = change + self.trace * surprise.mean() * e
                e.mul_(self.trace).add_(correlate(layer, seen, noise) / scale)
            objectives.append(surrogate(layer.weight, change))
        return torch.stack(objectives).sum()


def _times(number: Tensor, noise: Tensor) -> Tensor:
    """Multiply each sample of ``noise`` (N, ...) by its ``number`` (N,)."""
    return number.view(-1, *[1] * (noise.ndim - 1)) * noise


def _positive(sigma: float) -> float:
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    return sigma
