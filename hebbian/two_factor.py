"""Hebbian learning of chosen layers inside any model; the parameters after them learn from the labels.

A plasticity maps the currents u (samples, out) and the weights w (out, in) to the postsynaptic gate
(samples, out) and the decay, a vector (out,) or a matrix (out, out); the update is
dw = mean(gate xᵀ) - decay w.  It may define

- ``synapse(w)``, the weights that produce the currents, where these are not w itself;
- ``check(layer)``, which raises `ValueError` for a layer at which the rule cannot act;
- a class method ``for_layer(layer, **settings)``, where it depends on the layer.

A plasticity with state is an `nn.Module` and belongs to one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hebbian.rule import Criterion
from hebbian.rule_info import ANY_LAYERS, BuildContext, Object, Trait, register_rule
from hebbian.synapse import Synaptic, correlate, current, mark_plastic, places, rows, surrogate, synaptic
from hebbian.tapped import TappedRule

Update = tuple[Tensor, Tensor]
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
        The two-factor rule; its statistics are in the dtype of the weight.
    reduction
        Mean or sum over samples and places.
    """
    w, x = layer.weight, x.to(layer.weight.dtype)
    synapse = getattr(plasticity, "synapse", None)
    if synapse is not None:
        out = current(layer, x, synapse(w))
    elif layer.bias is not None:
        out = out - layer.bias.view(-1, *[1] * (0 if isinstance(layer, nn.Linear) else len(layer.stride)))
    u = rows(out.to(w.dtype), layer)
    gate, decay = plasticity(u, w.flatten(1))
    growth = correlate(layer, x, places(gate, layer, out)).flatten(1)
    forgetting = decay[:, None] * w.flatten(1) if decay.ndim == 1 else decay @ w.flatten(1)
    change = growth / len(u) - forgetting if reduction == "mean" else growth - len(u) * forgetting
    return change.view_as(w)


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
        for path, p in plasticity.items():
            if isinstance(p, type) or not callable(p):
                given = f"the class {p.__name__}" if isinstance(p, type) else repr(p)
                raise TypeError(
                    f"plasticity of layer {path!r} is {given}; expected a function such as oja, or an "
                    "instance such as SoftHebb()"
                )
        at: dict[Synaptic, Plasticity] = {synaptic(model, path): p for path, p in plasticity.items()}
        for layer, p in at.items():
            if hasattr(p, "check"):
                p.check(layer)
        stateful = [p.to(layer.weight) for layer, p in at.items() if isinstance(p, nn.Module)]
        if len(set(stateful)) < len(stateful):
            raise ValueError("a plasticity with state belongs to one layer: make one for each")
        super().__init__(model, plasticity)
        mark_plastic(self.layers)
        self.plasticity = at
        self.criterion = criterion
        self.reduction: Reduction = reduction
        self.memories = nn.ModuleList(stateful)

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Record the layer's update; return its output, detached.

        Parameters
        ----------
        layer, x, out, ledger
            As in `TappedRule.at`.
        """
        with torch.autocast(x.device.type, enabled=False):  # near convergence growth and decay almost cancel
            change = update(layer, x.detach(), out.detach(), self.plasticity[layer], self.reduction)
        ledger.append((layer, change))
        return out.detach()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, if there is one, the criterion."""
        out, changes = self.run(x)
        objectives = [surrogate(layer.weight, change) for layer, change in changes]
        if self.criterion is not None:
            if y is None:
                raise ValueError("this rule has a criterion and needs targets: rule(x, y)")
            objectives.append(self.criterion(out, y))
        return torch.stack(objectives).sum()
