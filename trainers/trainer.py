"""One loop for every learning rule, and the two functions that judge its outcome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from hebbian.rule import Rule, evaluating, probabilities
from trainers import distributed, rng_state
from trainers.errors import DataError

Held = tuple[Tensor, Tensor | None]
"""Held-out inputs (N, ...) and their targets; None where the rule learns without labels."""


class Loader(Protocol):
    """What gives the batches (x, y) of an epoch: `trainers.Batches`, or torch's `DataLoader`.

    ``y`` is None where the rule learns without labels.
    """

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class Trainer:
    """Let ``optimizer`` follow what ``rule`` asks for, batch by batch.

    Callbacks are any objects with some of these methods, called in the order of the list:

    - ``on_gradients(trainer, objective)``: ``.grad`` is there, without the scaler's factor, the step is
      not; ``objective`` is detached
    - ``on_step(trainer)``: a step was made
    - ``on_epoch(trainer)``: an epoch is over
    - ``on_phase(trainer)``: `fit` is over

    A callback may set ``trainer.stop``; the epoch under way is then the last.  What a callback must keep
    from an interrupted run to its continuation it gives by ``state_dict()`` and takes by
    ``load_state_dict(state)``, as torch's objects do.

    Parameters
    ----------
    rule
        A rule, or one that torch has wrapped: ``torch.compile(rule)``, ``DistributedDataParallel(rule)``.
    optimizer
        Of the rule's parameters, in groups of their own rates where that is wanted.
    callbacks
        See above.
    phase
        What this training is called in logs.
    scaler
        Keeps float16 gradients from vanishing.
    autocast
        The dtype in which the rule runs where torch deems that safe: ``torch.bfloat16``, ``torch.float16``.
    accumulate
        How many batches make one step.  For a rule whose update is a mean over samples it is the step of
        their union.

    Attributes
    ----------
    rule : Rule
        The rule itself, without wrapping.
    epoch, step : int
        How many epochs and steps were made.
    batch : int
        How many batches of the epoch under way were seen.
    goal : int
        How many steps `fit` set out to make.
    held : tuple of Tensor, optional
        Inputs that `scores` looks at, and their targets, None where there are none, for `evaluate`.

    Raises
    ------
    TypeError
        For an optimizer that needs a closure: it would evaluate a noisy rule several times a step.
    """

    def __init__(
        self,
        rule: nn.Module,
        optimizer: torch.optim.Optimizer,
        callbacks: Sequence[object] = (),
        phase: str = "train",
        *,
        scaler: GradScaler | None = None,
        autocast: torch.dtype | None = None,
        accumulate: int = 1,
    ) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TypeError("LBFGS needs a closure, which no noisy rule can serve; use SGD or Adam")
        if accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {accumulate}")
        self.rule = unwrapped(rule)
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.phase = phase
        self.scaler = GradScaler(enabled=False) if scaler is None else scaler
        self.autocast = autocast
        self.accumulate = accumulate
        self.epoch = self.step = self.batch = self.goal = 0
        self.stop = False
        self.held: Held | None = None
        self._wrapped = rule
        self._loader: Loader | None = None
        self._scored: tuple[int, Tensor] | None = None
        self._began: dict[str, Any] | None = None  # where random numbers stood when the epoch began
        self._resumed: dict[str, Any] | None = None  # and where they stood when the run was interrupted

    def fit(self, loader: Loader, epochs: int, held: Held | None = None) -> None:
        """Train for ``epochs`` more passes over ``loader``, in train mode; one under way is the first."""
        self.held, self._scored, self._loader = held, None, loader
        if self._resumed is not None:
            rng_state.restore(self._resumed, loader)
            self._resumed = None
        made = math.ceil(self.batch / self.accumulate)
        self.goal = self.step - made + epochs * math.ceil(len(loader) / self.accumulate)
        for _ in range(epochs):
            if self.stop:
                break
            self._wrapped.train()
            batches = self._rest(loader)
            while group := list(islice(batches, self.accumulate)):
                self._learn(group)
            self.batch = 0
            self.epoch += 1
            self.notify("epoch")
            self.stop = distributed.anywhere(self.stop)
        self.notify("phase")

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on but the data, as tensors and plain values."""
        return {
            "rule": self.rule.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self._remembering().items()},
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "draws": {"began": self._began, "now": rng_state.states(self._loader)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`: the next `fit` makes the rest of the epoch that was under way.

        The batches of that epoch which were seen are drawn again and passed over.

        Raises
        ------
        DataError
            If a callback that remembers something finds nothing of its own there.
        """
        callbacks = self._remembering()
        if strangers := callbacks.keys() - state["callbacks"].keys():
            raise DataError(
                f"no state for {', '.join(sorted(strangers))}; give the same callbacks in the same order as "
                f"before: {', '.join(state['callbacks']) or 'none'}"
            )
        self.rule.load_state_dict(state["rule"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, callback in callbacks.items():
            callback.load_state_dict(state["callbacks"][name])
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])
        self._began, self._resumed = state["draws"]["began"], state["draws"]["now"]

    def evaluate(self, most: int | None = None) -> dict[str, float]:
        """Return the metrics on the held-out data; none where there are no such data or no targets.

        With ``most``, a larger set is represented by so many samples at most, evenly spaced.
        """
        x, y = self.held or (None, None)
        if x is None or y is None:
            return {}
        stride = 1 if most is None else math.ceil(len(x) / most)
        scores = self.scores() if stride == 1 else predict(self.rule, x[::stride])
        return {"accuracy": accuracy(scores, y[::stride])}

    def scores(self) -> Tensor:
        """Return the raw scores (N, K) of the held-out inputs, computed once between two steps.

        Raises
        ------
        ValueError
            If there are no held-out data.
        """
        if self.held is None:
            raise ValueError("there are no held-out data; give them to fit: fit(batches, epochs, held)")
        if self._scored is None or self._scored[0] != self.step:
            self._scored = self.step, predict(self.rule, self.held[0])
        return self._scored[1]

    def notify(self, event: str, *what: object) -> None:
        """Tell every callback that listens to ``event``."""
        for callback in self.callbacks:
            if handler := getattr(callback, f"on_{event}", None):
                handler(self, *what)

    def _rest(self, loader: Loader) -> Iterator[Any]:
        """Return the batches of the epoch under way that were not seen yet."""
        if not self.batch:
            self._began = rng_state.states(loader)
            return iter(loader)
        assert self._began is not None
        now = rng_state.states(loader)
        rng_state.restore(self._began, loader)
        batches = iter(loader)
        for _ in islice(batches, self.batch):
            pass
        rng_state.restore(now, loader)
        return batches

    def _learn(self, group: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Make one step of some batches."""
        self.optimizer.zero_grad()
        samples = sum(len(x) for x, _ in group)
        objective = torch.stack([self._descend(x, y, len(x) / samples) for x, y in group]).sum()
        self.scaler.unscale_(self.optimizer)
        self.notify("gradients", objective)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        distributed.average(self.rule)
        self.step += 1
        self.batch += len(group)
        self.notify("step")

    def _descend(self, x: Tensor, y: Tensor | None, share: float) -> Tensor:
        """Add to ``.grad`` the batch's share in a step; return what it has in the objective."""
        device = next(self.rule.parameters()).device
        x, y = x.to(device), None if y is None else y.to(device)
        with nullcontext() if self.autocast is None else torch.autocast(device.type, self.autocast):
            objective: Tensor = share * self._wrapped(x, y)
        self.scaler.scale(objective).backward()
        return objective.detach()

    def _remembering(self) -> dict[str, Any]:
        """Return the callbacks that have a state, by place and type."""
        return {
            f"{type(callback).__name__} {i}": callback
            for i, callback in enumerate(self.callbacks)
            if hasattr(callback, "load_state_dict")
        }


_PROGRESS = ("epoch", "step", "batch", "stop")


def unwrapped(rule: nn.Module) -> Rule:
    """Return the rule inside of what `torch.compile` or `DistributedDataParallel` made of it."""
    for inside in ("_orig_mod", "module"):
        if not isinstance(rule, Rule) and hasattr(rule, inside):
            return unwrapped(getattr(rule, inside))
    if not isinstance(rule, Rule):
        raise TypeError(f"a trainer needs a hebbian.Rule, got {type(rule).__name__}")
    return rule


def predict(rule: Rule, x: Tensor, batch: int = 512) -> Tensor:
    """Return the raw scores (N, K) of inputs ``x`` (N, ...), in eval mode, ``batch`` at a time."""
    with torch.no_grad(), evaluating(rule):
        return torch.cat([rule.predict(part) for part in x.split(batch)])


def accuracy(scores: Tensor, y: Tensor) -> float:
    """Return the share of raw scores (N, K) that name the class in ``y``, (N,) or (N, 1)."""
    hits = probabilities(scores).argmax(1) == y.flatten()
    return hits.double().mean().item()
