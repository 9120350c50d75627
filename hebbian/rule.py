"""The interface of a learning rule: a module whose forward returns the objective to descend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

if TYPE_CHECKING:
    from hebbian.report import Report

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(scores (N, K), targets) -> scalar, the mean over the batch, as torch's loss modules do."""

Forward = TypeVar("Forward", bound=Callable[..., Tensor])
AnyCriterion = TypeVar("AnyCriterion", bound=Criterion | None)


class Rule(nn.Module):
    """A model together with a method to compute updates of its parameters.

    ``rule(x, y)`` returns a scalar; after ``backward()`` every parameter's ``.grad`` is *minus* the
    update of the rule, so any `torch.optim` optimizer, gradient scaler or `DistributedDataParallel`
    works as with a loss.  For rules that do not descend a loss the value of the scalar has no meaning:
    plot metrics of `predict` instead.

    The state of a rule (feedback weights, running thresholds, traces) is in buffers and parameters of the
    rule.  ``model`` remains an ordinary module: ``model(x)`` is unchanged.
    """

    def __init__(self, model: nn.Module) -> None:
        check_model(model)
        super().__init__()
        self.model = model

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return `forward`.

        Raises
        ------
        ValueError
            For an empty batch, of which no rule has a mean.
        NotFiniteError
            On a CPU, outside of compiled code and `torch.vmap`, if ``x`` or ``y`` is NaN or infinite; the
            state of the rule has not changed.  On a GPU a check would wait for the device each time;
            `trainers.Trainer` makes one every 100 steps.
        """
        if not len(x):
            raise ValueError("the batch is empty; expected at least one sample")
        for name, values in (("x", x), ("y", y)):
            if _is_on_cpu(values):
                with suppress(RuntimeError):  # many tensors in one under vmap, or none but their shape
                    check_finite(name, values)
        objective: Tensor = super().__call__(x, y)
        return objective

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the scalar objective of inputs ``x`` (N, ...) and targets ``y``."""
        raise NotImplementedError

    def predict(self, x: Tensor) -> Tensor:
        """Return raw scores (N, K); K = 1 is one logit for class 1.

        Examples
        --------
        >>> import torch
        >>> from hebbian import Backprop, probabilities
        >>> rule = Backprop(torch.nn.Linear(4, 3), torch.nn.CrossEntropyLoss())
        >>> probabilities(rule.predict(torch.zeros(2, 4))).shape
        torch.Size([2, 3])
        """
        scores: Tensor = self.model(x)
        return scores

    def report(self, x: Tensor, y: Tensor | None = None) -> Report:
        """Return how each parameter learns: by the rule, by the criterion as in backprop, or not at all.

        Updates of ``x`` are computed by a copy in float64 and eval mode, and compared with those of backprop.

        Parameters
        ----------
        x, y
            A batch (N, ...) and its targets, by default the predicted classes.

        Returns
        -------
        Report
            A table if printed, with the names of `named_parameters`.

        Examples
        --------
        >>> import torch
        >>> from hebbian import Hebbian, oja
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        >>> print(Hebbian(model, {"0": oja}, torch.nn.CrossEntropyLoss()).report(torch.randn(5, 4)))
        Hebbian of Sequential
        <BLANKLINE>
        parameter       shape   learns
        model.0.weight  (8, 4)  by the rule
        model.0.bias    (8,)    not at all
        model.2.weight  (3, 8)  by the criterion
        model.2.bias    (3,)    by the criterion
        """
        from hebbian.report import report  # which imports this module

        return report(self, x, y)

    def inner_parameters(self) -> dict[nn.Parameter, str]:
        """Return the parameters to which backprop takes the error of the rule, and ``' inside ...'``."""
        return {}


def _is_on_cpu(values: object) -> TypeGuard[Tensor]:
    return isinstance(values, Tensor) and values.device.type == "cpu" and not torch.compiler.is_compiling()


class NotFiniteError(ValueError):
    """Inputs or targets are NaN or infinite."""


def check_finite(name: str, x: Tensor, first: int = 0) -> None:
    """Raise `NotFiniteError` that names the first sample of ``x`` (N, ...) with NaN or infinite values.

    Sample 0 of ``x`` is number ``first`` of the data called ``name``.
    """
    if not x.is_floating_point() or math.isfinite(x.sum(dtype=torch.float32).item()):
        return
    if not x.isfinite().all():  # a sum of finite numbers may overflow
        sample, *place = (~x.isfinite()).nonzero()[0].tolist()
        raise NotFiniteError(
            f"{name}: sample {first + sample} (from 0) is {x[sample, *place].item()} at {tuple(place)}; "
            "expected finite numbers: remove or replace such samples"
        )


