"""Embeddings of windows: the input of a network's readout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eeg.models.local_readout import OwnReadout
from trainers.data.rows import Inputs


def find_readout(network: nn.Module) -> nn.Linear | None:
    """Return the last linear layer of a network; None if it has none or its rule reads out differently."""
    if isinstance(network, OwnReadout):
        return None
    return next((m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), None)


@torch.no_grad()
def embed(network: nn.Module, x: Inputs, batch: int = 64) -> Tensor:
    """Return the input of a network's readout (`find_readout`) for windows, (N, C, T) -> (N, D).

    Raises
    ------
    ValueError
        If the network has no linear readout.
    """
    last = find_readout(network)
    if last is None:
        raise ValueError(
            f"{type(network).__name__} has no linear readout; expected a network that ends in nn.Linear"
        )
    inputs: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].flatten(1)))
    try:
        network.eval()
        for part in x.split(batch):
            network(part)
    finally:
        hook.remove()
    return torch.cat(inputs)
