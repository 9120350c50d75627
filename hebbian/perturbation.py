"""Rules that follow random perturbations which lower the loss: noise, eligibility and a global reward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, check_classes, check_criterion, check_tensor, full_precision
from hebbian.rule_info import ANY_LAYERS, register_rule
from hebbian.synapse import correlate, drawn_again, randn_like, rows, surrogate
from hebbian.tapped import TappedRule


def sample_losses(criterion: Criterion, scores: Tensor, y: Tensor) -> Tensor:
    """Return the loss of each sample (N,): the criterion of batches of one.

    Class weights by which the mean is divided, as in torch's `CrossEntropyLoss`, cancel.

    Raises
    ------
    ValueError
        If a label (N,) is not a class: the criterion of an ignored sample alone is 0 / 0.
    """
    check_tensor("the model", scores)
    if y.ndim == 1 and not y.is_floating_point():
        check_classes(y, scores.shape[1], len(scores))
    each = torch.func.vmap(lambda s, t: criterion(s[None], t[None]))
    losses: Tensor = each(scores, y)
    return losses


@register_rule(
    name="weight-perturbation",
    family="perturbation",
    source="Spall 1992; Salimans et al. 2017",
    needs="any model with few parameters, as its error grows with their square root",
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy"},
)
class WeightPerturbation(Rule):
    """Antithetic weight perturbation: one number for the whole batch.

    Equation::

        dθ = -n (L(θ + sigma n) - L(θ - sigma n)) / (2 sigma), n ~ N(0, 1)

    On average this is the gradient; the relative error of one call is sqrt(P + 1), with P parameters.  Both
    passes run in the mode of the rule, so running statistics are updated twice a call; they have the same
    dropout masks, except in a compiled graph.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    sigma
        Standard deviation of the perturbation.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float = 0.01) -> None:
        super().__init__(model)
        self.criterion, self.sigma = check_criterion(criterion), _positive(sigma)

    @torch.no_grad()
    def loss(self, noise: dict[str, Tensor], size: float, x: Tensor, y: Tensor) -> Tensor:
        """Return the criterion with ``size`` times ``noise`` added to the parameters.

        Parameters
        ----------
        noise
            A tensor for each parameter, by name.
        size
            Factor of the noise.
        x, y
            A batch (N, ...) and its targets.
        """
        changed = {name: torch.add(p, noise[name], alpha=size) for name, p in self._free()}
        return self.criterion(torch.func.functional_call(self.model, changed, (x,)), y)

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the slope of the loss along the noise, times <θ, n>."""
        if y is None:
            raise ValueError("weight perturbation needs targets: rule(x, y)")
        noise = {name: randn_like(p) for name, p in self._free()}
        with drawn_again(x):
            high = self.loss(noise, self.sigma, x, y)
        rise = high - self.loss(noise, -self.sigma, x, y)
        slope = rise / (2 * self.sigma)
        along = [torch.dot(p.flatten(), noise[name].flatten()) for name, p in self._free()]
        return slope * torch.stack(along).sum()

    def _free(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]


class _Exploring(TappedRule):
    """Noise at the output of every weight layer, recorded with the layer and its input."""

    cuts_error = False

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float) -> None:
        super().__init__(model)
        self.criterion, self.sigma = check_criterion(criterion), _positive(sigma)
        self._silent = False

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Return a noisy output, detached; in a silent pass noise is drawn and not added.

        Parameters
        ----------
        layer, x, out, ledger
            As in `TappedRule.at`.
        """
        noise = randn_like(out).mul_(self.sigma)
        if self._silent:
            return out.detach()
        ledger.append((layer, x.detach().clone(), noise))
        return (out + noise).detach()