def probabilities(scores: Tensor) -> Tensor:
    """Convert raw scores (N, K) into class probabilities (N, max(K, 2)).

    K = 1 is one logit, positive for class 1, so the columns are classes 0 and 1; K >= 2 is a softmax.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores must be (N, K), got {tuple(scores.shape)}")
    if scores.shape[1] == 1:
        return torch.cat([torch.sigmoid(-scores), torch.sigmoid(scores)], 1)
    return torch.softmax(scores, 1)


def predicted_targets(scores: Tensor) -> Tensor:
    """Return the predicted class of raw scores (N, K, ...), as targets of a criterion.

    Of one logit they are floating-point 0 or 1 in the shape of the scores, else integers (N, ...).
    """
    return (scores > 0).to(scores) if scores.shape[1] == 1 else scores.argmax(1)


def has_classes(scores: Tensor, y: Tensor) -> bool:
    """Return whether ``y``, (N,) or (N, 1), holds one of the classes of raw scores (N, K) for each sample.

    Classes are integers from 0 to K - 1; for one logit also floating-point 0 and 1.
    """
    if scores.ndim != 2 or y.shape not in ((len(scores),), (len(scores), 1)) or not len(y):
        return False
    k = scores.shape[1]
    if y.is_floating_point():
        return k == 1 and bool(((y == 0) | (y == 1)).all())
    return int(y.min()) >= 0 and int(y.max()) < max(k, 2)


def check_classes(y: Tensor, classes: int, count: int | None = None) -> None:
    """Raise `ValueError` if ``y`` is not (count,) labels, each of them a class from 0 to ``classes`` - 1.

    For rules that need a class of every sample, also where a criterion ignores some.  Not checked in a
    compiled graph.
    """
    if torch.compiler.is_compiling():
        return
    if y.is_floating_point() or y.shape != (len(y) if count is None else count,):
        raise ValueError(
            f"targets are {y.dtype} {tuple(y.shape)}; expected one class for each of {count or len(y)} "
            "samples, integers (N,): for one-hot targets y.argmax(1)"
        )
    if (bad := y[(y < 0) | (y >= classes)]).numel():
        raise ValueError(
            f"label {int(bad[0])}; expected classes 0 to {classes - 1}: leave out samples without a class"
        )


def check_model(model: nn.Module) -> None:
    """Refuse what no rule can train.

    Raises
    ------
    TypeError
        If ``model`` is not a module, is a rule itself, or contains an `nn.DataParallel`.
    ValueError
        If a layer has no weights yet.
    RuntimeError
        In `torch.inference_mode`, where buffers and parameters that learn cannot be made, or if the model was
        made there.
    """
    if not isinstance(model, nn.Module) or isinstance(model, Rule):
        raise TypeError(f"the model is {describe(model)}; expected an nn.Module that is not a rule")
    for path, module in model.named_modules():
        if isinstance(module, LazyModuleMixin):
            raise ValueError(
                f"layer {path!r} has no weights yet; run the model on a batch, then build the rule"
            )
        if isinstance(module, nn.DataParallel):
            raise TypeError(
                f"{f'layer {path!r}' if path else 'the model'} is an nn.DataParallel, which runs copies of "
                "layers; use the module inside it, and DistributedDataParallel around the rule"
            )
    if torch.is_inference_mode_enabled() or any(p.is_inference() for p in model.parameters()):
        raise RuntimeError("nothing made in torch.inference_mode learns; make model and rule outside of it")


def check_criterion(criterion: AnyCriterion) -> AnyCriterion:
    """Return ``criterion``.

    Raises
    ------
    TypeError
        If it is not a function of scores and targets with a scalar value, as far as can be seen.
    """
    if criterion is None:
        return criterion
    is_plasticity = hasattr(criterion, "_infos")
    if isinstance(criterion, type | Rule) or is_plasticity or not callable(criterion):
        raise TypeError(
            f"the criterion is {describe(criterion)}; expected a function of (scores, targets) or an "
            "instance, such as torch.nn.CrossEntropyLoss()"
        )
    if getattr(criterion, "reduction", None) == "none":
        raise TypeError(f"the criterion is {describe(criterion)} with reduction='none'; expected 'mean'")
    return criterion


def describe(value: object) -> str:
    """Return what ``value`` is, for messages.

    >>> describe(nn.Linear), describe(nn.ReLU()), describe(check_model), describe(3)
    ('the class Linear', 'an instance of ReLU', 'the function check_model', '3')
    """
    if isinstance(value, str | int | float | None):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, FunctionType):
        return f"the function {value.__name__}"
    return f"an instance of {type(value).__name__}"


def refuse_low_precision(named: Iterable[tuple[str, Tensor]]) -> None:
    """Raise `TypeError` if one of the tensors has fewer bits than float32.

    Small changes and differences of nearly equal numbers are lost in their rounding.
    """
    for name, tensor in named:
        if tensor.is_floating_point() and tensor.itemsize < 4:
            raise TypeError(
                f"{name!r} is {tensor.dtype}, in whose rounding the updates of this rule are lost; keep the "
                "weights in float32 and use torch.autocast"
            )


def check_tensor(what: str, out: object) -> None:
    """Raise `TypeError` if the output of a module is not a tensor."""
    if not isinstance(out, Tensor):
        raise TypeError(
            f"{what} returns a {type(out).__name__}, expected a tensor; wrap it in a module that returns one"
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set ``module`` to eval mode; afterwards restore the mode of every submodule."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def full_precision(forward: Forward) -> Forward:
    """Run a rule's ``forward`` in the dtype of its model, also under autocast.

    For rules that subtract nearly equal numbers; they refuse models of lower precision than float32.
    """

    @wraps(forward)
    def run(rule: Any, x: Tensor, y: Tensor | None = None) -> Tensor:
        refuse_low_precision(rule.model.named_parameters())
        if x.is_floating_point():
            x = x.to(next(rule.model.parameters()).dtype)
        with torch.autocast(x.device.type, enabled=False):
            return forward(rule, x, y)

    return cast(Forward, run)
