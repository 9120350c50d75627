"""The samples of an EDF in which all electrodes have one sampling rate, also in single precision."""

from collections.abc import Sequence
from typing import Any

import mne
import numpy as np

from eeg.io.edf_header import EdfHeader, Signal


class EdfRaw(mne.io.BaseRaw):  # type: ignore[misc]  # MNE has no types
    """A recording that MNE opened, whose samples are read here, bit for bit as MNE reads them.

    Parameters
    ----------
    opened
        The recording, of which channels, annotations and file are taken.
    header
        The header of its file.
    signals
        Its channels in the header, in their order.
    """

    def __init__(self, opened: mne.io.BaseRaw, header: EdfHeader, signals: Sequence[Signal]) -> None:
        places = np.array([signal.place.start // 2 for signal in signals])
        scales = np.array([signal.scale for signal in signals])
        sizes = header.header_bytes, header.record_bytes // 2, opened.n_times // header.records
        super().__init__(
            opened.info,
            last_samps=[opened.n_times - 1],
            filenames=opened.filenames,
            raw_extras=[{"layout": (*sizes, places, scales)}],
            orig_format="int",
            orig_units=opened._orig_units,
            verbose="error",
        )
        self.set_annotations(opened.annotations, verbose="error")

    def read_single(self, picks: Sequence[int], start: int, stop: int) -> np.ndarray:
        """Return samples ``start`` to ``stop`` of some channels, (C, T) float32, V."""
        volts = np.empty((len(picks), stop - start), np.float32)
        self._read_segment(start, stop, np.array(picks), data_buffer=volts)
        return volts

    def _read_segment_file(
        self, data: np.ndarray, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
    ) -> None:
        """Fill ``data`` with samples ``start`` to ``stop``, as MNE requires of readers."""
        begin, record, size, places, scales = self._raw_extras[fi]["layout"]
        first, count = start // size, -(-stop // size) - start // size
        whole = np.fromfile(self.filenames[fi], "<i2", count * record, offset=begin + 2 * first * record)
        records = whole.reshape(count, record)
        digital = np.empty((len(places[idx]), count, size), np.int16)
        for channel, place in zip(digital, places[idx], strict=True):
            channel[:] = records[:, place : place + size]
        inside = digital.reshape(len(digital), -1)[:, start - first * size :][:, : stop - start]
        gain, offset, unit = scales[idx].T[:, :, None].astype(data.dtype)
        volts = data if mult is None else np.empty(inside.shape)
        np.multiply(inside, gain, out=volts)
        volts += offset
        volts *= unit
        if mult is not None:
            data[:] = mult @ volts