@register_rule(
    name="node-perturbation",
    family="perturbation",
    source="Williams 1992; Fiete & Seung 2006",
    needs=f"{ANY_LAYERS}; criterion a mean over samples",
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy"},
)
class NodePerturbation(_Exploring):
    """Node perturbation: a sample's noise is weighted by its effect on the sample's loss.

    Equation::

        dW = -n (L(u + n) - L(u)) xᵀ / sigma², n ~ N(0, sigma²) at the currents u

    The noise is at all weight layers simultaneously; biases learn likewise.  On average, and for small
    sigma, this is the gradient.  The loss is computed for each sample, see `sample_losses`.  Two passes run
    in the mode of the rule, so running statistics are updated twice a call; they have the same dropout masks,
    except in a compiled graph.  Parameters of other layers than Linear and ConvNd do not learn.

    With BatchNorm in train mode the average is not the gradient: a sample's noise changes the statistics, and
    thereby the losses of other samples, which do not count for it.  Set such layers to eval mode, or use
    GroupNorm.

    Parameters
    ----------
    model
        Any module.
    criterion
        Mean over the batch.
    sigma
        Standard deviation of the noise.
    """

    def __init__(self, model: nn.Module, criterion: Criterion, sigma: float = 0.05) -> None:
        super().__init__(model, criterion, sigma)

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates."""
        if y is None:
            raise ValueError("node perturbation needs targets: rule(x, y)")
        quiet = sample_losses(self.criterion, self._without_noise(x), y)
        scores, records = self.run(x)
        rise = sample_losses(self.criterion, scores.detach(), y) - quiet
        objectives = []
        for layer, pre, noise in records:
            fall = _times(-rise / (self.sigma**2 * len(x)), noise)
            objectives.append(surrogate(layer.weight, correlate(layer, pre, fall)))
            if layer.bias is not None:
                objectives.append(surrogate(layer.bias, rows(fall, layer).sum(0)))
        return torch.stack(objectives).sum()

    @torch.no_grad()
    def _without_noise(self, x: Tensor) -> Tensor:
        """Return the scores without noise, with the dropout masks that the pass with noise will draw."""
        if torch.compiler.is_compiling():
            scores: Tensor = self.model(x)
            return scores
        self._silent = True
        try:
            with drawn_again(x):
                return self.run(x)[0]
        finally:
            self._silent = False


@register_rule(
    name="three-factor",
    family="perturbation",
    source="Williams 1992; Frémaux & Gerstner 2016",
    needs=f"{ANY_LAYERS}; criterion a mean over samples, such as minus the reward",
    build=lambda make, c: make(c.model, c.loss, **c.settings),
    traits={"noisy", "rewrites weights"},
)
class RewardModulatedHebb(_Exploring):
    """Reward-modulated Hebbian learning with three factors: input, postsynaptic noise and reward.

    Equation::

        dW = (R - mean R) E; E <- trace E + n xᵀ / sigma², n ~ N(0, sigma²) at the currents

    R is minus the loss of each sample, and its mean is a running one.  With R = 1, mean 0 and no trace, this
    is the two-factor rule of x and n.  There is one pass: on average, and without trace, the update is the
    gradient of the expected reward.  Biases do not change.

    Each sample's n xᵀ is multiplied by its own reward.  The trace of earlier calls, averaged over samples, is
    multiplied by the batch's mean reward, so that only with batches of one sample it is exact.  A trace is
    for delayed rewards; use none with independent samples.

    Parameters
    ----------
    model
        Any module.
    criterion
        Minus the reward, mean over the batch; computed for each sample, see `sample_losses`.
    sigma
        Standard deviation of the noise.
    trace
        Fraction of the eligibility that remains in the next call.
    rate
        Weight of the current batch in the running mean of R.
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
        self.names: dict[Any, str] = {layer: str(i) for i, layer in enumerate(self.layers)}
        self.eligibility = nn.Module()
        for layer, name in self.names.items():
            self.eligibility.register_buffer(name, torch.zeros_like(layer.weight))
        self.register_buffer("expected", layer.weight.new_zeros(()))

    @full_precision
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates; update eligibility and mean reward."""
        if y is None:
            raise ValueError("reward-modulated Hebb needs targets: rule(x, y)")
        scores, records = self.run(x)
        reward = -sample_losses(self.criterion, scores.detach(), y)
        surprise = reward - self.expected
        self.expected.lerp_(reward.mean(), self.rate)
        scale = self.sigma**2 * len(x)
        objectives = []
        for layer, pre, noise in records:
            change = correlate(layer, pre, _times(surprise / scale, noise))
            if self.trace:
                e = self.eligibility.get_buffer(self.names[layer])
                change = change + self.trace * surprise.mean() * e
                e.mul_(self.trace).add_(correlate(layer, pre, noise) / scale)
            objectives.append(surrogate(layer.weight, change))
        return torch.stack(objectives).sum()


def _times(number: Tensor, noise: Tensor) -> Tensor:
    """Multiply each sample of ``noise`` (N, ...) by its ``number`` (N,)."""
    return number.view(-1, *[1] * (noise.ndim - 1)) * noise


def _positive(sigma: float) -> float:
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    return sigma
