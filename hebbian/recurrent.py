"""Recurrent cells, and their online learning: no error is propagated through time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebbian.direct import DirectFeedback
from hebbian.rule import Criterion
from hebbian.rule_info import CHAIN, register_rule
from hebbian.tapped import refuse_recomputation

State = tuple[Tensor, Tensor, Tensor]
"""Potential, activity that is sent to other units, and output of each unit, (N, units) each."""
Step = Callable[[State, Tensor], State]
STEPS = 100
"""Steps that are processed at once: the memory of a pass without gradients does not grow beyond them."""


class Cell(nn.Module):
    """A recurrent cell, (N, T, inputs) -> its output after the last step (N, units).

    ``input`` and the recurrent weights drive the potential u of a step, on which alone the activity depends.
    Inputs that are not floating-point numbers, such as spikes as booleans, are converted step by step.
    """

    input: nn.Linear
    memory: float
    """Factor by which the potential of one step enters that of the next."""
    leak: float
    """Factor by which the output of one step enters that of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.online: Callable[[Cell, Tensor], Tensor] | None = None
        """While a rule runs the model, how it runs the cell: the same values with other gradients."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output after the last step."""
        if self.online is not None:
            return self.online(self, x)
        state, step = self.rest(len(x)), self.stepper()
        for part in x.split(STEPS, 1):
            for drive in self.drive(part):
                state = step(state, drive)
        return state[2]

    def drive(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return what the inputs (N, T, inputs) add to the potential in each step."""
        return self.input(self.floating(x)).unbind(1)

    def floating(self, x: Tensor) -> Tensor:
        """Return ``x`` as floating-point numbers."""
        return x if x.is_floating_point() else x.to(self.input.weight.dtype)

    def rest(self, n: int) -> State:
        """Return the state of ``n`` samples before the first step."""
        zero = self.input.weight.new_zeros(n, self.input.out_features)
        return zero, zero, zero

    def stepper(self) -> Step:
        """Return the function (state, drive) -> state of one step with the present weights."""
        raise NotImplementedError

    def recurrent_weight(self) -> Tensor:
        """Return the weights (units, units) from the activity of one step to the potential of the next."""
        raise NotImplementedError

    def slope(self, potential: Tensor) -> Tensor:
        """Return the derivative of the output by the potential of the same step."""
        raise NotImplementedError


class LeakyRNN(Cell):
    """A leaky cell, (N, T, inputs) -> its last state (N, units).

    h_t = (1 - 1 / tau) h_{t-1} + tanh(W h_{t-1} + V x_t + b) / tau, from h_0 = 0 (Murray 2019).

    Parameters
    ----------
    inputs, units
        Number of inputs in a step, and of states.
    tau
        Time constant in steps, at least 1; 1 is Elman's cell.
    """

    memory = 0.0

    def __init__(self, inputs: int, units: int, tau: float = 10.0) -> None:
        if tau < 1:
            raise ValueError(f"tau must be at least 1 step, got {tau}")
        super().__init__()
        self.input = nn.Linear(inputs, units)
        self.recurrent = nn.Linear(units, units, bias=False)
        self.tau, self.leak = tau, 1 - 1 / tau

    def stepper(self) -> Step:
        """Return the function of one step, whose activity and output are h."""
        return self._step

    def _step(self, state: State, drive: Tensor) -> State:
        _, sent, h = state
        u = self.recurrent(sent) + drive
        h = h + (torch.tanh(u) - h) / self.tau
        return u, h, h

    def recurrent_weight(self) -> Tensor:
        """Return W."""
        return self.recurrent.weight

    def slope(self, potential: Tensor) -> Tensor:
        """Return dh/du."""
        return (1 - torch.tanh(potential) ** 2) / self.tau


class LIF(Cell):
    """A layer of leaky integrate-and-fire neurons, (N, T, inputs) -> its filtered spikes (N, units).

    v_t = a v_{t-1} + V x_t + W z_{t-1} - threshold z_{t-1}; z_t = 1 where v_t > threshold, else 0;
    o_t = k o_{t-1} + (1 - k) z_t, the output after the last step, with a = exp(-1 / tau) and
    k = exp(-1 / tau_out), from v_0 = z_0 = o_0 = 0 (Bellec et al. 2020, without refractory time).  The
    diagonal of W is not used: no neuron has a synapse to itself.

    The gradient of a spike is replaced by damping / threshold max(0, 1 - abs(v - threshold) / threshold); no
    gradient passes the reset.  With it the layer learns by backprop through time, and online by `EProp`.

    Parameters
    ----------
    inputs, units
        Number of inputs in a step, spikes or currents, and of neurons.
    tau, tau_out
        Time constants of membranes and of the output, in steps, above 0.
    threshold
        Potential above which a neuron fires, above 0.
    damping
        Largest derivative of a spike, times the threshold.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        tau: float = 20.0,
        tau_out: float = 20.0,
        threshold: float = 1.0,
        damping: float = 0.3,
    ) -> None:
        if min(tau, tau_out, threshold, damping) <= 0:
            raise ValueError(
                "tau, tau_out, threshold and damping must be positive, got "
                f"{tau}, {tau_out}, {threshold} and {damping}"
            )
        super().__init__()
        self.input = nn.Linear(inputs, units, bias=False)
        bound = units**-0.5
        self.recurrent = nn.Parameter(torch.empty(units, units).uniform_(-bound, bound).fill_diagonal_(0))
        self.memory, self.leak = math.exp(-1 / tau), math.exp(-1 / tau_out)
        self.threshold, self.damping = threshold, damping

    def stepper(self) -> Step:
        """Return the function of one step, whose activity are spikes."""
        return partial(self._step, self.recurrent_weight())

    def _step(self, w: Tensor, state: State, drive: Tensor) -> State:
        v, z, out = state
        v = self.memory * v + drive + F.linear(z, w) - self.threshold * z.detach()
        z = (v > self.threshold).to(v.dtype)
        if v.requires_grad:
            z = z + self.surrogate_slope(v.detach()) * (v - v.detach())
        return v, z, self.leak * out + (1 - self.leak) * z

    def recurrent_weight(self) -> Tensor:
        """Return W without its diagonal."""
        w = self.recurrent
        return w.masked_fill(torch.eye(len(w), dtype=torch.bool, device=w.device), 0.0)

    def slope(self, potential: Tensor) -> Tensor:
        """Return do/dv with the gradient that replaces that of a spike."""
        return (1 - self.leak) * self.surrogate_slope(potential)

    def surrogate_slope(self, v: Tensor) -> Tensor:
        """Return the gradient that replaces dz/dv."""
        distance = (v - self.threshold).abs() / self.threshold
        return self.damping / self.threshold * (1 - distance).relu()


