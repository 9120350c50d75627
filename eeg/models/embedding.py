"""How a network sees windows: what its readout is given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eeg.models.local_readout import OwnReadout


def readout(network: nn.Module) -> nn.Linear | None:
    """Return a network's last linear layer; None where it has none, or a rule reads out in another way."""
    if isinstance(network, OwnReadout):
        return None
    return next((m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), None)


@torch.no_grad()
def embed(network: nn.Module, x: Tensor, batch: int = 64) -> Tensor:
    """Return what a network's `readout` is given for windows, (N, C, T) -> (N, D).

    Raises
    ------
    ValueError
        If it has none.
    """
    last = readout(network)
    if last is None:
        raise ValueError(f"{type(network).__name__} has no linear readout whose input could be looked at")
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1)))
    try:
        network.eval()
        for part in x.split(batch):
            network(part)
    finally:
        hook.remove()
    return torch.cat(seen)
