"""Reading a recording: any EEG format, converted to volts and one set of electrode names."""

import errno
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np

from eeg.io.edf import edf_suffix, is_edf, open_edf
from eeg.io.edf_header import read_edf_header
from eeg.io.electrodes import (
    ear,
    ears_among,
    electrode,
    electrodes,
    harmonise,
    scalp_missing,
    standard_montage,
    strip_common_reference,
)
from eeg.io.gaps import GAP, sample_starts, stretches
from eeg.io.header import INTRACRANIAL, Header, header_from_edf, header_from_raw, intracranial
from eeg.io.isolated import ReaderError, open_isolated
from eeg.io.notes import collect_notes, notes_from
from eeg.io.persyst import is_persyst, open_persyst
from eeg.io.recording_files import named_in
from eeg.io.sidecars import find_sidecar
from eeg.io.suffixes import SUFFIXES, is_plain_folder, is_recording
from eeg.io.tables import DANGLING, read_table
from eeg.io.text import is_bonn_segment, is_emotiv, read_bonn, read_emotiv
from trainers.errors import DataError

PLAUSIBLE = (0.5e-6, 500e-6)
"""V: the range in which a typical channel of scalp EEG varies within a second."""

# MNE distinguishes channels of one name by a running number: "Fp1-0", "Fp1-1".
_RUNNING_NUMBER = re.compile(r"-\d+$")

# How the text of a joint begins in EEGLAB, BrainVision, MNE itself, GDF and Nihon Kohden.
_JOINTS = re.compile(r"(bad |edge )?boundary\b|new segment|lostsamples|-99(\.0*)?$|32766$", re.IGNORECASE)
_LOST = "bad_disconnection"  # of ANT: like a gap

_OUTLYING = 100.0  # times the amplitude of a typical channel, or less than it by that factor: another unit
_GAP_SECONDS, _GAP_FACTOR = 6 * 3600.0, 50  # a recording may span that long, or that often its signal
_RATES = (1.0, 1e6)  # Hz
_MAX_DAYS = 7.0  # a longer span is a clock that was set, or several recordings
_DENSEST = {".gz": 2000, "": 8}  # samples in a byte of a file, at most: more are declared, not present
_BYTES = {"short": 2, "int": 4, "single": 4}  # of a value in the signal file of BrainVision
_NAMING = (".vhdr", ".ahdr", ".set")  # formats whose headers name a file of signals
_DAY = 86400.0  # s
_EDGE = 0.1  # s, from the start or the end of a recording
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
        marked_bad, inside = _described(path)
        if is_edf(path):
            fields = read_edf_header(path)
            raw, notes = open_edf(path, fields, ears=ears)
            header = header_from_edf(fields, inside)
            header = replace(header, notes=(*header.notes, *notes))
        else:
            raw, header = _open_with_header(path, inside)
        raw, notes = _finish(raw, path, ears, inside)
        bad = marked_bad | {*raw.info["bads"]}
        raw.info["bads"] = [name for name in raw.ch_names if name in bad]
        if preload:
            raw.load_data(verbose="error")
        raw.info["temp"] = str(path)  # not that of its samples, which some formats keep in another file
    return raw, replace(header, notes=(*header.notes, *notes))


def read_header(path: Path) -> Header:
    """Read the header of a file; raises `DataError` if it is not a recording."""
    with reading(path):
        inside = _described(path)[1]
        if is_edf(path):
            return header_from_edf(read_edf_header(path), inside)
        return _open_with_header(path, inside)[1]


