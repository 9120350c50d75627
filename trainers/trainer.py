"""One loop for every learning rule, and the two functions that judge its outcome."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hebbian.rule import Rule, evaluating, probabilities

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

    - ``on_gradients(trainer, objective)``: ``.grad`` is there, the step is not; ``objective`` is detached
    - ``on_step(trainer)``: a step was made
    - ``on_epoch(trainer)``: an epoch is over
    - ``on_phase(trainer)``: `fit` is over

    A callback may set ``trainer.stop``; the epoch under way is then the last.

    Attributes
    ----------
    epoch, step : int
        How many epochs and steps were made.
    goal : int
        How many steps `fit` set out to make.
    phase : str
        What this training is called in logs.
    held : tuple of Tensor, optional
        Inputs that `scores` looks at, and their targets, None where there are none, for `evaluate`.

    Raises
    ------
    TypeError
        For an optimizer that needs a closure: it would evaluate a noisy rule several times a step.
    """

    def __init__(
        self,
        rule: Rule,
        optimizer: torch.optim.Optimizer,
        callbacks: Sequence[object] = (),
        phase: str = "train",
    ) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TypeError("LBFGS needs a closure, which no noisy rule can serve; use SGD or Adam")
        self.rule = rule
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.phase = phase
        self.epoch = self.step = self.goal = 0
        self.stop = False
        self.held: Held | None = None
        self._scored: tuple[int, Tensor] | None = None

    def fit(self, batches: Loader, epochs: int, held: Held | None = None) -> None:
        """Train for ``epochs`` passes over ``batches``, in train mode."""
        self.held, self.stop, self._scored = held, False, None
        self.goal = self.step + epochs * len(batches)
        for _ in range(epochs):
            self.rule.train()
            for x, y in batches:
                self._learn(x, y)
            self.epoch += 1
            self.notify("epoch")
            if self.stop:
                break
        self.notify("phase")

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

    def _learn(self, x: Tensor, y: Tensor | None) -> None:
        self.optimizer.zero_grad()
        objective = self.rule(x, y)
        objective.backward()
        self.notify("gradients", objective.detach())
        self.optimizer.step()
        self.step += 1
        self.notify("step")


def predict(rule: Rule, x: Tensor, batch: int = 512) -> Tensor:
    """Return the raw scores (N, K) of inputs ``x`` (N, ...), in eval mode, ``batch`` at a time."""
    with torch.no_grad(), evaluating(rule):
        return torch.cat([rule.predict(part) for part in x.split(batch)])


def accuracy(scores: Tensor, y: Tensor) -> float:
    """Return the share of raw scores (N, K) that name the class in ``y``, (N,) or (N, 1)."""
    hits = probabilities(scores).argmax(1) == y.flatten()
    return hits.double().mean().item()
