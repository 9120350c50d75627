"""The baseline: the whole model descends the criterion."""

from __future__ import annotations

from torch import Tensor, nn

from hebbian.rule import Criterion, Rule


class Backprop(Rule):
    """Rumelhart, Hinton & Williams 1986: every parameter follows the gradient of the loss.

    Needs labels and a model that can be differentiated from end to end.  It is not local: the error goes
    back through the transposed forward weights of all later layers.
    """

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__(model)
        self.criterion = criterion

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion of ``model(x)`` and ``y``."""
        if y is None:
            raise ValueError("backprop needs targets: rule(x, y)")
        return self.criterion(self.model(x), y)
