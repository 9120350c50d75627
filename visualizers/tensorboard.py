"""A callback that logs a training to TensorBoard."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hebbian import diagnostics
from hebbian.rule import Rule, probabilities
from hebbian.synapse import synaptic, weight_layers
from hebbian.two_factor import Hebbian
from visualizers.confusion_matrix import confusion
from visualizers.events import Record, open_writer
from visualizers.weights import receptive_fields, weight_images

_CURVE = 1000  # held-out samples for a point of a curve
_PROBES = 256  # held-out inputs for the activity of units
_UNITS = 25  # shown of a deeper layer
_VALUES = 20_000  # of a histogram


class Training(Protocol):
    """What the callback uses of a trainer."""

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

    def activities(self, most: int) -> Mapping[str, Tensor]:
        """Return the activity of each layer's units (samples, units) for ``most`` of the held-out inputs."""
        ...


@dataclass
class _Phase:
    """The state of a phase between epochs."""

    start: float  # by `time.perf_counter`
    spent: float = 0.0  # seconds of it spent on logging
    reserve: float = 0.0  # seconds that the last histograms and images took, as those at its end will
    before: dict[str, Tensor] | None = None  # the weights at the start of the epoch, if it is logged
    objective: Tensor | float = 0.0  # summed over the steps of that epoch
    steps: int = 0
    written: int = 0  # last epoch with curves
    looked: int = 0  # last epoch with histograms and images


