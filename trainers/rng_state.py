"""The states of the random number generators that a training uses."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def get_states(loader: object) -> dict[str, Any]:
    """Return the states of the global generators of torch, Python and NumPy, and of that of ``loader``.

    Rules use torch's; the others serve data sets and augmentations of users.
    """
    own = getattr(loader, "generator", None)
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    shared = {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
    }
    return {"shared": shared, "loader": None if own is None else own.get_state()}


def restore(states: dict[str, Any], loader: object) -> None:
    """Restore what `get_states` returned; only the generator of ``loader`` if ``shared`` is None."""
    shared, own = states["shared"], getattr(loader, "generator", None)
    if shared is not None:
        torch.set_rng_state(shared["torch"])
        if shared["cuda"]:
            torch.cuda.set_rng_state_all(shared["cuda"])
        random.setstate(shared["python"])
        np.random.set_state(shared["numpy"])  # noqa: NPY002
    if own is not None and states["loader"] is not None:
        own.set_state(states["loader"])
