"""A callback that writes what a training does for TensorBoard."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from hebbian import diagnostics
from hebbian.rule import Rule, probabilities
from hebbian.synapse import synaptic, weight_layers
from hebbian.two_factor import Hebbian
from visualizers.curves import confusion
from visualizers.weights import receptive_fields, weight_images

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_CURVE = 1000  # held-out samples behind a point of a curve
_PROBES = 256  # held-out inputs at which units are looked at
_UNITS = 25  # of a deeper layer that are shown
_VALUES = 50_000  # of a histogram


class Training(Protocol):
    """What the callback needs to know of a trainer."""

    rule: Rule
    optimizer: torch.optim.Optimizer
    phase: str
    epoch: int
    held_out: tuple[Tensor, Tensor | None] | None

    def evaluate(self, most: int | None = None) -> Mapping[str, float]:
        """Return the metrics on the held-out data, or on ``most`` of them; none without targets."""
        ...

    def scores(self) -> Tensor:
        """Return the raw scores (N, K) of the held-out inputs."""
        ...


@dataclass
class _Phase:
    """What is kept of a phase from one epoch to the next."""

    start: float  # when it began, by `time.perf_counter`
    spent: float = 0.0  # seconds of it that went into logging
    before: dict[str, Tensor] | None = None  # the weights when the epoch began, if it is watched
    objective: Tensor | float = 0.0  # summed over the steps of that epoch
    steps: int = 0
    written: int = 0  # the last epoch with curves
    looked: int = 0  # and with a closer look


class TensorBoard:
    """Write curves once an epoch, and a closer look at epochs 1, 2, 4, 8 and so on and at the last.

    Where epochs are so short that this would take more than ``share`` of a phase's time, epochs are left out;
    the first and the last one never are.  Tags begin with the phase:

    - ``accuracy``, on a thousand held-out samples at most, and ``learning_rate/<group>``.
    - ``objective``, the mean over the epoch of what the rule returns, where it has a criterion; it is a loss
      for some of these rules only, and means nothing for the others.
    - ``movement/<layer>``: how far the weights went in the epoch, relative to their norm.
    - ``norm_error/<layer>``, where a plasticity acts: the mean distance of units' norms from 1, at which
      Oja's rule, SoftHebb and their like converge.
    - ``card``: what is being trained, how, and with which settings.

    The closer look: TensorBoard keeps ten pictures a tag, and doubling the interval shows a run of up to 512
    epochs from its beginning to its end.

    - ``weights/<layer>``, and ``activity/<layer>`` on held-out inputs: histograms.
    - ``dead_units/<layer>``, ``selectivity/<layer>``: on the same inputs, the share of units that never
      respond, and the mean selectivity.
    - ``receptive_fields/<layer>``: the weights of the first layer; those of deeper layers carried down to the
      input, as `hebbian.diagnostics.projections` has it.

    At the end of a phase ``confusion`` is written, on all held-out samples.

    A training that goes on from a checkpoint goes on in the same folder: what was written there after the
    checkpoint is cut off, and nothing stands there twice.

    Parameters
    ----------
    folder
        Where the event file goes; it is made.
    image
        Height and width of the inputs, if they are pictures laid out flat.
    settings
        What the run was made with, shown in the cards.  At the end they go to the page of hyper-parameters,
        with the metrics of the last phase, named ``final/accuracy``.
    alignment
        Also write ``angle_to_backprop/<layer>``, in degrees, once an epoch, for rules with a criterion.
    share
        Of a phase's time by the clock, how much the writing may take before its end; `math.inf` to leave out
        no epoch.
    """

    def __init__(
        self,
        folder: Path,
        image: tuple[int, int] | None = None,
        *,
        settings: Mapping[str, str | float] | None = None,
        alignment: bool = False,
        share: float = 0.03,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self.image = image
        self.settings = dict(settings or {})
        self.alignment = alignment
        self.share = share
        self._folder = folder
        self._earlier = _event_files(folder)
        self._writer: SummaryWriter = SummaryWriter(str(folder))
        self._phase: _Phase | None = None
        self._final: Mapping[str, float] = {}

    def on_gradients(self, trainer: Training, objective: Tensor) -> None:
        """Keep the objective for the end of the epoch; reading it now would wait for the device."""
        phase = self._phase or self._begin(trainer)
        if phase.before is not None:
            phase.objective = phase.objective + objective.float()
            phase.steps += 1

    def on_epoch(self, trainer: Training) -> None:
        """Write the epoch's curves and, at doubling intervals, all else; see whether to watch the next."""
        phase = self._phase
        if phase is None:
            return
        start = time.perf_counter()
        if phase.before is not None:
            self._write_epoch(trainer, phase)
            if trainer.epoch >= 2 * phase.looked:
                self._look(trainer, phase)
        now = time.perf_counter()
        phase.spent += now - start
        if phase.spent <= self.share * (now - phase.start):
            phase.before = _weights(trainer.rule.model)
            phase.spent += time.perf_counter() - now

    def on_phase(self, trainer: Training) -> None:
        """Look at what the phase ended with."""
        phase, self._phase = self._phase, None
        if phase is None:  # it had ended before a checkpoint, from which the training goes on
            return
        if phase.written != trainer.epoch:
            phase.before = None
            self._write_epoch(trainer, phase)
        if phase.looked != trainer.epoch:
            self._look(trainer, phase)
        if trainer.held_out is not None and (y := trainer.held_out[1]) is not None:
            self._final = trainer.evaluate()
            figure = confusion(_counts(trainer.scores(), y))
            self._writer.add_figure(f"{trainer.phase}/confusion", figure, trainer.epoch)
        self._writer.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return what the rest of the training has to know, and how far the event files have come."""
        self._writer.flush()
        phase = None
        if self._phase is not None:
            phase = {
                **vars(self._phase),
                "start": self._phase.start - time.perf_counter(),
                "objective": float(self._phase.objective),
            }
        files = {path.name: path.stat().st_size for path in _event_files(self._folder)}
        return {"phase": phase, "final": dict(self._final), "files": files}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; what earlier event files hold beyond it is cut off."""
        for path in self._earlier:
            if path.name in state["files"]:
                os.truncate(path, state["files"][path.name])
            else:
                path.unlink()
        self._final, self._phase = state["final"], None
        if (phase := state["phase"]) is not None:
            self._phase = _Phase(**{**phase, "start": time.perf_counter() + phase["start"]})

    def close(self) -> None:
        """Write the settings and what came of them, and end the event file."""
        if self.settings:
            self._write_hyperparameters()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._writer.close()  # what failed has no final metric

    def _begin(self, trainer: Training) -> _Phase:
        self._phase = phase = _Phase(time.perf_counter(), before=_weights(trainer.rule.model))
        self._writer.add_text(f"{trainer.phase}/card", _card(trainer, self.settings), trainer.epoch)
        phase.spent = time.perf_counter() - phase.start
        return phase

    def _write_epoch(self, trainer: Training, phase: _Phase) -> None:
        """Write the curves; those that need the whole epoch only where it was watched."""
        curves = {
            **trainer.evaluate(_CURVE),
            **_rates(trainer.optimizer),
            **_norm_errors(trainer.rule),
            **(_angles(trainer) if self.alignment else {}),
        }
        if phase.before is not None:
            curves |= _movements(phase.before, _weights(trainer.rule.model))
            if getattr(trainer.rule, "criterion", None) is not None:
                curves["objective"] = float(phase.objective) / phase.steps
        self._write_curves(trainer, curves)
        phase.before, phase.objective, phase.steps, phase.written = None, 0.0, 0, trainer.epoch

    def _look(self, trainer: Training, phase: _Phase) -> None:
        phase.looked = trainer.epoch
        for path, w in _weights(trainer.rule.model).items():
            self._write_histogram(trainer, _tag("weights", path), w)
        x = None if trainer.held_out is None else _spread(trainer.held_out[0], _PROBES)
        for path, picture in weight_images(trainer.rule.model, x, self.image, _UNITS).items():
            tag = _tag(trainer.phase, "receptive_fields", path)
            self._writer.add_image(tag, receptive_fields(picture), trainer.epoch)
        if x is not None:
            self._look_at_units(trainer, x)

    def _look_at_units(self, trainer: Training, x: Tensor) -> None:
        for path, activity in diagnostics.activities(trainer.rule.model, x).items():
            self._write_histogram(trainer, _tag("activity", path), activity)
            curves = {
                _tag("dead_units", path): diagnostics.dead(activity).double().mean().item(),
                _tag("selectivity", path): diagnostics.selectivity(activity).mean().item(),
            }
            self._write_curves(trainer, curves)

    def _write_curves(self, trainer: Training, curves: Mapping[str, float]) -> None:
        for name, value in curves.items():
            self._writer.add_scalar(f"{trainer.phase}/{name}", value, trainer.epoch)

    def _write_histogram(self, trainer: Training, name: str, values: Tensor) -> None:
        values = _spread(values.flatten(), _VALUES)
        values = values[values.isfinite()]  # a histogram cannot hold what has diverged
        if len(values):
            self._writer.add_histogram(f"{trainer.phase}/{name}", values.float(), trainer.epoch)

    def _write_hyperparameters(self) -> None:
        from torch.utils.tensorboard.summary import hparams

        # SummaryWriter.add_hparams would open a run of its own beside this one.
        metrics = {f"final/{name}": value for name, value in self._final.items()}
        for summary in hparams(self.settings, metrics):
            self._writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value)


