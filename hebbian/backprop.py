"""The control: the whole model descends the criterion."""

from __future__ import annotations

from torch import Tensor, nn

from hebbian.rule import Criterion, Rule, check_criterion
from hebbian.rule_info import register_rule


@register_rule(
    name="backprop",
    family="control",
    source="Rumelhart, Hinton & Williams 1986",
    needs="any model",
    build=lambda make, c: make(c.model, c.loss, **c.settings),
)
class Backprop(Rule):
    """Backpropagation: every parameter descends the gradient of the loss.

    Equation::

        dw = -dL/dw

    The model must be differentiable from end to end.  It is not local: the error is propagated through the
    transposed forward weights of all later layers.
    """

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__(model)
        self.criterion = check_criterion(criterion)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion of ``model(x)`` and ``y``."""
        if y is None:
            raise ValueError("backprop needs targets: rule(x, y)")
        return self.criterion(self.model(x), y)
