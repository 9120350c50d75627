"""One training loop for every learning rule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from hebbian.rule import NotFiniteError, Rule, has_classes
from trainers import distributed, rng_state
from trainers.data.batches import is_binary
from trainers.divergence import Watch
from trainers.errors import DataError, DivergenceError
from trainers.prediction import HeldOutScores, accuracy

HeldOut = tuple[Tensor, Tensor | None]
"""Held-out inputs (N, ...) and their targets, None for unsupervised rules."""


class Loader(Protocol):
    """Yields the batches (x, y) of an epoch: `trainers.Batches`, or torch's `DataLoader`.

    ``y`` is None for unsupervised rules.
    """

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


class Trainer:
    """Minimise the objective of a rule, batch by batch.

    Callbacks are objects with any of these methods, called in the order of the list:

    - ``on_gradients(trainer, objective)``: before each step, with ``.grad`` computed and unscaled;
      ``objective`` is detached
    - ``on_step(trainer)``: after each step
    - ``on_epoch(trainer)``: after each epoch
    - ``on_phase(trainer)``: at the end of `fit`

    A callback may set ``trainer.stop``, which ends the training after the current epoch.  A callback with
    state that must survive an interruption has ``state_dict()`` and ``load_state_dict(state)``, like the
    objects of torch.

    Parameters
    ----------
    rule
        A rule, or one that torch has wrapped: ``torch.compile(rule)``, ``DistributedDataParallel(rule)``.
    optimizer
        Optimizer of the parameters of the rule.
    callbacks
        See above.
    phase
        Name of this training in logs.
    scaler
        Gradient scaler for float16.
    autocast
        Lower precision for `torch.autocast`: ``torch.bfloat16`` or ``torch.float16``.
    accumulate
        Batches a step.  For a rule whose update is a mean over samples the step equals that of their union.

    Attributes
    ----------
    rule : Rule
        The rule itself, unwrapped.
    epoch, step : int
        Epochs and steps completed.
    batch : int
        Batches completed in the current epoch.
    goal : int
        Step at which `fit` ends.
    held_out : tuple of Tensor, optional
        Inputs for `scores`, and their targets (or None) for `evaluate`.

    Raises
    ------
    TypeError
        For an optimizer that needs a closure: it would evaluate a noisy rule several times a step.

    Examples
    --------
    >>> import torch
    >>> from hebbian import Backprop
    >>> from trainers import Batches, Trainer, mlp
    >>> model = mlp(4, [8], 2)
    >>> rule = Backprop(model, torch.nn.functional.cross_entropy)
    >>> trainer = Trainer(rule, torch.optim.SGD(rule.parameters(), lr=0.1))
    >>> trainer.fit(Batches(torch.rand(20, 4), torch.arange(20) % 2, size=5), epochs=3)
    >>> trainer.step
    12
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
            raise TypeError(
                "LBFGS needs a rule without noise, which it evaluates several times a step; use SGD or Adam"
            )
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
        self.held_out: HeldOut | None = None
        self._wrapped = rule
        self._loader: Loader | None = None
        self._scored: tuple[int, HeldOutScores] | None = None
        self._watch: Watch | None = None
        self._began: dict[str, Any] | None = None  # random state at the start of the epoch
        self._resumed: dict[str, Any] | None = None  # random state at the interruption

    def fit(self, loader: Loader, epochs: int, held_out: HeldOut | None = None) -> None:
        """Train for ``epochs`` more passes over ``loader``, in train mode; the first may be a resumed one.

        Parameters
        ----------
        loader
            Batches (x, y).
        epochs
            Number of passes.
        held_out
            See the attribute.

        Raises
        ------
        DivergenceError
            If a batch, the objective or a weight is not finite, or the weights of a layer exceed
            `trainers.divergence.LIMIT`; checked at steps 1, 2, 4, 8, ..., every 100 steps and at the end.
        TypeError, ValueError
            If the loader has no length or no batches, its batches are not pairs (x, y), or the optimizer has
            no parameter that learns or lacks one of the rule's own.
        """
        count = _count_batches(loader)
        self.held_out, self._scored, self._loader = held_out, None, loader
        if self._resumed is not None:
            rng_state.restore(self._resumed, loader)
            self._resumed = None
        else:
            self.stop = False
        completed = math.ceil(self.batch / self.accumulate)
        self.goal = self.step - completed + epochs * math.ceil(count / self.accumulate)
        with self._located():
            self._watch = Watch(self.rule)
            for _ in range(epochs):
                if self.stop:
                    break
                self._wrapped.train()
                batches = map(_check_pair, self._remaining(loader))
                while group := list(islice(batches, self.accumulate)):
                    self._step(group)
                self.batch = 0
                self.epoch += 1
                self.notify("epoch")
                self.stop = distributed.is_any(self.stop)
            self._watch.check()
        self.notify("phase")

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on apart from the data."""
        return {
            "rule": self.rule.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self._stateful().items()},
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "random": {"began": self._began, "now": rng_state.get_states(self._loader)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from `state_dict`: the next `fit` completes the interrupted epoch.

        The completed batches of that epoch are drawn again and skipped.

        Raises
        ------
        DataError
            If the state of a callback is missing.
        """
        callbacks = self._stateful()
        if missing := callbacks.keys() - state["callbacks"].keys():
            raise DataError(
                f"no state for {', '.join(sorted(missing))}; use the same callbacks in the same order as "
                f"before: {', '.join(state['callbacks']) or 'none'}"
            )
        self.rule.load_state_dict(state["rule"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name, callback in callbacks.items():
            callback.load_state_dict(state["callbacks"][name])
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])
        self._began, self._resumed = state["random"]["began"], state["random"]["now"]

    def evaluate(self, most: int | None = None) -> dict[str, float]:
        """Return the metrics on the held-out data; an empty dict without such data, or classes as targets.

        Integers are classes.  Floating-point 0 and 1 are classes if the criterion of the rule is torch's
        binary cross-entropy of logits; with any other they are numbers, as in a regression.

        If there are more than ``most`` samples, at most that many are evaluated, evenly spaced.
        """
        x, y = self.held_out or (None, None)
        if x is None or y is None:
            return {}
        if y.is_floating_point() and not is_binary(getattr(self.rule, "criterion", None)):
            return {}
        stride = 1 if most is None else math.ceil(len(x) / most)
        rows = torch.arange(len(x))[::stride]
        scores, y = self._held_out_scores()[rows], y[rows]
        return {"accuracy": accuracy(scores, y)} if has_classes(scores, y) else {}

    def scores(self) -> Tensor:
        """Return the raw scores (N, K) of the held-out inputs, computed at most once a step.

        Raises
        ------
        ValueError
            If there are no held-out data.
        """
        scores = self._held_out_scores()
        return scores[torch.arange(len(scores))]

    def activities(self, most: int) -> dict[str, Tensor]:
        """Return `hebbian.diagnostics.activities` for ``most`` held-out inputs, evenly spaced, or for all.

        Raises
        ------
        ValueError
            If there are no held-out data.
        """
        scores = self._held_out_scores()
        count = min(len(scores), most)
        return scores.activities(torch.arange(count) * len(scores) // count)

    def _held_out_scores(self) -> HeldOutScores:
        """Return the scores of the held-out inputs by the rule as it is after this step."""
        if self.held_out is None:
            raise ValueError("there are no held-out data; pass them to fit: fit(batches, epochs, held_out)")
        if self._scored is None or self._scored[0] != self.step:
            self._scored = self.step, HeldOutScores(self.rule, self.held_out[0])
        return self._scored[1]

    def notify(self, event: str, *arguments: object) -> None:
        """Call the method ``on_<event>`` of every callback that has it."""
        for callback in self.callbacks:
            if handler := getattr(callback, f"on_{event}", None):
                handler(self, *arguments)

    def _remaining(self, loader: Loader) -> Iterator[Any]:
        """Return the batches of the current epoch that are not completed."""
        if not self.batch:
            self._began = rng_state.get_states(loader)
            return iter(loader)
        assert self._began is not None
        now = rng_state.get_states(loader)
        rng_state.restore(self._began, loader)
        batches = iter(loader)
        for _ in islice(batches, self.batch):
            pass
        rng_state.restore(now, loader)
        return batches

    def _step(self, group: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Make one step from a group of batches."""
        self.optimizer.zero_grad()
        samples = sum(len(x) for x, _ in group)
        parts = [self._backward(x, y, len(x) / samples) for x, y in group]
        objective = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        if not self.step:
            self._check_optimizer()
        self.scaler.unscale_(self.optimizer)
        self.notify("gradients", objective)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        distributed.average_buffers(self.rule)
        self.step += 1
        self.batch += len(group)
        if self.step % _CHECK_EVERY == 0 or self.step.bit_count() == 1:
            assert self._watch is not None
            self._watch.check()
        self.notify("step")

    def _backward(self, x: Tensor, y: Tensor | None, weight: float) -> Tensor:
        """Add the weighted gradient of a batch to ``.grad``; return its weighted objective, detached."""
        device = next(self.rule.parameters()).device
        x, y = x.to(device), None if y is None else y.to(device)
        assert self._watch is not None
        if not getattr(self._loader, "is_finite", False):
            self._watch.observe_batch(x, y)
        with nullcontext() if self.autocast is None else torch.autocast(device.type, self.autocast):
            objective: Tensor = self._wrapped(x, y)
        if weight != 1:
            objective = weight * objective
        self.scaler.scale(objective).backward()
        objective = objective.detach()
        if not self.scaler.is_enabled():  # which skips steps that overflow
            self._watch.objective = objective
        return objective

    def _check_optimizer(self) -> None:
        """Refuse an optimizer that leaves out all that learns, or what the rule itself has to learn."""
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        learns = {name: p for name, p in self.rule.named_parameters() if p.grad is not None}
        left_out = [name for name, p in learns.items() if id(p) not in held]
        own = [name for name in left_out if not name.startswith("model.")]
        if own or (learns and len(left_out) == len(learns)):
            raise ValueError(
                f"parameter {(own or left_out)[0]!r} of {type(self.rule).__name__} learns and is not in the "
                "optimizer; give it rule.parameters(), which are the model's and the rule's own"
            )

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Add rule, phase and step to the message of an error about numbers."""
        try:
            yield
        except (DivergenceError, NotFiniteError) as error:
            place = f"{type(self.rule).__name__}, phase {self.phase}, by step {self.step}"
            raise DivergenceError(f"{place}: {error}") from None

    def _stateful(self) -> dict[str, Any]:
        """Return the callbacks with state, by type and position."""
        return {
            f"{type(callback).__name__} {i}": callback
            for i, callback in enumerate(self.callbacks)
            if hasattr(callback, "load_state_dict")
        }


_CHECK_EVERY = 100  # steps, and at powers of two: most diverge at once; a check waits for the device
_PROGRESS = ("epoch", "step", "batch", "stop")


def unwrapped(rule: nn.Module) -> Rule:
    """Return the rule that `torch.compile` or `DistributedDataParallel` has wrapped."""
    for inside in ("_orig_mod", "module"):
        if not isinstance(rule, Rule) and hasattr(rule, inside):
            return unwrapped(getattr(rule, inside))
    if not isinstance(rule, Rule):
        raise TypeError(f"a trainer needs a hebbian.Rule, got {type(rule).__name__}")
    return rule


def _count_batches(loader: Loader) -> int:
    """Return the number of batches; raise an error if it is unknown or 0."""
    try:
        count = len(loader)
    except TypeError:
        raise TypeError(
            f"the loader ({type(loader).__name__}) has no length, which schedules need; use a data set with "
            "__len__, a list of batches or trainers.Batches"
        ) from None
    if not count:
        raise ValueError("the loader has no batches; it needs at least one sample, with drop_last one batch")
    return count


def _check_pair(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Return a batch; `TypeError` if it is not a pair of inputs and targets."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        x, y = batch
        if isinstance(x, Tensor) and isinstance(y, Tensor | None):
            return x, y
    content = f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else ""
    raise TypeError(
        f"a batch is a {type(batch).__name__}{content}; expected a pair of tensors (x, y), inputs and "
        "targets: let the data set or collate_fn of the loader return that"
    )
