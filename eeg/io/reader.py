"""Reading a recording: any EEG format, converted to volts and one set of electrode names."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np

from eeg.io.edf import is_edf, open_edf
from eeg.io.edf_header import read_edf_header
from eeg.io.electrodes import (
    ear,
    electrode,
    harmonise,
    scalp_missing,
    standard_montage,
    strip_common_reference,
)
from eeg.io.gaps import sample_starts, stretches
from eeg.io.header import Header, header_from_edf, header_from_raw
from eeg.io.suffixes import is_plain_folder
from eeg.io.tables import read_table
from eeg.io.text import is_bonn_segment, is_emotiv, read_bonn, read_emotiv
from trainers.errors import DataError

PLAUSIBLE = (0.5e-6, 500e-6)
"""V: the range in which a typical channel of scalp EEG varies within a second."""

# MNE distinguishes channels of one name by a running number: "Fp1-0", "Fp1-1".
_RUNNING_NUMBER = re.compile(r"-\d+$")

_JOINTS = {"boundary", "new segment/", "edge boundary", "bad boundary"}  # EEGLAB, BrainVision, MNE itself
_LOOKS = 60  # seconds of a recording that its amplitude is estimated from


def read_recording(path: str | Path, *, preload: bool = True, ears: bool = False) -> mne.io.BaseRaw:
    """Read the scalp EEG of a recording.

    Parameters
    ----------
    path
        EDF, EDF+, BDF, FIF, BrainVision, EEGLAB or any other format that MNE reads by its suffix, the
        ``.csv``/``.csv.gz`` of an Emotiv EPOC (van Hees et al. 2018), or the ``.txt`` of a segment of
        the Bonn set (Andrzejak et al. 2001).
    preload
        Read the signals into memory; otherwise they are read on access.
    ears
        Include the electrodes at the ears and mastoids, as channels of type ``misc``.

    Returns
    -------
    The recording in volts: electrodes of the montage only, in the file's order and with their modern
    names, with positions and annotations; those that a ``channels.tsv`` of BIDS beside the file marks as
    bad are in ``info["bads"]``.  A segment of Bonn is one channel without a position.  Gaps of an EDF+D
    are zeros, annotated as in `eeg.io.gaps`.

    Raises
    ------
    DataError
        The file is missing, not EEG, truncated or joined from pieces, has two channels of one electrode,
        or a unit or amplitude that EEG cannot have.
    """
    return read_with_header(path, preload=preload, ears=ears)[0]


def read_with_header(
    path: str | Path, *, preload: bool = False, ears: bool = False
) -> tuple[mne.io.BaseRaw, Header]:
    """Read a recording as `read_recording` does, and its header."""
    path = Path(path)
    with reading(path):
        if is_bonn_segment(path):
            raw = read_bonn(path)
            return raw, header_from_raw(raw)
        if is_edf(path):
            fields = read_edf_header(path)
            header, raw = header_from_edf(fields), open_edf(path, fields, ears=ears)
        else:
            raw = open_raw(path)
            header = header_from_raw(raw)
        raw = _scalp(raw, path, ears)
        bad = _bad(path) | {*raw.info["bads"]}
        raw.info["bads"] = [name for name in raw.ch_names if name in bad]
        if preload:
            raw.load_data(verbose="error")
        _check_amplitude(raw, path)
    return raw, header


def read_header(path: Path) -> Header:
    """Read the header of a file; raises `DataError` if it is not a recording."""
    with reading(path):
        return header_from_edf(read_edf_header(path)) if is_edf(path) else header_from_raw(open_raw(path))


def from_raw(raw: mne.io.BaseRaw, *, ears: bool = False) -> mne.io.BaseRaw:
    """Return a copy of an opened recording in the form that `read_recording` returns; raises as it does."""
    path = Path(recording_file(raw))
    copy = _scalp(raw.copy(), path, ears)
    _check_amplitude(copy, path)
    return copy


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert any error while reading a recording to a `DataError` of one line."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if is_plain_folder(path):
        raise DataError(f"{path}: a folder; give recordings (files)")
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: empty, 0 bytes; copy or export it again")
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # each of MNE's thirty readers fails on foreign bytes in its own way
        cause = error.strerror if isinstance(error, OSError) else None
        reason = " ".join((cause or str(error)).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as EEG ({reason})") from error


def open_raw(path: Path) -> mne.io.BaseRaw:
    """Open a recording with all channels, named as in the file; raises what the format's reader raises."""
    if is_bonn_segment(path):
        return read_bonn(path)
    return read_emotiv(path) if is_emotiv(path) else mne.io.read_raw(path, verbose="error")