def from_raw(raw: mne.io.BaseRaw, *, ears: bool = False) -> tuple[mne.io.BaseRaw, Header]:
    """Return a copy of an opened recording as `read_with_header` returns it; raises as it does."""
    copy, notes = _finish(raw.copy(), Path(recording_file(raw)), ears)
    return copy, header_from_raw(raw, notes)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Refuse what is not a recording before it is opened, and convert errors as `reading_signals` does."""
    if not path.exists():
        raise DataError(f"{path}: {DANGLING if path.is_symlink() else 'no such file'}")
    if is_plain_folder(path):
        raise DataError(f"{path}: a folder; give recordings (files)")
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path}: neither a file nor a folder but a device, a pipe or a socket")
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path}: empty, 0 bytes; copy or export it again")
    with reading_signals(path):
        yield


@contextmanager
def reading_signals(path: Path) -> Iterator[None]:
    """Convert any error while reading a recording to a `DataError` of one line.

    The texts of other libraries' errors may quote the file, so they are not in it.
    """
    try:
        with np.errstate(invalid="ignore"):  # values that are not finite are reported by channel
            yield
    except DataError:
        raise
    except ReaderError as error:
        raise DataError(f"{path}: {_reason(error, path)}") from error
    except Exception as error:  # each of MNE's thirty readers fails on foreign bytes in its own way
        number = error.errno if isinstance(error, OSError) else None
        reason = _reason(ReaderError(type(error).__name__, str(error), number), path)
        raise DataError(f"{path}: {reason}") from error


_REASONS = {
    r"For .* to work, the m|package is required": (
        "needs a package that is not installed: pip install 'hebbian-eeg[formats]'"
    ),
    r"number of trials|epochs file": "contains epochs; expected a continuous recording",
    r"^No raw data in": "contains no continuous recording; epochs and averages cannot be used",
    r"has no associated original unit": "several channels have one name; rename or remove them",
    r"ALLEEG": "contains several recordings; save each by itself",
    r"Split raw file|split|no corresponding": "a part of the recording is missing; copy all its files",
    r"Could not find the .fdt": "the file of its signals is missing; copy it too",
    r"reshape|buffer|broadcast|not read bytes|Incomplete|Compressed file ended": (
        "its header and its signals do not fit each other: truncated or damaged; copy it again"
    ),
}
"""What MNE's errors mean, by what is in their text."""


def _reason(error: ReaderError, path: Path) -> str:
    if error.number == errno.ENOENT:
        return "a file that it names is missing, such as that of its signals (DataFile); correct the header"
    if error.number is not None:
        return f"cannot be read ({os.strerror(error.number)})"
    if error.kind == "MemoryError":
        return "needs more memory than a file of its size should"
    if not (path.name.lower().endswith(SUFFIXES) or is_emotiv(path)):
        return f"not a recording by its name; expected {', '.join(sorted(SUFFIXES))}"
    known = (reason for pattern, reason in _REASONS.items() if re.search(pattern, error.text))
    unknown = (
        "cannot be read as EEG: its content is not of the format of its name; damaged, or renamed: "
        "copy or export it again"
    )
    return next(known, unknown)


def _open_with_header(path: Path, inside: Collection[str]) -> tuple[mne.io.BaseRaw, Header]:
    """Open a recording other than EDF with all channels, named as in the file."""
    texts: list[str] = []
    notes: list[str] = []
    if is_bonn_segment(path):
        raw = read_bonn(path)
    elif is_emotiv(path):
        raw, notes = read_emotiv(path)
    elif is_persyst(path):
        raw, texts = open_persyst(path)
    elif path.name.lower().endswith((".fif", ".fif.gz")):
        with collect_notes(notes):
            raw = mne.io.read_raw(path, verbose="warning")
    elif not is_recording(path) and (suffix := edf_suffix(path)):
        kind = suffix[1:].upper()
        raise DataError(f"{path}: {kind} by its content, but not by its name; rename it to end in {suffix}")
    else:
        if _is_brainvision(path):
            _check_brainvision(path)
        raw, texts = open_isolated(path)
        if path.suffix.lower() in _NAMING:
            _refuse_elsewhere(path, map(str, filter(None, raw.filenames)))
        if path.suffix.lower() == ".cnt":
            _mark_restarts(raw)
        if _is_brainvision(path):
            _name_references(raw, path)
            notes += _compare_sizes(raw, path)
    _check_extent(raw, path)
    return raw, header_from_raw(raw, [*notes, *notes_from(texts)], inside)


def _mark_restarts(raw: mne.io.BaseRaw) -> None:
    """Annotate as joints where ANT's amplifier measured impedances, as whenever it starts and stops."""
    marks, end = raw.annotations, raw.n_times / raw.info["sfreq"]
    inside = (marks.onset > _EDGE) & (marks.onset < end - _EDGE)
    for onset in marks.onset[inside & (marks.description == "impedance")]:
        raw.annotations.append(onset, 0, "BAD boundary")


