"""Recordings that several test modules write or read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edfio
import mne
import numpy as np
import pytest

DATA = Path(os.environ.get("HEBBIAN_DATA", "")) / "eeg"
needs_data = pytest.mark.skipif("HEBBIAN_DATA" not in os.environ, reason="HEBBIAN_DATA is not set")


def write_edf(
    path: Path,
    microvolts: Sequence[np.ndarray] | np.ndarray,
    names: Sequence[str],
    rates: int | Sequence[int] = 128,
    *,
    unit: str = "uV",
    limits: tuple[float, float] | None = None,
    filters: str = "",
    **fields: Any,
) -> Path:
    """Write an EDF+, or by its suffix a BDF+, in records of one second; ``fields`` as of `edfio.Edf`."""
    bdf = path.suffix == ".bdf"
    signals = [
        (edfio.BdfSignal if bdf else edfio.EdfSignal)(
            row, rate, label=name, physical_dimension=unit, physical_range=limits, prefiltering=filters
        )
        for name, row, rate in zip(names, microvolts, np.broadcast_to(rates, len(names)), strict=True)
    ]
    (edfio.Bdf if bdf else edfio.Edf)(signals, data_record_duration=1, **fields).write(path)
    return path


def write_fif(path: Path, volts: np.ndarray, names: Sequence[str], rate: float = 128.0) -> Path:
    """Write (C, T) volts in double precision."""
    raw = mne.io.RawArray(volts, mne.create_info(list(names), rate, "eeg"), verbose="error")
    raw.save(path, fmt="double", overwrite=True, verbose="error")
    return path