def sample(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return up to 60 seconds of a recording, spread evenly over it, (K, C, T) V."""
    second = max(round(raw.info["sfreq"]), 1)
    starts = sample_starts(stretches(raw), second, _LOOKS)
    return np.stack([raw[:, start : start + second][0] for start in starts])


def amplitude(raw: mne.io.BaseRaw) -> np.ndarray:
    """Estimate how much each channel varies within a second.

    Returns
    -------
    (C,) V: 1.4826 times the median absolute deviation within a second, the median over a `sample`: robust
    to drift and artefacts.
    """
    blocks = sample(raw)
    with np.errstate(invalid="ignore"):  # infinite values
        deviation = np.abs(blocks - np.median(blocks, axis=2, keepdims=True))
    return 1.4826 * np.median(np.median(deviation, axis=2), axis=0)


def recording_file(raw: mne.io.BaseRaw) -> str:
    """Return the path of a recording's file, for messages."""
    return str(next((name for name in raw.filenames if name), "recording"))


def _check_amplitude(raw: mne.io.BaseRaw, path: Path) -> None:
    sizes = amplitude(raw)
    finite = sizes[np.isfinite(sizes)]
    typical = float(f"{np.median(finite):.3g}") if finite.size else 0.0
    low, high = PLAUSIBLE
    if 0 < typical < low or typical > high:  # flat and non-finite channels are checked by name later
        raise DataError(
            f"{path}: a typical channel varies by {typical * 1e6:g} µV within a second; expected "
            f"{low * 1e6:g} to {high * 1e6:g} µV: fix the unit in the file"
        )


def _scalp(raw: mne.io.BaseRaw, path: Path, ears: bool) -> mne.io.BaseRaw:
    """Pick the scalp electrodes of ``raw``, with their modern names and positions."""
    written = {name: _RUNNING_NUMBER.sub("", name) for name in raw.ch_names}
    short = strip_common_reference([*written.values()])
    picks = {name: found for name, label in written.items() if (found := electrode(short[label]))}
    if not picks:
        raise scalp_missing(path, raw.ch_names)
    beside = {name: found for name, label in written.items() if ears and (found := ear(short[label]))}
    picks |= beside
    twice = [name for name, count in Counter(picks.values()).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: several channels for {', '.join(twice)}; expected one per electrode, remove the others"
        )
    raw.pick(list(picks), verbose="error").rename_channels(picks, verbose="error")
    types = {name: "misc" if name in beside.values() else "eeg" for name in raw.ch_names}
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    _refuse_joints(raw, path)
    return raw.set_montage(standard_montage(), verbose="error")


def _refuse_joints(raw: mne.io.BaseRaw, path: Path) -> None:
    """Refuse concatenated pieces: neither a filter nor a window may cross a joint."""
    for annotation in raw.annotations:
        onset = annotation["onset"] - raw.first_time
        inside = 0 < round(onset * raw.info["sfreq"]) < raw.n_times
        if inside and annotation["description"].lower() in _JOINTS:
            raise DataError(f"{path}: joined from pieces, such as at {onset:.1f} s; split it there")


def _bad(path: Path) -> set[str]:
    """Return the electrodes that the recording's ``channels.tsv``, if any, marks as bad."""
    table = path.with_name(path.stem.removesuffix("_eeg") + "_channels.tsv")
    if not table.is_file():
        return set()
    rows = read_table(table, {"name"}, delimiter="\t")
    short = strip_common_reference([row["name"] for row in rows])
    return {harmonise(short[row["name"]]) for row in rows if row.get("status") == "bad"}