class TensorBoard:
    """Write curves every epoch, and histograms and images at epochs 1, 2, 4, 8, ... and the last.

    Epochs are skipped where logging would exceed the fraction ``share`` of a phase's time, but never the
    first and the last one.  Tags begin with the phase:

    - ``accuracy``, on a thousand held-out samples at most, if their targets are classes.
    - ``learning_rate/<group>``.
    - ``objective``, the mean over the epoch of the value of the rule, if it has a criterion; it is a loss for
      some of these rules only.
    - ``relative_update/<layer>``: the change of the weights in the epoch, relative to their norm.
    - ``norm_error/<layer>``, where a plasticity acts: the mean distance of units' norms from 1, to which
      Oja's rule, SoftHebb and similar rules converge.
    - ``card``: model, optimizer and settings.

    At doubling intervals, as TensorBoard keeps ten images for each tag:

    - ``weights/<layer>``, and ``activity/<layer>`` on held-out inputs: histograms.
    - ``dead_units/<layer>``, ``selectivity/<layer>``: on the same inputs, the fraction of units that never
      respond, and the mean selectivity.
    - ``receptive_fields/<layer>``: the weights of the first layer; those of deeper layers projected to the
      input by `hebbian.diagnostics.projections`.

    At the end of a phase ``confusion`` is written, on all held-out samples, if their targets are classes.

    A training resumed from a checkpoint writes to the same folder: events after the checkpoint are removed.

    Parameters
    ----------
    folder
        For the event file; created if missing.
    image
        Height and width of the inputs, if they are flattened images.
    settings
        Settings of the run, shown in the cards and, with the metrics of the last phase (``final/accuracy``),
        on the page of hyper-parameters.
    alignment
        Also write ``angle_to_backprop/<layer>``, in degrees, once an epoch, for rules with a criterion.
    share
        Maximal fraction of a phase's wall-clock time for logging, if the first and the last epoch alone do
        not take more; `math.inf` to log every epoch.
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
        self.image = image
        self.settings = dict(settings or {})
        self.alignment = alignment
        self.share = share
        self._folder = folder
        self._earlier = _event_files(folder)
        self._writer = open_writer(folder)
        self._phase: _Phase | None = None
        self._final: Mapping[str, float] = {}

    def on_gradients(self, trainer: Training, objective: Tensor) -> None:
        """Add the objective to the epoch's sum, without waiting for a GPU."""
        phase = self._phase or self._begin(trainer)
        if phase.before is not None:
            phase.objective += objective.item() if objective.device.type == "cpu" else objective.float()
            phase.steps += 1

    def on_epoch(self, trainer: Training) -> None:
        """Write the epoch's curves and, at doubling intervals, all else; decide whether to log the next."""
        phase = self._phase
        if phase is None:
            return
        start = time.perf_counter()
        if phase.before is not None:
            record = Record(f"{trainer.phase}/")
            if trainer.epoch >= 2 * phase.looked:
                self._look(trainer, phase, record)
            self._add_curves(trainer, phase, record)
            record.write(self._writer, trainer.epoch)
        now = time.perf_counter()
        phase.spent += now - start
        if phase.looked == trainer.epoch:
            phase.reserve = now - start
        if phase.spent + phase.reserve <= self.share * (now - phase.start):
            phase.before = _copied_weights(trainer.rule.model)
            phase.spent += time.perf_counter() - now

    def on_phase(self, trainer: Training) -> None:
        """Write the state at the end of the phase."""
        phase, self._phase = self._phase, None
        if phase is None:  # it ended before the checkpoint from which the training is resumed
            return
        record = Record(f"{trainer.phase}/")
        if phase.looked != trainer.epoch:
            self._look(trainer, phase, record)
        if phase.written != trainer.epoch:
            phase.before = None
            self._add_curves(trainer, phase, record)
        if trainer.held_out is not None and (y := trainer.held_out[1]) is not None:
            self._final = trainer.evaluate()
            if "accuracy" in self._final:
                record.add_image("confusion", confusion(_counts(trainer.scores(), y)))
        record.write(self._writer, trainer.epoch)
        self._writer.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the phase and the sizes of the event files."""
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
        """Restore `state_dict`; later events are removed from earlier files."""
        for path in self._earlier:
            if path.name in state["files"]:
                os.truncate(path, state["files"][path.name])
            else:
                path.unlink()
        self._final, self._phase = state["final"], None
        if (phase := state["phase"]) is not None:
            self._phase = _Phase(**{**phase, "start": time.perf_counter() + phase["start"]})

    def close(self) -> None:
        """Write settings and final metrics, and close the event file."""
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
            self._writer.close()  # a failed run has no final metrics

    def _begin(self, trainer: Training) -> _Phase:
        self._phase = phase = _Phase(time.perf_counter(), before=_copied_weights(trainer.rule.model))
        self._writer.add_text(f"{trainer.phase}/card", _card(trainer, self.settings), trainer.epoch)
        phase.spent = time.perf_counter() - phase.start
        return phase

    def _add_curves(self, trainer: Training, phase: _Phase, record: Record) -> None:
        """Add the epoch's curves; those of the whole epoch only if it was logged from its start."""
        curves = {
            **trainer.evaluate(_CURVE),
            **_rates(trainer.optimizer),
            **_norm_errors(trainer.rule),
            **(_angles(trainer) if self.alignment else {}),
        }
        if phase.before is not None:
            curves |= _relative_updates(phase.before, _weights(trainer.rule.model))
            if getattr(trainer.rule, "criterion", None) is not None:
                curves["objective"] = float(phase.objective) / phase.steps
        record.add_scalars(curves)
        phase.before, phase.objective, phase.steps, phase.written = None, 0.0, 0, trainer.epoch

    def _look(self, trainer: Training, phase: _Phase, record: Record) -> None:
        """Add histograms and images, and statistics of the units."""
        phase.looked = trainer.epoch
        for path, w in _weights(trainer.rule.model).items():
            record.add_histogram(_tag("weights", path), _spread(w.flatten(), _VALUES))
        x = None if trainer.held_out is None else _spread(trainer.held_out[0], _PROBES)
        for path, weights in weight_images(trainer.rule.model, x, self.image, _UNITS).items():
            page = (255 * receptive_fields(weights)).astype(np.uint8)
            record.add_image(_tag("receptive_fields", path), Image.fromarray(page.transpose(1, 2, 0)))
        if x is None:
            return
        for path, activity in trainer.activities(_PROBES).items():
            record.add_histogram(_tag("activity", path), _spread(activity.flatten(), _VALUES))
            record.add_scalars(
                {
                    _tag("dead_units", path): diagnostics.dead(activity).double().mean().item(),
                    _tag("selectivity", path): diagnostics.selectivity(activity).mean().item(),
                }
            )

    def _write_hyperparameters(self) -> None:
        from torch.utils.tensorboard.summary import hparams

        # SummaryWriter.add_hparams would create a second run.
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
    return values.index_select(0, torch.arange(most, device=values.device) * len(values) // most)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {path: synaptic(model, path).weight.detach() for path in weight_layers(model)}


def _copied_weights(model: nn.Module) -> dict[str, Tensor]:
    return {path: w.clone() for path, w in _weights(model).items()}


def _relative_updates(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> dict[str, float]:
    return {
        _tag("relative_update", path): diagnostics.relative_update(w.to(now[path]), now[path])
        for path, w in before.items()
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
    """Count the samples of each true class (row) by predicted class (column)."""
    p = probabilities(scores)
    classes = p.shape[1]
    pairs = y.flatten().long() * classes + p.argmax(1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu().numpy()


def _card(trainer: Training, settings: Mapping[str, str | float]) -> str:
    """Return model, optimizer and settings in Markdown."""
    parameters = sum(p.numel() for p in trainer.rule.parameters() if p.requires_grad)
    rows = {**settings, "trainable parameters": f"{parameters:,}", "torch": torch.__version__}
    table = "\n".join(["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])
    return f"Research use only.\n\n{table}\n\n```\n{trainer.rule}\n\n{trainer.optimizer}\n```"