def _is_brainvision(path: Path) -> bool:
    return path.suffix.lower() in {".vhdr", ".ahdr"}


def _check_brainvision(path: Path) -> None:
    """Refuse a sampling interval that no recording can have, and files outside the folder of the header."""
    header = path.read_bytes()
    _refuse_elsewhere(path, [name.replace("\\", "/") for name in named_in(header)])
    found = re.search(rb"^SamplingInterval\s*[=:]\s*(\S*)", header, re.MULTILINE | re.IGNORECASE)
    try:
        valid = found is None or float(found[1]) > 0
    except ValueError:
        valid = False
    if not valid:
        raise DataError(f"{path}: its SamplingInterval is not a positive number (of µs); correct the header")


def _refuse_elsewhere(path: Path, names: Iterable[str]) -> None:
    """Refuse a header if files that it names are in another folder than it is."""
    folder = path.absolute().parent
    if any((folder / name).parent != folder for name in names):
        raise DataError(f"{path}: names a file in another folder; expected its files beside it")


def _name_references(raw: mne.io.BaseRaw, path: Path) -> None:
    """Add to the names of channels the electrode that the header gives as their reference: ``Fp1-A1``."""
    fields = re.findall(rb"^Ch(\d{1,5}) *=[^,\r\n]*,([^,\r\n]+)", path.read_bytes(), re.MULTILINE)
    references = {int(number): reference.decode("latin-1").strip() for number, reference in fields}
    names = {
        name: f"{name}-{references[i]}"
        for i, name in enumerate(raw.ch_names, 1)
        if i in references and "-" not in name and (electrode(references[i]) or ear(references[i]))
    }
    raw.rename_channels(names, verbose="error")


def _compare_sizes(raw: mne.io.BaseRaw, path: Path) -> list[str]:
    """Return notes on a BrainVision recording whose length is not that of its header or its signal file."""
    announced = re.search(rb"^DataPoints *= *(\d{1,15})\s", path.read_bytes(), re.MULTILINE)
    notes = []
    if announced and int(announced[1]) != raw.n_times:
        notes.append(f"holds {raw.n_times} of the {int(announced[1])} samples that its header announces")
    sample = len(raw.ch_names) * _BYTES.get(raw.orig_format, 1)
    rest = sum(Path(file).stat().st_size for file in raw.filenames) % sample if raw.filenames else 0
    return [*notes, *([f"the {rest} bytes after its last sample are ignored"] if rest else [])]


def _check_extent(raw: mne.io.BaseRaw, path: Path) -> None:
    """Refuse a rate that no EEG has, gaps far longer than the signal, and more samples than files hold."""
    held = sum(stop - start for start, stop in stretches(raw))
    rate = raw.info["sfreq"]
    if not _RATES[0] <= rate <= _RATES[1]:
        raise DataError(f"{path}: sampled at {rate:g} Hz; expected {_RATES[0]:g} to {_RATES[1]:g} Hz")
    span, signal = raw.n_times / rate, held / rate
    if span > _MAX_DAYS * _DAY or span > max(_GAP_SECONDS, _GAP_FACTOR * signal):
        raise DataError(
            f"{path}: {signal:.0f} s of signal, spans {span / _DAY:.1f} days with its gaps; split it there"
        )
    size = sum(Path(file).stat().st_size for file in raw.filenames if file and Path(file).is_file())
    densest = _DENSEST.get(path.suffix.lower(), _DENSEST[""])
    if not raw.preload and held * len(raw.ch_names) > densest * size > 0:
        raise DataError(f"{path}: declares more samples than its files hold; damaged, copy it again")


