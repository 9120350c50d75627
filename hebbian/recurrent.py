"""Online learning of recurrent cells: no error is propagated through time or through forward weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hebbian.feedback import DirectFeedback
from hebbian.rule import Criterion
from hebbian.rule_info import CHAIN, register_rule
from hebbian.tapped import refuse_recomputation


class LeakyRNN(nn.Module):
    """A leaky cell, (N, T, inputs) -> its last state (N, units).

    h_t = (1 - 1 / tau) h_{t-1} + tanh(W h_{t-1} + V x_t + b) / tau, from h_0 = 0 (Murray 2019).

    Parameters
    ----------
    inputs, units
        Number of inputs in a step, and of states.
    tau
        Time constant in steps, at least 1; 1 is Elman's cell.
    """

    def __init__(self, inputs: int, units: int, tau: float = 10.0) -> None:
        if tau < 1:
            raise ValueError(f"tau must be at least 1 step, got {tau}")
        super().__init__()
        self.input = nn.Linear(inputs, units)
        self.recurrent = nn.Linear(units, units, bias=False)
        self.tau = tau
        self.online = False
        """Whether gradients pass from step to step through the leak only; values are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the state after the last step."""
        if self.online:
            refuse_recomputation("a LeakyRNN")
        h = x.new_zeros(len(x), self.recurrent.out_features)
        for drive in self.input(x).unbind(1):
            previous = h.detach() if self.online else h
            h = h + (torch.tanh(self.recurrent(previous) + drive) - h) / self.tau
        return h


@register_rule(
    name="rflo",
    family="recurrent",
    source="Murray 2019",
    needs=f"{CHAIN} with a LeakyRNN",
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"recurrent"},
)
class RandomFeedbackOnline(DirectFeedback):
    """Random-feedback local online learning (RFLO) of `LeakyRNN` blocks.

    Equation::

        dW = -(B e) p; p <- (1 - 1/tau) p + f'(u) hᵀ / tau, B fixed and random, e = dL/dscores

    e is the error of the scores at the last step.  The eligibility p is local: it ignores the effect of one
    unit's state on other units in the next step.  Without such effects (one step, or no recurrent weights)
    and with the transposed readout as B, this is backprop through time.

    The sum of error times eligibility is computed as the gradient of a graph in which states pass from
    step to step through the leak only: the same numbers as with forward traces, with memory for all steps.
    Blocks without a `LeakyRNN` learn by direct feedback alignment, which is this rule for one step.  There
    is no error before the last step.

    Parameters
    ----------
    model
        A chain of blocks, the last of which is the readout; see `hebbian.chain.blocks`.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    generator
        For the feedback weights, as in `DirectFeedback`.

    Raises
    ------
    TypeError
        If the model has no `LeakyRNN`: cells of torch (`nn.RNN`, `nn.LSTM`) have another eligibility.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model, criterion, example, generator)
        if not any(isinstance(module, LeakyRNN) for module in model.modules()):
            raise TypeError(
                f"rflo needs a hebbian.LeakyRNN, and {type(model).__name__} has none; use one, or the rule dfa, "
                "which has the same random feedback, for a model without it"
            )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, B e> at fixed B e."""
        with _online(self.model):
            return super().forward(x, y)


@contextmanager
def _online(model: nn.Module) -> Iterator[None]:
    """Restrict gradients in the cells of ``model`` to the leak, if there are gradients."""
    cells = [m for m in model.modules() if isinstance(m, LeakyRNN)]
    for cell in cells:
        cell.online = torch.is_grad_enabled()
    try:
        yield
    finally:
        for cell in cells:
            cell.online = False
