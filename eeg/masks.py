"""Coarse parts of a window that are taken out whole: stretches of time on a channel or on a region."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

_REGION = {
    **dict.fromkeys(("FP", "AF", "F"), "frontal"),
    **dict.fromkeys(("FT", "T", "TP"), "temporal"),
    **dict.fromkeys(("FC", "C"), "central"),
    **dict.fromkeys(("CP", "P"), "parietal"),
    **dict.fromkeys(("PO", "O", "I"), "occipital"),
}
_POSTERIOR_TEMPORAL = {"P7", "P8", "P9", "P10"}  # T5 and T6 of the older names, and their neighbours


def region(channel: str) -> str:
    """Return the region of a 10-10 electrode; ``other`` for any other name.

    One of frontal, temporal left, temporal right, central, parietal, occipital.
    """
    name = channel.upper()
    match = re.fullmatch(r"([A-Z]+)(Z|\d+)", name)
    if match is None or match[1] not in _REGION:
        return "other"
    found = "temporal" if name in _POSTERIOR_TEMPORAL else _REGION[match[1]]
    if found == "temporal" and match[2] != "Z":
        return f"temporal {'left' if int(match[2]) % 2 else 'right'}"
    return found


def groups(names: Sequence[str]) -> list[int]:
    """Give equal names one number, from 0 in order of appearance."""
    return [list(dict.fromkeys(names)).index(name) for name in names]


def cells(group: Sequence[int], n_times: int, length: int) -> Tensor:
    """Return a mask (1, C, T) that numbers the parts of a window: ``length`` samples of a group of channels.

    ``group`` numbers the group of each channel (C,), from 0; the last part of a group may be shorter.
    """
    stretch = torch.arange(n_times) // length
    count = int(stretch[-1]) + 1
    return (torch.tensor(list(group))[:, None] * count + stretch)[None]
