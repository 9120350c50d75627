"""Layers that the papers use and torch has not."""

from __future__ import annotations

from torch import Tensor, nn


class RePU(nn.Module):
    """Rectified polynomial unit, f(u) = max(u, 0)^n (Krotov & Hopfield 2019, eq. 1)."""

    def __init__(self, n: float) -> None:
        super().__init__()
        if n <= 0:
            raise ValueError(f"n must be positive, got {n}")
        self.n = n

    def forward(self, u: Tensor) -> Tensor:
        """Return f(u), in the shape of ``u``."""
        return u.relu().pow(self.n)

    def extra_repr(self) -> str:
        """Show the power in the model's repr."""
        return f"n={self.n}"
