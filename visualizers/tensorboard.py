"""A callback that writes what a training does for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from hebbian import diagnostics
from hebbian.hebbian import Hebbian
from hebbian.rule import Rule, probabilities
from hebbian.synapse import synaptic, weight_layers
from visualizers.curves import confusion
from visualizers.weights import pictures, receptive_fields

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
    held: tuple[Tensor, Tensor | None] | None

    def evaluate(self, most: int | None = None) -> Mapping[str, float]:
        """Return the metrics on the held-out data, or on ``most`` of them; none without targets."""
        ...

    def scores(self) -> Tensor:
        """Return the raw scores (N, K) of the held-out inputs."""
        ...


class TensorBoard:
    """Write curves once an epoch, and a closer look at epochs 1, 2, 4, 8 and so on and at the last.

    Tags begin with the phase:

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
    """

    def __init__(
        self,
        folder: Path,
        image: tuple[int, int] | None = None,
        *,
        settings: Mapping[str, str | float] | None = None,
        alignment: bool = False,
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self.image = image
        self.settings = dict(settings or {})
        self.alignment = alignment
        self._writer: SummaryWriter = SummaryWriter(str(folder))
        self._objectives: list[Tensor] = []
        self._before: dict[str, Tensor] | None = None  # the weights as they were an epoch ago
        self._final: Mapping[str, float] = {}

    def on_gradients(self, trainer: Training, objective: Tensor) -> None:
        """Keep the objective for the end of the epoch; reading it now would wait for the device."""
        if self._before is None:
            self._begin(trainer)
        if getattr(trainer.rule, "criterion", None) is not None:
            self._objectives.append(objective)

    def on_epoch(self, trainer: Training) -> None:
        """Write the epoch's curves and, at doubling intervals, all else."""
        curves = {
            **trainer.evaluate(_CURVE),
            **_rates(trainer.optimizer),
            **_norm_errors(trainer.rule),
            **self._movements(trainer),
            **(_angles(trainer) if self.alignment else {}),
        }
        if self._objectives:
            curves["objective"] = torch.stack(self._objectives).mean().item()
            self._objectives = []
        self._write_curves(trainer, curves)
        if trainer.epoch.bit_count() == 1:
            self._look(trainer)

    def on_phase(self, trainer: Training) -> None:
        """Look at what the phase ended with."""
        if trainer.epoch.bit_count() != 1:
            self._look(trainer)
        if trainer.held is not None and (y := trainer.held[1]) is not None:
            self._final = trainer.evaluate()
            figure = confusion(_counts(trainer.scores(), y))
            self._writer.add_figure(f"{trainer.phase}/confusion", figure, trainer.epoch)
        self._before = None
        self._writer.flush()

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

    def _begin(self, trainer: Training) -> None:
        self._writer.add_text(f"{trainer.phase}/card", _card(trainer, self.settings), trainer.epoch)
        self._before = _weights(trainer.rule.model)

    def _movements(self, trainer: Training) -> dict[str, float]:
        before, now = self._before or {}, _weights(trainer.rule.model)
        self._before = now
        return {_tag("movement", path): diagnostics.movement(w, now[path]) for path, w in before.items()}

    def _look(self, trainer: Training) -> None:
        for path, w in _weights(trainer.rule.model).items():
            self._write_histogram(trainer, _tag("weights", path), w)
        x = None if trainer.held is None else _spread(trainer.held[0], _PROBES)
        for path, picture in pictures(trainer.rule.model, x, self.image, _UNITS).items():
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


def _tag(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _spread(values: Tensor, most: int) -> Tensor:
    """Return at most ``most`` of the values along the first axis, evenly spaced."""
    if len(values) <= most:
        return values
    return values[torch.arange(most, device=values.device) * len(values) // most]


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {path: synaptic(model, path).weight.detach().clone() for path in weight_layers(model)}


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
    x, y = trainer.held or (None, None)
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
