"""Reading a recording: any EEG format in, one naming of electrodes and volts out."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np

from eeg.io.edf import Signal, at_own_times, read_edf_header
from eeg.io.electrodes import ear, electrode, harmonise, standard_montage, strip_common_reference
from eeg.io.gaps import looks
from eeg.io.tables import read_table
from eeg.io.text import is_bonn_segment, is_emotiv, read_bonn, read_emotiv
from trainers.errors import DataError

PLAUSIBLE = (0.5e-6, 500e-6)
"""V: the least and the most by which a typical channel of scalp EEG varies within a second."""

# MNE tells channels of one name apart by a running number: "Fp1-0", "Fp1-1".
_RUNNING_NUMBER = re.compile(r"-\d+$")

_VOLTS = {"V", "mV", "uV", "\u00b5V", "\u03bcV", "\x83\xcaV"}  # as MNE understands them
_JOINTS = {"boundary", "new segment/", "edge boundary", "bad boundary"}  # EEGLAB, BrainVision, MNE itself
_LOOKS = 60  # seconds of a recording that its amplitude is estimated from


def is_edf(path: Path) -> bool:
    """Whether a file's name says that it is EDF or BDF."""
    return path.suffix.lower() in {".edf", ".bdf"}


def read_recording(path: Path, *, preload: bool = True, ears: bool = False) -> mne.io.BaseRaw:
    """Read the scalp EEG of a recording.

    Parameters
    ----------
    path
        EDF, EDF+, BDF, FIF, BrainVision, EEGLAB or whatever else MNE reads by its suffix, the
        ``.csv``/``.csv.gz`` of an Emotiv EPOC (van Hees et al. 2018), or the ``.txt`` of a segment of
        the Bonn set (Andrzejak et al. 2001).
    preload
        Read the signals into memory; otherwise they are read when they are asked for.
    ears
        Keep the electrodes at the ears or mastoids too, as channels of the type ``misc``.

    Returns
    -------
    The recording in volts: electrodes of the montage only, in the file's order and under their modern
    names, with positions and annotations; those that a ``channels.tsv`` of BIDS beside the file calls
    bad are marked so.  A segment of Bonn is one channel without a place.  Where an EDF+D has gaps there is
    silence, annotated as `eeg.io.gaps` has it.

    Raises
    ------
    DataError
        The file is missing, no EEG, cut short, joined from pieces at unknown times, names one electrode
        twice, or has a unit or an amplitude that EEG cannot have.
    """
    path = Path(path)
    with reading(path):
        if is_bonn_segment(path):
            return read_bonn(path)
        raw = _scalp(_open_edf(path, ears) if is_edf(path) else open_raw(path), path, ears)
        _refuse_joints(raw, path)
        bad = _bad(path) | {*raw.info["bads"]}
        raw.info["bads"] = [name for name in raw.ch_names if name in bad]
        if preload:
            raw.load_data(verbose="error")
        _check_amplitude(raw, path)
    return raw


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a recording into one line, a `DataError`."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: empty, 0 bytes; copy or export it anew")
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # each of MNE's thirty readers fails on foreign bytes in its own way
        told = error.strerror if isinstance(error, OSError) else None
        reason = " ".join((told or str(error)).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as EEG ({reason})") from error


def open_raw(path: Path) -> mne.io.BaseRaw:
    """Open a recording with all its channels, as the file names them; raises what its reader raises."""
    if is_bonn_segment(path):
        return read_bonn(path)
    return read_emotiv(path) if is_emotiv(path) else mne.io.read_raw(path, verbose="error")


def sample(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return up to 60 seconds of a recording, spread evenly over it, (K, C, T) V."""
    second = max(round(raw.info["sfreq"]), 1)
    return np.stack([raw[:, start : start + second][0] for start in looks(raw, second, _LOOKS)])


def amplitude(raw: mne.io.BaseRaw) -> np.ndarray:
    """Estimate how much every channel varies within a second.

    Returns
    -------
    (C,) V: 1.4826 times the median absolute deviation within a second, the median over a `sample`, so that
    neither drift nor artefacts count.
    """
    blocks = sample(raw)
    with np.errstate(invalid="ignore"):  # infinite values, of which nothing is known
        deviation = np.abs(blocks - np.median(blocks, axis=2, keepdims=True))
    return 1.4826 * np.median(np.median(deviation, axis=2), axis=0)


def recording_file(raw: mne.io.BaseRaw) -> str:
    """Name the recording's file, for messages."""
    return str(next((name for name in raw.filenames if name), "recording"))


def _open_edf(path: Path, ears: bool) -> mne.io.BaseRaw:
    """Open the scalp electrodes of an EDF or BDF.

    The other channels stay out from the beginning: MNE would bring all to the highest sampling rate
    among them.
    """
    header = read_edf_header(path)
    names = strip_common_reference([signal.label for signal in header.signals])
    scalp = [signal for signal in header.signals if electrode(names[signal.label])]
    if not scalp:
        raise _no_electrode(path, list(names))
    if ears:
        scalp += [signal for signal in header.signals if ear(names[signal.label])]
    _check_units(scalp, path)
    several = len({signal.sfreq for signal in scalp}) > 1
    if several and not header.continuous:
        raise DataError(
            f"{path}: discontinuous, and its electrodes are of several sampling rates; export it anew"
        )
    settings = {
        "include": [signal.label for signal in scalp],
        "units": {signal.label: "uV" for signal in scalp if not signal.dimension},  # the amplitude tells
        # Electrodes of different rates are brought to the highest, each as a whole.
        "preload": several,
        "verbose": "error",
    }
    try:
        raw = mne.io.read_raw(path, **settings)
    except Exception as error:
        if "encoding" not in str(error):  # MNE has no other sign of annotations that are not UTF-8
            raise
        raw = mne.io.read_raw(path, encoding="latin1", **settings)
    return raw if header.continuous else at_own_times(raw, path, header)


def _check_units(scalp: Sequence[Signal], path: Path) -> None:
    wrong = sorted({signal.dimension for signal in scalp} - _VOLTS - {""})
    if wrong:
        raise DataError(f"{path}: electrodes in the unit {', '.join(wrong)}; expected uV, mV or V")


def _check_amplitude(raw: mne.io.BaseRaw, path: Path) -> None:
    sizes = amplitude(raw)
    finite = sizes[np.isfinite(sizes)]
    typical = float(f"{np.median(finite):.3g}") if finite.size else 0.0
    low, high = PLAUSIBLE
    if 0 < typical < low or typical > high:  # what is flat or not finite is refused where channels are named
        raise DataError(
            f"{path}: a typical channel varies by {typical * 1e6:g} µV within a second; expected "
            f"{low * 1e6:g} to {high * 1e6:g} µV: mend the unit in the file"
        )


def _scalp(raw: mne.io.BaseRaw, path: Path, ears: bool) -> mne.io.BaseRaw:
    """Keep the scalp electrodes of ``raw``, under their modern names and at their places."""
    written = {name: _RUNNING_NUMBER.sub("", name) for name in raw.ch_names}
    short = strip_common_reference([*written.values()])
    kept = {name: found for name, label in written.items() if (found := electrode(short[label]))}
    if not kept:
        raise _no_electrode(path, raw.ch_names)
    beside = {name: found for name, label in written.items() if ears and (found := ear(short[label]))}
    kept |= beside
    twice = [name for name, count in Counter(kept.values()).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: several channels for {', '.join(twice)}; expected one an electrode, remove the others"
        )
    raw.pick(list(kept), verbose="error").rename_channels(kept, verbose="error")
    types = {name: "misc" if name in beside.values() else "eeg" for name in raw.ch_names}
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    return raw.set_montage(standard_montage(), verbose="error")


def _no_electrode(path: Path, names: Sequence[str]) -> DataError:
    found = f"{path}: no scalp electrode among its channels ({', '.join(names[:8])})"
    if any(all(electrode(half) for half in name.split("-")) for name in names if "-" in name):
        return DataError(f"{found} but differences of two; export it against one common reference")
    return DataError(f"{found}; expected 10-10 names")


def _refuse_joints(raw: mne.io.BaseRaw, path: Path) -> None:
    """Refuse pieces that were put together: at a joint neither filter nor window makes sense."""
    for annotation in raw.annotations:
        onset = annotation["onset"] - raw.first_time
        inside = 0 < round(onset * raw.info["sfreq"]) < raw.n_times
        if inside and annotation["description"].lower() in _JOINTS:
            raise DataError(f"{path}: joined from pieces, at {onset:.1f} s for one; split it there")


def _bad(path: Path) -> set[str]:
    """Name the electrodes that the recording's ``channels.tsv`` calls bad, where there is one."""
    table = path.with_name(path.stem.removesuffix("_eeg") + "_channels.tsv")
    if not table.is_file():
        return set()
    rows = read_table(table, {"name"}, delimiter="\t")
    short = strip_common_reference([row["name"] for row in rows])
    return {harmonise(short[row["name"]]) for row in rows if row.get("status") == "bad"}
