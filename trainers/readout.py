"""Readouts: what can be predicted from the features of a model that no longer learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hebbian.rule import Rule
from hebbian.synapse import synaptic, weight_layers
from trainers.data.batches import TrainingData
from trainers.recipes import Scale


def last_linear(model: nn.Module) -> nn.Linear:
    """Return the last layer of ``model``.

    Raises
    ------
    TypeError
        If its last weight layer is not a Linear with a bias.
    """
    path = weight_layers(model)[-1]
    layer = synaptic(model, path)
    if not isinstance(layer, nn.Linear) or layer.bias is None:
        raise TypeError(f"the last weight layer is {layer} at {path!r}; a readout needs a Linear with a bias")
    return layer


def with_dropout(model: nn.Module, readout: nn.Linear) -> nn.Module:
    """Return ``readout``, preceded by the dropout that directly precedes it in ``model``, if any."""
    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    before = leaves[leaves.index(readout) - 1]
    return nn.Sequential(before, readout) if isinstance(before, nn.Dropout) else readout


class Convert(nn.Module):
    """Converts features that are stored in another data type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` in the data type."""
        return h.to(self.dtype)


class Features(nn.Module):
    """Maps inputs (N, ...) of ``model`` to the inputs (N, D) of its ``readout``, in ``dtype``.

    Raises
    ------
    TypeError
        When called, if the scores of ``model`` are not the output of ``readout``.
    """

    def __init__(self, model: nn.Module, readout: nn.Linear, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model, self.readout, self.dtype = model, readout, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of ``x``."""
        seen: list[Tensor] = []
        tap = self.readout.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
        try:
            scores = self.model(x)
        finally:
            tap.remove()
        (h,) = seen
        if not torch.allclose(self.readout(h), scores, equal_nan=True):
            raise TypeError(
                "the scores are not the output of the last Linear; move the layers after it into the loss"
            )
        return h if self.dtype is None else h.to(self.dtype)


@dataclass(frozen=True)
class Scaling:
    """z = (h - shift) / scale; both (D,), or scalars; fitted to a number of ``samples``."""

    shift: Tensor
    scale: Tensor
    samples: int

    def __call__(self, h: Tensor) -> Tensor:
        """Scale features (N, D)."""
        return (h - self.shift) / self.scale

    def apply_(self, h: Tensor) -> Tensor:
        """Scale features in place: those in a memory-mapped file may exceed the memory."""
        return h.sub_(self.shift).div_(self.scale)

    def pool(self, other: Scaling) -> Scaling:
        """Return the scaling for the samples of both.

        Shifts are means, and scales standard deviations; without shifts, the root mean square of the scales.
        """
        samples = self.samples + other.samples
        parts = [(part.samples / samples, part) for part in (self, other)]
        shift = sum((weight * part.shift for weight, part in parts), torch.zeros_like(self.shift))
        variance = sum(
            (weight * (part.scale**2 + (part.shift - shift) ** 2) for weight, part in parts),
            torch.zeros_like(self.scale),
        )
        return Scaling(shift, variance.sqrt(), samples)


def fit_scaling(h: Tensor, kind: Scale) -> Scaling:
    """Fit the scaling of features (N, D); a constant feature is only shifted.

    Raises
    ------
    ValueError
        If ``kind`` is ``mean`` and the mean is not positive.
    """
    return _SCALINGS[kind](h)


def _unscaled(h: Tensor) -> Scaling:
    return Scaling(h.new_zeros(()), h.new_ones(()), len(h))


def _by_mean(h: Tensor) -> Scaling:
    mean = h.mean()
    if not mean > 0:
        raise ValueError(
            f"the mean of the features is {mean:.3g}; scale 'mean' needs a positive one; use 'standard'"
        )
    return Scaling(torch.zeros_like(mean), mean, len(h))


def _standard(h: Tensor) -> Scaling:
    spread, mean = torch.std_mean(h, 0, correction=0)
    return Scaling(mean, torch.where(spread > 0, spread, 1.0), len(h))


_SCALINGS: dict[Scale, Callable[[Tensor], Scaling]] = {
    "none": _unscaled,
    "mean": _by_mean,
    "standard": _standard,
}


@torch.no_grad()
def fold_scaling(scaling: Scaling, readout: nn.Linear) -> None:
    """Change ``readout`` such that its output for h is the former output for ``scaling(h)``."""
    readout.weight.div_(scaling.scale)
    readout.bias.sub_((readout.weight * scaling.shift).sum(1))


@torch.no_grad()
def unfold_scaling(scaling: Scaling, readout: nn.Linear) -> None:
    """Change ``readout`` such that its output for ``scaling(h)`` is the former output for h."""
    readout.bias.add_((readout.weight * scaling.shift).sum(1))
    readout.weight.mul_(scaling.scale)


class ClassifierReadout(Rule):
    """A trained model whose last layer is replaced by a fitted scikit-learn classifier.

    `predict` has no gradient, so it can be explained by occlusion only; the classifier is not part of the
    ``state_dict``.

    Parameters
    ----------
    model
        The model; its last layer is not used.
    scaling
        Scaling of the features before the classifier.
    classifier
        With ``predict_proba`` or ``decision_function``, fitted on classes 0 to K - 1.
    classes
        Number of scores K; 1 for one logit.

    Raises
    ------
    ValueError
        If the classifier was fitted without samples of some class.
    """

    def __init__(self, model: nn.Module, scaling: Scaling, classifier: Any, classes: int) -> None:
        super().__init__(model)
        if list(classifier.classes_) != list(range(max(classes, 2))):
            raise ValueError(
                f"the training data have classes {list(classifier.classes_)}; "
                f"a classifier needs samples of all {max(classes, 2)} classes"
            )
        self.features = Features(model, last_linear(model))
        self.scaling, self.classifier, self.classes = scaling, classifier, classes

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return log probabilities, or decision values of classifiers without probabilities, as (N, K)."""
        h = self.scaling(self.features(x))
        scores = torch.from_numpy(_scores(self.classifier, h.cpu().numpy())).to(h)
        return scores[:, 1:] - scores[:, :1] if self.classes == 1 else scores


def fit_classifier(classifier: Any, data: TrainingData) -> Any:
    """Fit a scikit-learn classifier to features (N, D) and targets, (N,) or (N, 1)."""
    x = data.x[:].cpu()
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # NumPy has no bfloat16
    return classifier.fit(x.numpy(), data.y.flatten().long().cpu().numpy())


def _scores(classifier: Any, h: np.ndarray) -> np.ndarray:
    if hasattr(classifier, "predict_proba"):
        return np.log(classifier.predict_proba(h).clip(np.finfo(np.float32).tiny))
    decision = classifier.decision_function(h)
    return decision if decision.ndim == 2 else np.stack([-decision / 2, decision / 2], 1)