class OnlineRule(DirectFeedback):
    """Direct feedback to the blocks of a chain, with a local eligibility of the weights of cells."""

    def inner_parameters(self) -> dict[nn.Parameter, str]:
        """Return the parameters to which backprop takes the error inside a block, which are not of cells."""
        cells = (module for module in self.model.modules() if isinstance(module, Cell))
        local = {p for cell in cells for p in cell.parameters()}
        return {p: where for p, where in super().inner_parameters().items() if p not in local}


@register_rule(
    name="rflo",
    family="recurrent",
    source="Murray 2019",
    needs=f"{CHAIN} with a LeakyRNN",
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"recurrent"},
)
class RandomFeedbackOnline(OnlineRule):
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
                f"rflo needs a hebbian.LeakyRNN, and {type(model).__name__} has none; use one, or the rule "
                "dfa, which has the same random feedback, for a model without it"
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
        cell.online = _through_leak if torch.is_grad_enabled() else None
    try:
        yield
    finally:
        for cell in cells:
            cell.online = None


def _through_leak(cell: Cell, x: Tensor) -> Tensor:
    """Return the output of a `LeakyRNN` whose gradients pass from step to step through the leak only."""
    refuse_recomputation("a LeakyRNN")
    state, step = cell.rest(len(x)), cell.stepper()
    for drive in cell.drive(x):
        potential, sent, out = state
        state = step((potential, sent.detach(), out), drive)
    return state[2]
