"""Networks whose scores come from the readout of a learning rule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eeg.models import registry
from hebbian.registry import build, find_rule
from hebbian.rule import Rule
from trainers.errors import DataError


class OwnReadout(nn.Module):
    """The scores of a rule's ``predict``, windows (N, C, T) -> (N, K).

    Mono-Forward sums over the projections of its blocks, Forward-Forward compares the goodness of each label,
    and Equilibrium Propagation reads its settled states.

    Raises
    ------
    DataError
        In a forward pass with gradients enabled, if the scores are not differentiable.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        scores = self.rule.predict(x)
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise DataError(
                f"the scores of {type(self.rule).__name__} are not differentiable; use "
                "--method occlusion or another method that needs no gradients"
            )
        return scores

    @property
    def last_convolution(self) -> nn.Module:
        """The layer that Grad-CAM uses, if the model of the rule names one."""
        return getattr(self.rule.model, "last_convolution")  # noqa: B009 (a module has any attribute)


def has_own_readout(rule: str) -> bool:
    """Return whether the rule ``rule`` has its own readout."""
    return "own readout" in find_rule(rule).traits


def count_scores(rule: str) -> int:
    """Return the number of scores per window under the rule ``rule``: one logit, or one per class."""
    return 1 if find_rule(rule).one_logit else 2


def build_network(model: str, readout: str | None, n_channels: int, n_times: int) -> nn.Module:
    """Return a new network for windows (N, C, T).

    Parameters
    ----------
    model
        As in `eeg.models.registry.build_model`.
    readout
        A rule with its own readout, in whose `OwnReadout` the network is wrapped; None for other rules.
    n_channels, n_times
        Shape of a window.

    Raises
    ------
    ValueError
        If there is no such model or rule, or the network does not fit the windows.
    """
    if readout is None:
        return registry.build_model(model, n_channels, n_times)
    classes = count_scores(readout)
    network = registry.build_model(model, n_channels, n_times, classes)
    example = torch.zeros(2, n_channels, n_times)
    return OwnReadout(build(readout, network, nn.BCEWithLogitsLoss(), example=example, classes=classes))
