"""Online learning of recurrent cells by eligibility traces that are computed forward in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hebbian.recurrent import STEPS, Cell, OnlineRule
from hebbian.rule import Criterion
from hebbian.rule_info import CHAIN, register_rule
from hebbian.tapped import refuse_recomputation


@register_rule(
    name="eprop",
    family="recurrent",
    source="Bellec et al. 2020",
    needs=f"{CHAIN} with one LIF or LeakyRNN, once",
    build=lambda make, c: make(c.model, c.loss, c.example, **c.settings),
    traits={"recurrent"},
)
class EProp(OnlineRule):
    """E-prop (eq. 1): the learning signal of a unit times the eligibility of each of its synapses.

    Equation::

        dW_ji = -L_j e_ji, L = B dL/dscores; in each step e_ji <- k e_ji + s_j q_i, q_i <- a q_i + x_i

    x are the inputs of the cell and the activity of its units one step earlier.  Of a `LIF`, a and k are the
    decays of membrane and output, and s = (1 - k) psi(v) with the derivative psi that replaces that of a
    spike; of a `LeakyRNN`, a = 0, k = 1 - 1/tau and s = tanh'(u) / tau.  The eligibility e_ji is local: it is
    the derivative of a unit's output by its weights at fixed activity of all units in earlier steps.
    Without recurrent weights and with symmetric feedback this is backprop through time; of a `LeakyRNN` with
    random feedback it is RFLO.

    Traces are computed forward in time, without a graph: the memory does not depend on the number of steps.
    It is that of one trace for each sample and synapse.  The error is that of the scores after the last step
    of a call.  ``stateful`` carries states and traces to the next call, so that a long recording is given in
    pieces, with an error at the end of each (of one step each for an error at every step): their updates add
    up to that of the whole.  A piece without a target is one whose objective is not descended.

    Blocks after the cell learn by direct random feedback, or with symmetric feedback by the criterion.

    Parameters
    ----------
    model
        A chain of blocks, the last of which is the readout; see `hebbian.chain.blocks`.  One of its modules
        is a `LIF` or a `LeakyRNN`, which is called once.
    criterion
        Mean over the batch.
    example
        A batch (N, T, ...) of inputs, for the shapes only.
    feedback
        ``random``: B is fixed, N(0, 1 / units); ``symmetric``: the transposed weights after the cell.
    stateful
        Whether states and traces are carried from call to call, until `reset`.  All calls then have the N
        sequences of ``example``.  `predict` begins at rest.  In a distributed run each rank has its own.
    generator
        For random feedback.

    Raises
    ------
    TypeError
        If the model has not one cell; when called, if the cell is not called once, or what precedes it
        learns and only backprop through time could teach it.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        example: Tensor,
        feedback: Literal["random", "symmetric"] = "random",
        stateful: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if feedback not in ("random", "symmetric"):
            raise ValueError(f"feedback must be 'random' or 'symmetric', got {feedback!r}")
        if generator is not None and feedback == "symmetric":
            raise ValueError("a generator is for random feedback only, and the feedback is 'symmetric'")
        super().__init__(model, criterion, example, generator)
        self._cells = [module for module in model.modules() if isinstance(module, Cell)]
        if len(self._cells) != 1:
            raise TypeError(
                f"eprop needs one hebbian.LIF or hebbian.LeakyRNN, and {type(model).__name__} has "
                f"{len(self._cells) or 'none'}; use one, or the rule dfa for a model without it"
            )
        self.symmetric, self.stateful = feedback == "symmetric", stateful
        if self.symmetric:
            self.feedback = nn.Module()
        self.carried = nn.Module()
        if stateful:
            for name, value in zip(_CARRIED, _at_rest(self._cells[0], len(example)), strict=True):
                self.carried.register_buffer(name, value.clone())
            # Of which DistributedDataParallel would copy those of the first rank to all others.
            self._ddp_params_and_buffers_to_ignore = [f"carried.{name}" for name in _CARRIED]

    def reset(self) -> None:
        """Forget states and traces: the next call begins at rest."""
        for value in self.carried.buffers():
            value.zero_()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the criterion plus, with random feedback, for each hidden block <h, B e> at fixed B e."""
        if y is None:
            raise ValueError("e-prop needs targets: rule(x, y)")
        with self._online():
            return self.criterion(self.model(x.detach()), y) if self.symmetric else super().forward(x, y)

    @contextmanager
    def _online(self) -> Iterator[None]:
        """Let the cell compute its traces forward in time."""
        (cell,) = self._cells
        calls: list[Tensor] = []
        cell.online = partial(self._run, calls, torch.is_grad_enabled())
        try:
            yield
        finally:
            cell.online = None
        if len(calls) != 1:
            raise TypeError(f"the model calls its {type(cell).__name__} {len(calls)} times; expected once")

    def _run(self, calls: list[Tensor], learns: bool, cell: Cell, x: Tensor) -> Tensor:
        """Return the output of ``cell``, whose gradient by the weights is the eligibility."""
        kind = type(cell).__name__
        if learns:
            refuse_recomputation(f"a {kind}")
        if x.requires_grad:
            raise TypeError(
                f"what precedes the {kind} learns, and eprop propagates no error to it through time; put the "
                f"{kind} first in its block, and use random feedback if there is a block before"
            )
        buffers = [*self.carried.buffers()]
        if buffers and len(x) != len(buffers[0]):
            raise ValueError(
                f"a batch of {len(x)} sequences; a stateful rule has those of its example, {len(buffers[0])}"
            )
        calls.append(x)
        after = advance(cell, x, buffers or _at_rest(cell, len(x)))
        for buffer, value in zip(buffers, after, strict=False):
            buffer.copy_(value.detach())
        w = _weights(cell)
        # The difference is 0: it adds the gradient only.
        return after[2] + torch.linalg.vecdot(after[4], w - w.detach())


Carried = Sequence[Tensor]
"""State of a cell, presynaptic traces (N, synapses of a unit) and eligibilities (N, units, synapses)."""
_CARRIED = ("potential", "activity", "output", "trace", "eligibility")


def _weights(cell: Cell) -> Tensor:
    """Return the weights (units, synapses) of inputs, of the bias if there is one, and of the units."""
    bias = [] if cell.input.bias is None else [cell.input.bias[:, None]]
    return torch.cat([cell.input.weight, *bias, cell.recurrent_weight()], 1)


def _at_rest(cell: Cell, n: int) -> Carried:
    w = _weights(cell)
    return [*cell.rest(n), w.new_zeros(n, w.shape[1]), w.new_zeros(n, *w.shape)]


@torch.no_grad()
def advance(cell: Cell, x: Tensor, carried: Carried) -> Carried:
    """Return what is carried on after the steps of ``x`` (N, T, inputs).

    The presynaptic activity p is filtered by the memory m of the potential, q <- m q + p, and its product
    with the slope s of the output by the leak k, e <- k e + s qᵀ: for many steps at once, by products with
    the powers of m and k.
    """
    potential, sent, out, trace, eligibility = carried
    state, step = (potential, sent, out), cell.stepper()
    for part in x.split(STEPS, 1):
        potentials, activity = [], []
        for drive in cell.drive(part):
            activity.append(state[1])
            state = step(state, drive)
            potentials.append(state[0])
        parts = [cell.floating(part), torch.stack(activity, 1)]
        if cell.input.bias is not None:
            parts.insert(1, parts[0].new_ones(*part.shape[:2], 1))
        times = torch.arange(part.shape[1], device=x.device)
        ago = (times[:, None] - times).to(trace.dtype)
        filters = (cell.memory ** ago.clamp(min=0)).tril()
        traces = filters @ torch.cat(parts, 2) + cell.memory * filters[:, :1] * trace[:, None]
        slopes = cell.slope(torch.stack(potentials, 1)) * cell.leak ** ago[-1][:, None]
        eligibility = torch.add(slopes.mT @ traces, eligibility, alpha=cell.leak ** len(times))
        trace = traces[:, -1]
    return [*state, trace, eligibility]
