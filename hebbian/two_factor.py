"""Hebbian learning of chosen layers inside any model; the parameters after them learn from the labels.

A plasticity maps the currents u (samples, out) and the weights w (out, in) to the postsynaptic gate
(samples, out), a tensor or `Winners`, and the decay: a factor for each unit (out,), or the term itself that
is subtracted (out, in).  The update is dw = mean(gate xᵀ) - decay w.  It may define

- ``synapse(w)``, the weights that produce the currents, in the shape of w; w itself where these do;
- ``check(layer)``, which raises `ValueError` for a layer at which the rule cannot act;
- a class method ``for_layer(layer, **settings)``, where it depends on the layer.

A plasticity with state is an `nn.Module` and belongs to one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from hebbian.rule import Criterion, Rule, check_criterion, check_model, describe, refuse_low_precision
from hebbian.rule_info import ANY_LAYERS, BuildContext, Object, Trait, register_rule
from hebbian.synapse import (
    Synaptic,
    correlate,
    current,
    folded,
    from_memory_order,
    in_memory_order,
    is_faster_unfolded,
    places,
    rows,
    surrogate,
    synaptic,
    unfolded,
)
from hebbian.tapped import TappedRule


@dataclass(frozen=True)
class Winners:
    """A gate that is 0 for all but k units of each sample, so that only their weights need to be visited.

    Parameters
    ----------
    units
        Indices (samples, k), distinct in each row.
    gates
        The gate of each of the k columns.
    """

    units: Tensor
    gates: Sequence[float]

    def sum(self, values: Tensor, units: int) -> Tensor:
        """Return the sum over samples of gate times value, (units, ...).

        Parameters
        ----------
        values
            A value for each winner (samples, k, ...).
        units
            Number of units.
        """
        result = values.new_zeros(units, *values.shape[2:])
        for j, gate in enumerate(self.gates):
            result.index_add_(0, self.units[:, j], values[:, j], alpha=gate)
        return result

    def grow(self, x: Tensor, units: int) -> Tensor:
        """Return the sum over samples of gate times input (samples, in), (units, in)."""
        return self.sum(x[:, None].expand(-1, len(self.gates), -1), units)

    def dense(self, u: Tensor) -> Tensor:
        """Return the gate as a tensor in the shape of the currents ``u``."""
        return torch.zeros_like(u).scatter_(1, self.units, u.new_tensor(self.gates).expand_as(self.units))


Update = tuple[Tensor | Winners, Tensor]
Plasticity = Callable[[Tensor, Tensor], Update]
Reduction = Literal["mean", "sum"]


def register_plasticity(
    *,
    name: str,
    source: str,
    traits: Collection[Trait] = (),
    needs: str = "",
    **preset: Any,
) -> Callable[[Object], Object]:
    """Register the decorated plasticity, a function or a class, as a two-factor rule.

    Parameters
    ----------
    name, source
        See `hebbian.rule_info.register_rule`.
    traits
        In addition to ``local``.
    needs
        In addition to Linear or ConvNd layers.
    **preset
        Arguments of the class under this name, unless the user sets them.

    Returns
    -------
    callable
        A decorator.
    """
    groups = ", without groups" if "no groups" in traits else ""

    def build(plasticity: Any, context: BuildContext) -> Hebbian:
        settings = {**preset, **context.settings}
        reduction = settings.pop("reduction", "mean")
        at = {
            path: _at_layer(plasticity, synaptic(context.model, path), {**settings, **own})
            for path, own in context.layers.items()
        }
        return Hebbian(context.model, at, context.criterion, reduction)

    return register_rule(
        name=name,
        family="two-factor",
        source=source,
        needs="; ".join(filter(None, (ANY_LAYERS + groups, needs))),
        build=build,
        traits={"local", *traits},
        supervised=False,
        at_layers=True,
        layer_settings=True,
    )


def _at_layer(plasticity: Any, layer: Synaptic, settings: Mapping[str, Any]) -> Plasticity:
    """Return the plasticity of one layer: a function itself, or an instance of a class."""
    if not isinstance(plasticity, type):
        if settings:
            raise TypeError(f"{plasticity.__name__} takes no settings, got {', '.join(settings)}")
        return plasticity
    if hasattr(plasticity, "for_layer"):
        return plasticity.for_layer(layer, **settings)
    return plasticity(**settings)


@torch.no_grad()
def update(
    layer: Synaptic, x: Tensor, out: Tensor, plasticity: Plasticity, reduction: Reduction = "mean"
) -> Tensor:
    """Return the weight change of a plasticity, in the shape of the weight.

    It is mean(gate xᵀ) - decay w over all samples and places, or the sum over them.

    Parameters
    ----------
    layer
        The layer that learns.
    x
        Its input (N, ...).
    out
        Its output (N, ...), with bias.
    plasticity
        The two-factor rule; its statistics are in the dtype of the weight, at least float32.
    reduction
        Mean or sum over samples and places.
    """
    weight = layer.weight
    dtype = torch.promote_types(weight.dtype, torch.float32)
    w, x = weight.to(dtype), x.to(dtype)
    producing = plasticity.synapse(w) if hasattr(plasticity, "synapse") else w
    if producing is not weight:
        out = current(layer, x, producing)
    elif layer.bias is not None:
        out = out - layer.bias.view(-1, *[1] * (0 if isinstance(layer, nn.Linear) else len(layer.stride)))
    u = rows(out.to(dtype), layer)
    inputs = in_memory_order(w, w).flatten(1)
    gate, decay = _checked(plasticity(u, inputs), plasticity)
    if decay.shape not in (w.shape[:1], inputs.shape):
        raise ValueError(
            f"{plasticity} returns a decay of shape {tuple(decay.shape)}; expected a factor for each unit "
            f"{tuple(w.shape[:1])}, or the term that is subtracted {tuple(inputs.shape)}"
        )
    change = in_memory_order(_growth(layer, x, gate, u, out), w).flatten(1).div_(len(u))
    if decay.ndim == 1:
        change.addcmul_(decay[:, None], inputs, value=-1)
    else:
        change.sub_(decay)
    if reduction == "sum":
        change.mul_(len(u))
    return from_memory_order(change, w).to(weight.dtype)


def _checked(change: object, plasticity: Plasticity) -> Update:
    # Tuples of types: PyTorch 2.7 compiles no isinstance of a union.
    values = tuple(change) if isinstance(change, (tuple, list)) else (change,)
    if len(values) == 2 and isinstance(values[0], (Tensor, Winners)) and isinstance(values[1], Tensor):
        return values[0], values[1]
    got = ", ".join(type(value).__name__ for value in values)
    raise TypeError(f"{plasticity} returns ({got}); expected two tensors, the gate and the decay")


def _growth(layer: Synaptic, x: Tensor, gate: Tensor | Winners, u: Tensor, out: Tensor) -> Tensor:
    """Return sum over samples of gate xᵀ, in the shape of the weight."""
    if isinstance(gate, Tensor):
        return correlate(layer, x, places(gate, layer, out))
    if not gate.gates:
        return torch.zeros_like(layer.weight, dtype=x.dtype)
    if isinstance(layer, nn.Linear):
        return gate.grow(x.flatten(0, -2), layer.out_features)
    if is_faster_unfolded(layer, x):
        parts = (Winners(gate.units[part], gate.gates).grow(h, u.shape[1]) for part, h in unfolded(layer, x))
        return folded(reduce(Tensor.add_, parts), layer)
    return correlate(layer, x, places(gate.dense(u), layer, out))


class Hebbian(TappedRule):
    """Chosen layers learn by a two-factor rule each, without any error signal.

    Parameters that the model uses before the last of these layers in its forward pass (biases, norms) do not
    learn: no error reaches them, also not by a skip connection past the layer.

    Parameters
    ----------
    model
        Any module.
    plasticity
        A two-factor rule for each path of a Linear, Conv1d, Conv2d or Conv3d layer of ``model``.
        Biases of these layers do not change.  A plasticity with state belongs to one layer and moves to
        its device and dtype.
    criterion
        The loss by which the parameters that are used after the last of these layers learn; without it
        nothing else learns and no targets are needed.
    reduction
        Whether the update is the mean over samples and places, or their sum.

    Examples
    --------
    >>> import torch
    >>> from hebbian import Hebbian, oja
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> rule = Hebbian(model, {"0": oja})
    >>> rule(torch.randn(5, 4)).backward()
    >>> model[0].weight.grad.shape
    torch.Size([8, 4])
    """

    plastic = True

    def __init__(
        self,
        model: nn.Module,
        plasticity: Mapping[str, Plasticity],
        criterion: Criterion | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
        if not plasticity and criterion is None:
            raise ValueError("nothing to train: name a layer in `plasticity` or give a criterion")
        if not isinstance(plasticity, Mapping):
            raise TypeError(
                f"the plasticity is {describe(plasticity)}; expected a mapping from paths of layers, such as "
                '{"0": SoftHebb()}'
            )
        check_model(model)
        for path, p in plasticity.items():
            if isinstance(p, type | Rule | _Loss) or not callable(p) or p in vars(F).values():
                raise TypeError(
                    f"the plasticity of layer {path!r} is {describe(p)}; expected a function such as oja, or "
                    "an instance such as SoftHebb()"
                )
        at: dict[Synaptic, Plasticity] = {synaptic(model, path): p for path, p in plasticity.items()}
        for layer, p in at.items():
            if hasattr(p, "check"):
                p.check(layer)
        stateful = [p.to(layer.weight) for layer, p in at.items() if isinstance(p, nn.Module)]
        if len(set(stateful)) < len(stateful):
            raise ValueError("a plasticity with state belongs to one layer: make one for each")
        super().__init__(model, plasticity)
        self.plasticity = at
        self.criterion = check_criterion(criterion)
        self.reduction: Reduction = reduction
        self.memories = nn.ModuleList(stateful)

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Record the layer's update; return its output, detached.

        Parameters
        ----------
        layer, x, out, ledger
            As in `TappedRule.at`.
        """
        if isinstance(self.plasticity[layer], nn.Module):  # its state changes by small steps
            refuse_low_precision([(f"{self.layers[layer]}.weight", layer.weight)])
        with torch.autocast(x.device.type, enabled=False):  # near convergence growth and decay almost cancel
            change = update(layer, x.detach(), out.detach(), self.plasticity[layer], self.reduction)
        ledger.append((layer, change))
        return out.detach()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, if there is one, the criterion."""
        if self.criterion is None:
            return torch.stack([surrogate(layer.weight, change) for layer, change in self.observe(x)]).sum()
        if y is None:
            raise ValueError("this rule has a criterion and needs targets: rule(x, y)")
        out, changes = self.run(x)
        objectives = [surrogate(layer.weight, change) for layer, change in changes]
        return torch.stack([*objectives, self.criterion(out, y)]).sum()
