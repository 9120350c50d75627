"""Where a run's random numbers stand, and how to go back there."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def states(loader: object) -> dict[str, Any]:
    """Return where torch's, Python's and NumPy's shared generators stand, and that of ``loader``.

    Rules draw from torch's; the others are there for the data sets and augmentations of users.  All are
    tensors and plain values.
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
    """Go back to what `states` returned; where ``shared`` is None, with the loader's generator alone."""
    shared, own = states["shared"], getattr(loader, "generator", None)
    if shared is not None:
        torch.set_rng_state(shared["torch"])
        if shared["cuda"]:
            torch.cuda.set_rng_state_all(shared["cuda"])
        random.setstate(shared["python"])
        np.random.set_state(shared["numpy"])  # noqa: NPY002
    if own is not None and states["loader"] is not None:
        own.set_state(states["loader"])