def _event_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))


def _tag(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _spread(values: Tensor, most: int) -> Tensor:
    """Return at most ``most`` of the values along the first axis, evenly spaced."""
    if len(values) <= most:
        return values
    return values[torch.arange(most, device=values.device) * len(values) // most]


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {path: synaptic(model, path).weight.detach().clone() for path in weight_layers(model)}


def _movements(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, float]:
    return {
        _tag("movement", path): diagnostics.movement(w.to(now[path]), now[path]) for path, w in before.items()
    }


def _rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    rates = [group["lr"] for group in optimizer.param_groups]
    return {f"learning_rate/{i}": float(rate) for i, rate in enumerate(rates)}


def _norm_errors(rule: Rule) -> dict[str, float]:
    if not isinstance(rule, Hebbian):
        return {}
    paths = {synaptic(rule.model, path): path for path in weight_layers(rule.model)}
    return {
        _tag("norm_error", paths[layer]): diagnostics.norm_error(layer.weight.detach(), getattr(p, "p", 2))
        .mean()
        .item()
        for layer, p in rule.plasticity.items()
    }


def _angles(trainer: Training) -> dict[str, float]:
    criterion = getattr(trainer.rule, "criterion", None)
    x, y = trainer.held_out or (None, None)
    if criterion is None or x is None or y is None:
        return {}
    cosines = diagnostics.alignment(trainer.rule, criterion, _spread(x, _PROBES), _spread(y, _PROBES))
    return {
        _tag("angle_to_backprop", path): math.degrees(math.acos(min(max(cosine, -1), 1)))
        for path, cosine in cosines.items()
    }


def _counts(scores: Tensor, y: Tensor) -> np.ndarray:
    """Count the samples of each true class (row) that were taken for each class (column)."""
    p = probabilities(scores)
    classes = p.shape[1]
    pairs = y.flatten().long() * classes + p.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu().numpy()


def _card(trainer: Training, settings: Mapping[str, str | float]) -> str:
    """Tell in Markdown what is being trained and how."""
    learned = sum(p.numel() for p in trainer.rule.parameters() if p.requires_grad)
    rows = {**settings, "trainable parameters": f"{learned:,}", "torch": torch.__version__}
    table = "\n".join(["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])
    return f"Research use only.\n\n{table}\n\n```\n{trainer.rule}\n\n{trainer.optimizer}\n```"
