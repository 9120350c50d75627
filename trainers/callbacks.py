"""Callbacks of the trainer, and the step hooks that some published rules need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from hebbian.synapse import computes_plastic, in_memory_order, is_plastic
from trainers.trainer import Trainer

_TINY = 1e-30  # a gradient of zeros remains zero, as in the published code


class Progress:
    """One progress bar a phase, on a terminal only.

    It shows the objective of rules with a criterion; the value of other objectives has no meaning.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._objective: Tensor | None = None

    def on_gradients(self, trainer: Trainer, objective: Tensor) -> None:
        """Store the objective."""
        if getattr(trainer.rule, "criterion", None) is not None:
            self._objective = objective

    def on_step(self, trainer: Trainer) -> None:
        """Advance by one batch."""
        if self._bar is None:
            self._bar = tqdm(
                total=trainer.goal, initial=trainer.step - 1, desc=trainer.phase, unit="batch", disable=None
            )
        self._bar.update()

    def on_epoch(self, trainer: Trainer) -> None:
        """Show the objective; once an epoch, as this waits for the device."""
        if self._objective is not None:
            self._bar.set_postfix(objective=f"{self._objective.item():.3g}")

    def on_phase(self, trainer: Trainer) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._objective = None


class Schedule:
    """Step a torch scheduler after every batch, or after every epoch.

    Raises
    ------
    TypeError
        For a `ReduceLROnPlateau`, which needs a metric.
    """

    def __init__(self, scheduler: LRScheduler, per_epoch: bool = False) -> None:
        if isinstance(scheduler, ReduceLROnPlateau):
            raise TypeError(
                "ReduceLROnPlateau needs a metric; step it in a callback of your own, for example in "
                "on_epoch(trainer): scheduler.step(trainer.evaluate()['accuracy'])"
            )
        self.scheduler = scheduler
        self.per_epoch = per_epoch

    def on_step(self, trainer: Trainer) -> None:
        """Step after a batch."""
        if not self.per_epoch:
            self.scheduler.step()

    def on_epoch(self, trainer: Trainer) -> None:
        """Step after an epoch."""
        if self.per_epoch:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler."""
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the scheduler."""
        self.scheduler.load_state_dict(state)


class Clip:
    """Clip the norm of the gradient of all parameters together to ``max_norm``."""

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def on_gradients(self, trainer: Trainer, objective: Tensor) -> None:
        """Clip before the step."""
        parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)


def max_normalise(optimizer: torch.optim.Optimizer) -> None:
    """Divide the gradient of every plastic layer by its largest absolute entry before each step.

    With plain SGD the largest entry of a layer's step is then the learning rate, following Krotov &
    Hopfield 2019.  A gradient of zeros remains zero.  Other parameters, such as a readout's, are left alone.

    Raises
    ------
    ValueError
        If the optimizer has no weight at which a plasticity acts, or torch's parametrizations compute one.
    """

    def normalise(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for p in _plastic(optimizer):
            if p.grad is not None:
                least, most = in_memory_order(p.grad, p).aminmax()
                p.grad.div_(torch.maximum(most, -least).clamp_min(_TINY))

    _require_plastic(optimizer)
    optimizer.register_step_pre_hook(normalise)


def unit_norm(optimizer: torch.optim.Optimizer) -> None:
    """Normalise the incoming weights of every unit of plastic layers after each step.

    This keeps plain Hebb bounded.  Other parameters, such as a readout's, are left alone.

    Raises
    ------
    ValueError
        If the optimizer has no weight at which a plasticity acts, or torch's parametrizations compute one.
    """

    @torch.no_grad()
    def constrain(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for p in _plastic(optimizer):
            if p.grad is not None:
                p.div_(p.flatten(1).norm(dim=1).clamp_min(_TINY).view(-1, *[1] * (p.ndim - 1)))

    _require_plastic(optimizer)
    optimizer.register_step_post_hook(constrain)


def _plastic(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if any(map(computes_plastic, parameters)):
        raise ValueError(
            "step hooks act at weights, and torch.nn.utils.parametrize computes that of a plastic layer; use "
            "either the hook or the parametrization"
        )
    return [p for p in parameters if is_plastic(p)]


def _require_plastic(optimizer: torch.optim.Optimizer) -> None:
    if not _plastic(optimizer):
        raise ValueError(
            "the optimizer has no weight at which a plasticity acts; build the rule before the optimizer, or "
            "mark the layers by hebbian.synapse.mark_plastic"
        )
