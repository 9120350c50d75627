"""Reading a recording: any EEG format in, one naming of electrodes and volts out."""

import csv
import gzip
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TextIO

import mne
import numpy as np

from trainers.errors import DataError

TEN_TWENTY = (
    *("Fp1", "F3", "C3", "P3", "O1", "F7", "T7", "P7", "Fz", "Cz", "Pz"),
    *("Fp2", "F4", "C4", "P4", "O2", "F8", "T8", "P8"),
)
"""The 19 electrodes of the 10-20 system."""

MONTAGE = "colin27_1020"

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_EARS = {"A1", "A2", "M1", "M2"}  # known to the montage, but references rather than scalp

# "EEG Fp1-REF", "EEG T3-LE", "Fc5.": what recorders write around the electrode's name.  A second
# electrode ("Fp1-F7", "A2-A1") is no decoration: such a channel is a derivation.
_DECORATED = re.compile(r"(?:EEG[\s_:-]*)?(?P<electrode>\w+)(?:\s*-\s*(?:REF|LE|AR|AVG))?\.*", re.IGNORECASE)

# MNE tells channels of one name apart by a running number: "Fp1-0", "Fp1-1".
_RUNNING_NUMBER = re.compile(r"-\d+$")

# The Emotiv EPOC as exported for van Hees et al. 2018; the file itself names neither rate nor unit.
_EMOTIV_CHANNELS = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
_EMOTIV_RATE = 128.0  # Hz
_EMOTIV_UNIT = 1e-6  # V

_EDF_SIGNATURES = {b"0       ": 2, b"\xffBIOSEMI": 3}  # bytes a sample
_EDF_COUNTS = ((184, 192), (236, 244), (252, 256))  # where the header's bytes, records and signals stand


@cache
def _montage() -> mne.channels.DigMontage:
    return mne.channels.make_standard_montage(MONTAGE)


@cache
def _electrodes() -> dict[str, str]:
    """Modern name of every scalp electrode of the montage, by its name in capitals."""
    scalp = [name for name in _montage().ch_names if name not in _EARS]
    return {name.upper(): _OLD_NAMES.get(name, name) for name in scalp}


def harmonise(name: str) -> str:
    """Give a channel its modern 10-10 name, or leave it alone.

    Parameters
    ----------
    name
        A channel's name as a recorder writes it: ``EEG FP1-REF``, ``Fp1.``, ``EEG T3-LE``.

    Returns
    -------
    The electrode's name as the montage spells it (``Fp1``, ``Fp1``, ``T7``); ``name`` unchanged where
    it is no scalp electrode (``ECG``, ``A2-A1``) or the difference of two (``Fp1-F7``).
    """
    match = _DECORATED.fullmatch(name.strip())
    return _electrodes().get(match["electrode"].upper(), name) if match else name


def read(path: Path) -> mne.io.BaseRaw:
    """Read the scalp EEG of a recording.

    Parameters
    ----------
    path
        EDF, EDF+, BDF, FIF, BrainVision, EEGLAB or whatever else MNE reads by its suffix, or the
        ``.csv``/``.csv.gz`` of an Emotiv EPOC (van Hees et al. 2018).

    Returns
    -------
    The recording in volts and in memory: electrodes of the montage only, in the file's order and under
    their modern names, with positions and annotations.

    Raises
    ------
    DataError
        The file is missing, no EEG, cut short, or discontinuous, or names one electrode twice.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    try:
        return _scalp(_open(path), path).load_data(verbose="error")
    except DataError:
        raise
    except Exception as error:  # each of MNE's thirty readers fails on foreign bytes in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as EEG ({reason})") from error


def _open(path: Path) -> mne.io.BaseRaw:
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _read_emotiv(path)
    if path.suffix.lower() in {".edf", ".bdf"}:
        _check_edf(path)
    return mne.io.read_raw(path, verbose="error")


def _scalp(raw: mne.io.BaseRaw, path: Path) -> mne.io.BaseRaw:
    """Keep the scalp electrodes of ``raw``, under their modern names and at their places."""
    modern = {name: harmonise(_RUNNING_NUMBER.sub("", name)) for name in raw.ch_names}
    known = set(_electrodes().values())
    kept = {name: electrode for name, electrode in modern.items() if electrode in known}
    if not kept:
        found = ", ".join(raw.ch_names[:8])
        raise DataError(f"{path}: no scalp electrode among its channels ({found}); expected 10-10 names")
    twice = [electrode for electrode, count in Counter(kept.values()).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: several channels for {', '.join(twice)}; expected one an electrode, remove the others"
        )
    raw.pick(list(kept), verbose="error").rename_channels(kept, verbose="error")
    raw.set_channel_types(dict.fromkeys(raw.ch_names, "eeg"), on_unit_change="ignore", verbose="error")
    return raw.set_montage(_montage(), verbose="error")


def _check_edf(path: Path) -> None:
    """Refuse what MNE would read with only a warning: a truncated or a discontinuous EDF or BDF.

    Source: Kemp et al. 1992; Kemp and Olivan 2003 (EDF+).
    """
    with path.open("rb") as file:
        header = file.read(256)
        try:
            sample_bytes = _EDF_SIGNATURES[header[:8]]
            header_bytes, n_records, n_signals = (int(header[a:b]) for a, b in _EDF_COUNTS)
            file.seek(256 + 216 * n_signals)
            samples = [int(file.read(8)) for _ in range(n_signals)]
        except (KeyError, ValueError):
            raise DataError(f"{path}: not an EDF or BDF file (its header is not one)") from None
    if header[192:197] in {b"EDF+D", b"BDF+D"}:
        raise DataError(f"{path}: discontinuous ({header[192:197].decode()}); split it at its gaps")
    record_bytes = max(sum(samples) * sample_bytes, 1)
    found = (path.stat().st_size - header_bytes) // record_bytes
    if found < n_records:
        raise DataError(f"{path}: truncated, holds {found} of the {n_records} data records that it announces")


def _read_emotiv(path: Path) -> mne.io.BaseRaw:
    """Read the CSV of an Emotiv EPOC; the amplifier's offset of about 4200 µV is taken out."""
    with _open_text(path) as file:
        columns = next(csv.reader(file), [])
        missing = {*_EMOTIV_CHANNELS, "COUNTER"}.difference(columns)
        if missing:
            names = ", ".join(sorted(missing))
            raise DataError(f"{path}: not the CSV of an Emotiv EPOC (no column {names})")
        rows = file.readlines()
    if not rows:
        raise DataError(f"{path}: holds no sample")
    wanted = [columns.index(name) for name in _EMOTIV_CHANNELS]
    microvolts = np.loadtxt(rows, delimiter=",", quotechar='"', usecols=wanted, ndmin=2).T
    info = mne.create_info(list(_EMOTIV_CHANNELS), _EMOTIV_RATE, "eeg")
    centred = microvolts - np.median(microvolts, axis=1, keepdims=True)
    raw = mne.io.RawArray(centred * _EMOTIV_UNIT, info, verbose="error")
    raw.filenames = [path]
    return raw


def _open_text(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
