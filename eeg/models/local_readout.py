"""Rules that read out by themselves as networks, so that a detector can hold, judge and explain them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eeg.models import registry
from hebbian.registry import build, find
from hebbian.rule import Rule
from trainers.errors import DataError


class OwnReadout(nn.Module):
    """What a rule's ``predict`` says of windows, (N, C, T) -> scores (N, K).

    Mono-Forward's sums over its blocks' own projections, Forward-Forward's goodness of each label, the states
    that Equilibrium Propagation settles in.

    Raises
    ------
    DataError
        In use, where a gradient is wanted and none leads from the scores to the windows.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        scores = self.rule.predict(x)
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise DataError(
                f"no gradient leads through the scores of {type(self.rule).__name__}; explain it by "
                "occlusion, ablation, region-ablation, shapley or channel-shapley"
            )
        return scores

    @property
    def last_convolution(self) -> nn.Module:
        """Where Grad-CAM looks, if the rule's model says so."""
        return getattr(self.rule.model, "last_convolution")  # noqa: B009 (a module has any attribute)


def has_own_readout(rule: str) -> bool:
    """Tell whether the rule called ``rule`` reads out by itself."""
    return "own readout" in find(rule).traits


def count_scores(rule: str) -> int:
    """Return how many scores a window gets from the rule called ``rule``: one logit, or one a class."""
    return 1 if find(rule).one_logit else 2


def build_network(model: str, readout: str | None, n_channels: int, n_times: int) -> nn.Module:
    """Return a new network to judge windows (N, C, T), in an `OwnReadout` of the rule ``readout`` if named.

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
