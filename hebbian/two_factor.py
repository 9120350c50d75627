"""Hebbian learning of chosen layers inside any model; whatever follows them learns from the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hebbian.plasticity import Plasticity
from hebbian.rule import Criterion, TappedRule
from hebbian.synapse import Synaptic, correlate, current, places, rows, surrogate, synaptic

Reduction = Literal["mean", "sum"]


@torch.no_grad()
def update(
    layer: Synaptic, x: Tensor, out: Tensor, plasticity: Plasticity, reduction: Reduction = "mean"
) -> Tensor:
    """Return the weight change, in the shape of the weight, that ``plasticity`` asks for.

    It is mean(gate xᵀ) - decay w over all samples and places, or the sum over them.  ``x`` is the
    layer's input and ``out`` its output.  Statistics are kept in the weight's dtype.
    """
    w, x = layer.weight, x.to(layer.weight.dtype)
    make = getattr(plasticity, "synapse", None)
    if make is not None:
        out = current(layer, x, make(w))
    elif layer.bias is not None:
        out = out - layer.bias.view(-1, *[1] * (0 if isinstance(layer, nn.Linear) else len(layer.stride)))
    u = rows(out.to(w.dtype), layer)
    gate, decay = plasticity(u, w.flatten(1))
    growth = correlate(layer, x, places(gate, layer, out)).flatten(1)
    forgetting = decay[:, None] * w.flatten(1) if decay.ndim == 1 else decay @ w.flatten(1)
    change = growth / len(u) - forgetting if reduction == "mean" else growth - len(u) * forgetting
    return change.view_as(w)


class Hebbian(TappedRule):
    """Layers named in ``plasticity`` learn by it, cut off from any error.

    What else lies before the last of these layers (biases, norms) cannot learn, for no error gets there.

    Parameters
    ----------
    model
        Any module.
    plasticity
        A two-factor rule for each path of a Linear, Conv1d, Conv2d or Conv3d layer of ``model``.
        Biases of these layers stay as they are.  A rule with memory belongs to one layer and goes to its
        device and dtype.
    criterion
        The loss by which the parameters that follow the last of these layers learn; without it
        nothing else learns and no targets are needed.
    reduction
        Whether the update is the mean over samples and places, or their sum.
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
            raise ValueError("nothing would learn: name a layer in `plasticity` or give a criterion")
        at: dict[Synaptic, Plasticity] = {synaptic(model, path): p for path, p in plasticity.items()}
        for layer, p in at.items():
            if hasattr(p, "check"):
                p.check(layer)
        memories = [p.to(layer.weight) for layer, p in at.items() if isinstance(p, nn.Module)]
        if len(set(memories)) < len(memories):
            raise ValueError("a plasticity with memory belongs to one layer: make one for each")
        super().__init__(model, at)
        self.plasticity = at
        self.criterion = criterion
        self.reduction: Reduction = reduction
        self.memories = nn.ModuleList(memories)

    def at(self, layer: Any, x: Tensor, out: Tensor, ledger: list[Any]) -> Tensor:
        """Note the layer's objective and pass its output on, detached."""
        with torch.autocast(x.device.type, enabled=False):  # near convergence growth and decay almost cancel
            change = update(layer, x.detach(), out.detach(), self.plasticity[layer], self.reduction)
        ledger.append(surrogate(layer.weight, change))
        return out.detach()

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the sum of the layers' surrogates and, where there is one, the criterion."""
        out, objectives = self.run(x)
        if self.criterion is not None:
            if y is None:
                raise ValueError("this rule has a criterion and needs targets: rule(x, y)")
            objectives.append(self.criterion(out, y))
        return torch.stack(objectives).sum()