def sample(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return up to 60 seconds of a recording, spread evenly over it, (K, C, T) V."""
    second = max(round(raw.info["sfreq"]), 1)
    starts = sample_starts(stretches(raw), second, _LOOKS)
    with np.errstate(invalid="ignore"):  # values that are not finite are reported by channel
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
    """Return the path of a recording's file as it was given, for messages."""
    given = raw.info.get("temp")
    return given if isinstance(given, str) else str(next(filter(None, raw.filenames), "recording"))


def _finish(
    raw: mne.io.BaseRaw, path: Path, ears: bool, inside: Collection[str] = ()
) -> tuple[mne.io.BaseRaw, list[str]]:
    """Bring an opened recording to the form that `read_recording` returns; return it with notes on it."""
    _check_extent(raw, path)
    raw = _scalp(raw, path, ears, {*inside, *intracranial(raw)})
    _set_points(raw)
    _refuse_joints(raw, path)
    return raw, _mark_outlying(raw, path)


def _mark_outlying(raw: mne.io.BaseRaw, path: Path) -> list[str]:
    """Mark as bad the channels that must be in another unit than the others; refuse if these are."""
    sizes = amplitude(raw)
    finite = sizes[np.isfinite(sizes)]
    typical = float(f"{np.median(finite):.3g}") if finite.size else 0.0
    low, high = PLAUSIBLE
    if 0 < typical < low or typical > high:  # flat and non-finite channels are checked by name later
        raise DataError(
            f"{path}: a typical channel varies by {typical * 1e6:g} µV within a second; expected "
            f"{low * 1e6:g} to {high * 1e6:g} µV: fix the unit in the file"
        )
    large = (sizes > high) & (sizes > typical * _OUTLYING) & np.isfinite(sizes) & (typical > 0)
    small = (sizes < low) & (sizes < typical / _OUTLYING) & (sizes > 0)
    names = [raw.ch_names[i] for i in np.flatnonzero(large | small)]
    names = [name for name in names if name not in raw.info["bads"]]
    if not names:
        return []
    raw.info["bads"] = [*raw.info["bads"], *names]
    return [f"{', '.join(names)}: an amplitude that the unit of the others cannot have, marked bad"]


def _scalp(raw: mne.io.BaseRaw, path: Path, ears: bool, inside: Collection[str]) -> mne.io.BaseRaw:
    """Pick the scalp electrodes of ``raw``, with their modern names and positions; none is ``inside``."""
    outside = [name for name in raw.ch_names if name not in inside]
    written = {name: _RUNNING_NUMBER.sub("", name) for name in outside}
    found, beside = electrodes([*written.values()]), ears_among([*written.values()]) if ears else {}
    if not found:
        raise scalp_missing(path, raw.ch_names, inside)
    names = found | beside
    picks = {name: names[label] for name, label in written.items() if label in names}
    twice = [name for name, count in Counter(picks.values()).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}: several channels for {', '.join(twice)}; expected one per electrode, remove the others"
        )
    raw.pick(list(picks), verbose="error").rename_channels(picks, verbose="error")
    types = {name: "misc" if name in beside.values() else "eeg" for name in raw.ch_names}
    raw.set_channel_types(types, on_unit_change="ignore", verbose="error")
    return raw.set_montage(standard_montage(), verbose="error")


def _set_points(raw: mne.io.BaseRaw) -> None:
    """Give annotations of at most a sample, as BrainVision writes points in time, no duration."""
    marks = raw.annotations
    points = (marks.duration <= 1.5 / raw.info["sfreq"]) & (marks.description != GAP)
    marks.duration[points] = 0
    marks.description[np.char.lower(marks.description) == _LOST] = GAP


def _refuse_joints(raw: mne.io.BaseRaw, path: Path) -> None:
    """Refuse concatenated pieces: neither a filter nor a window may cross a joint."""
    for annotation in raw.annotations:
        onset = annotation["onset"] - raw.first_time
        inside = 0 < round(onset * raw.info["sfreq"]) < raw.n_times
        if inside and _JOINTS.match(annotation["description"].strip()):
            raise DataError(f"{path}: joined from pieces, such as at {onset:.1f} s; split it there")


def _described(path: Path) -> tuple[set[str], set[str]]:
    """Return the electrodes marked as bad, and the intracranial channels, of the recording's channels.tsv."""
    table = find_sidecar(path, "channels.tsv")
    rows = [] if table is None else read_table(table, {"name"}, delimiter="\t")
    short = strip_common_reference([row["name"] for row in rows])
    bad = {harmonise(short[row["name"]]) for row in rows if row.get("status", "").lower() == "bad"}
    return bad, {row["name"] for row in rows if row.get("type", "").lower() in INTRACRANIAL}
