"""Online learning of recurrent cells: no error travels back through time or through forward weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hebbian.feedback import DirectFeedback


class LeakyRNN(nn.Module):
    """A leaky cell, (N, T, inputs) -> its last state (N, units).

    h_t = (1 - 1 / tau) h_{t-1} + tanh(W h_{t-1} + V x_t + b) / tau, from h_0 = 0 (Murray 2019).

    Parameters
    ----------
    inputs, units
        Values a step, and of the state.
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
        """Whether gradients pass from step to step by the leak alone; values are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the state after the last step."""
        h = x.new_zeros(len(x), self.recurrent.out_features)
        for drive in self.input(x).unbind(1):
            seen = h.detach() if self.online else h
            h = torch.lerp(h, torch.tanh(self.recurrent(seen) + drive), 1 / self.tau)
        return h


class RandomFeedbackOnline(DirectFeedback):
    """Random-feedback local online learning, RFLO (Murray 2019), of `LeakyRNN` blocks.

    dW_ij = -(B e)_i p_ij, with the eligibility p_ij <- (1 - 1 / tau) p_ij + f'(u_i) h_j / tau and the error
    e of the scores at the last step, sent back by fixed random weights B.  The trace is local: it leaves
    out how one unit's state acts on the next step's others.  Where nothing acts on others (one step, or no
    recurrent weights) and B is the transposed readout, this is backprop through time.

    The sum of error times eligibility is computed as the gradient of a graph in which states pass from
    step to step by the leak alone: the same numbers as traces carried forward, with memory for all steps.
    Blocks without a `LeakyRNN` learn by direct feedback alignment, which is this rule for one step.  Needs
    labels; there is no error before the last step, and none for cells of torch (`nn.RNN`, `nn.LSTM`) but
    backprop through time.

    Parameters
    ----------
    model
        A chain of blocks (`nn.Sequential`), the last of which is the readout.
    criterion
        Mean over the batch.
    example
        A batch (N, ...) of inputs, for the shapes only.
    generator
        Source of the feedback weights, which are N(0, 1 / K).
    """

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, for each hidden block, <h, B e> at fixed B e."""
        with _online(self.model):
            return super().forward(x, y)


@contextmanager
def _online(model: nn.Module) -> Iterator[None]:
    """Let gradients pass through the cells of ``model`` by the leak alone."""
    cells = [m for m in model.modules() if isinstance(m, LeakyRNN)]
    for cell in cells:
        cell.online = True
    try:
        yield
    finally:
        for cell in cells:
            cell.online = False
