"""Reading EDF and BDF: the scalp electrodes only, also of discontinuous recordings.

Source: Kemp et al. 1992 (EDF); Kemp and Olivan 2003 (EDF+).
"""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import mne
import numpy as np

from eeg.io.edf_header import EdfHeader, Signal
from eeg.io.edf_samples import EdfRaw
from eeg.io.electrodes import ears_among, electrodes, scalp_missing
from eeg.io.gaps import GAP, SpreadRaw, mark_gaps
from eeg.io.notes import collect_notes
from trainers.errors import DataError

_VOLTS = {"V", "mV", "uV", ""}

# Onset, duration and texts of a time-stamped annotation list; the first one is the onset of its record.
_TAL = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14([^\0]*)\0")
_LOOSE = re.compile(  # with blanks, a comma for the point, no sign, or an empty or negative duration
    rb"\s*([+-]?\s*\d+(?:[.,]\d*)?)\s*(?:\x15\s*(-?\d*(?:[.,]\d*)?)\s*)?\x14([^\0]*)"
)
_MAX_SECONDS = 1e9  # of a time
_JITTER = 0.002  # s, or a sample if that is longer, by which the time of a record may be rounded

# Of the 24 bits of BioSemi's status: whether a new epoch begins, and whether the electrodes are in range.
_EPOCH, _IN_RANGE = 1 << 16, 1 << 20

_Note = tuple[float, float, str]


def is_edf(path: Path) -> bool:
    """Whether the suffix of a file is that of EDF or BDF."""
    return path.suffix.lower() in {".edf", ".bdf"}


def edf_suffix(path: Path) -> str | None:
    """Return the suffix that the first bytes of a file require, None if it is neither EDF nor BDF."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return {b"0       ": ".edf", b"\xffBIOSEMI": ".bdf"}.get(file.read(8))


def open_edf(path: Path, header: EdfHeader, *, ears: bool = False) -> tuple[mne.io.BaseRaw, list[str]]:
    """Open the scalp electrodes of an EDF or BDF, also of one with gaps; return it with notes about it.

    Other channels are excluded because MNE resamples all to the highest rate among them.  With ``ears``,
    electrodes at the ears and mastoids are included.  The times of data records count, whatever the header
    says about them.

    Raises
    ------
    DataError
        There is no scalp electrode, its unit is not one of voltage, or the records of a file with gaps have
        no times, several sampling rates, or overlap.
    """
    labels = [signal.label for signal in header.signals]
    names = electrodes(labels) | (ears_among(labels) if ears else {})
    scalp = [signal for signal in header.signals if signal.label in names]
    if not electrodes(labels):
        raise scalp_missing(path, labels)
    _check_units(scalp, path)
    onsets, marks, lenient, unreadable = _times(path, header)
    several = len({signal.sfreq for signal in scalp}) > 1
    rate = max(signal.sfreq for signal in scalp)
    continuous, notes = _is_continuous(onsets, header, rate)
    if several and not continuous:
        raise DataError(f"{path}: has gaps, and its electrodes have several sampling rates; export it again")
    raw, warned = _open(path, header, scalp, preload=several)
    if not continuous:
        raw, warned = _with_gaps(raw, path, header, onsets, [*marks, *lenient])
    else:
        start = 0.0 if np.isnan(onsets[:1]).any() else onsets[0]
        for onset, duration, text in lenient:
            raw.annotations.append(onset - start, duration, text)
    notes += warned
    if lenient:
        notes.append(f"{len(lenient)} annotation(s) are not written as EDF+ requires, and read all the same")
    if unreadable:
        notes.append(f"{unreadable} list(s) of annotations cannot be read: not written as EDF+ requires")
    if header.status is not None:
        notes += _mark_status(raw, path, header)
    unscaled = sorted({names[signal.label] for signal in scalp if not signal.scaled})
    if unscaled:
        raw.info["bads"] = [name for name in raw.ch_names if names.get(name) in unscaled]
        notes.append(f"{', '.join(unscaled)}: no range of amplitude in the header, marked bad")
    return raw, notes


def _open(
    path: Path, header: EdfHeader, scalp: Sequence[Signal], *, preload: bool
) -> tuple[mne.io.BaseRaw, list[str]]:
    """Open with MNE; a header that it would misread is corrected in memory."""
    read = mne.io.read_raw_bdf if path.suffix.lower() == ".bdf" else mne.io.read_raw_edf
    settings = {
        "include": [signal.label for signal in scalp],
        "units": {signal.label: "uV" for signal in scalp if not signal.dimension},  # checked by amplitude
        "preload": preload or header.corrected is not None,  # so that each electrode is resampled as a whole
        "verbose": "warning",
    }

    def opened(encoding: str) -> mne.io.BaseRaw:
        if header.corrected is None:
            return read(path, encoding=encoding, **settings)
        content = header.corrected + path.read_bytes()[header.header_bytes :]
        raw = read(io.BytesIO(content), encoding=encoding, **settings)
        raw.filenames = [path]
        return raw

    notes: list[str] = []
    with collect_notes(notes):
        try:
            raw = opened("utf8")
        except Exception as error:
            if "encoding" not in str(error):  # MNE has no other sign of annotations not in UTF-8
                raise
            raw = opened("latin1")
    plain = path.suffix.lower() == ".edf" and not raw.preload and all(signal.scaled for signal in scalp)
    samples = {header.records * (signal.place.stop - signal.place.start) // 2 for signal in scalp}
    if plain and samples == {raw.n_times} and len(scalp) == len(raw.ch_names):
        raw = EdfRaw(raw, header, scalp)
    return raw, notes


def _check_units(scalp: Sequence[Signal], path: Path) -> None:
    wrong = sum(signal.dimension not in _VOLTS for signal in scalp)
    if wrong:
        raise DataError(f"{path}: {wrong} electrode(s) in a unit other than of voltage; expected uV, mV or V")


def _is_continuous(onsets: np.ndarray, header: EdfHeader, rate: float) -> tuple[bool, list[str]]:
    """Return whether the records adjoin, with a note if their times cannot be used.

    The header is believed only as far as the times of the records, (R,) s, say nothing: NaN.
    """
    known = np.flatnonzero(~np.isnan(onsets))
    if not header.continuous:
        return False, []
    steps, expected = np.diff(onsets[known]), np.diff(known) * header.record_seconds
    if len(steps) and not steps.any():
        return True, ["all its data records have the same time, so gaps are unknown"]
    return bool((np.abs(steps - expected) <= max(1 / rate, _JITTER)).all()), []


def _with_gaps(
    records: mne.io.BaseRaw, path: Path, header: EdfHeader, onsets: np.ndarray, marks: list[_Note]
) -> tuple[mne.io.BaseRaw, list[str]]:
    """Place the data records of a discontinuous recording, which MNE concatenates, at their times.

    Time counts from the first record.  Gaps are zeros, annotated as in `eeg.io.gaps`.
    """
    missing = np.flatnonzero(np.isnan(onsets))
    if missing.size:
        raise DataError(
            f"{path}: has gaps, and its data record {missing[0] + 1} has no time; export it again"
        )
    rate, size = records.info["sfreq"], records.n_times // header.records
    jitter = max(round(_JITTER * rate), 1)
    places = np.round((onsets - onsets[0]) * rate).astype(int)
    steps = np.diff(places) - size
    first = np.flatnonzero(np.concatenate([[True], steps > jitter]))  # records that begin a stretch
    begins, lengths = places[first], size * np.diff([*first, len(onsets)])
    stops = begins + lengths
    back = np.flatnonzero(steps < -jitter)
    if back.size or (begins[1:] < stops[:-1]).any():
        where = f" from {onsets[back[0] + 1] - onsets[0]:.1f} s on" if back.size else ""
        raise DataError(f"{path}: its data records overlap in time{where}; export it again")
    whole = SpreadRaw(records, begins, lengths)
    marks = [(onset - onsets[0], duration, text) for onset, duration, text in marks]
    gaps = zip(stops[:-1] / rate, begins[1:] / rate, strict=True)
    marks += [(start, stop - start, GAP) for start, stop in gaps]
    notes: list[str] = []
    with collect_notes(notes):
        whole.set_annotations(mne.Annotations(*zip(*marks, strict=True)) if marks else None)
    return whole, notes


def _mark_status(raw: mne.io.BaseRaw, path: Path, header: EdfHeader) -> list[str]:
    """Mark as gaps where the status of a BioSemi amplifier says that the electrodes were out of range.

    A pause of the recording is where the bit of a new epoch rises.
    """
    shape = header.records, header.record_bytes
    records = np.memmap(path, np.uint8, "r", header.header_bytes, shape)
    high = np.asarray(records[:, header.status])[:, 2::3].ravel()  # bits 16 to 23
    rate = len(high) / header.duration
    starts = 1 + np.flatnonzero(np.diff((high & _EPOCH >> 16).astype(int)) > 0)
    if not (high & _IN_RANGE >> 16).any():  # not a status of BioSemi, or none that can be used
        return []
    late = starts[starts > rate]  # it is set for a moment at the start of each file
    if late.size:
        raise DataError(f"{path}: joined from pieces, such as at {late[0] / rate:.1f} s; split it there")
    out = high & _IN_RANGE >> 16 == 0
    if not out.any():
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], out.astype(int), [0]])))
    spans = np.round(edges.reshape(-1, 2) / rate * raw.info["sfreq"]).astype(int)
    mark_gaps(raw, [(int(start), int(stop)) for start, stop in spans])
    return [f"{out.sum() / rate:.1f} s with the electrodes out of range (CMS) are left out"]


def _times(path: Path, header: EdfHeader) -> tuple[np.ndarray, list[_Note], list[_Note], int]:
    """Return the onset of each record, (R,) s, NaN where it has none, and the annotations.

    An annotation is onset and duration, s, and text.  Those that only a loose reading understands, and MNE
    does not, follow, and the number of lists that nothing does.
    """
    onsets, notes = np.full(header.records, np.nan), []
    lenient: list[_Note] = []
    unreadable = 0
    shape = header.records, header.record_bytes
    records = np.memmap(path, np.uint8, "r", header.header_bytes, shape)
    for number, record in enumerate(records if header.annotations else ()):
        tals = [tal for place in header.annotations for tal in _TAL.finditer(record[place].tobytes())]
        if tals and (tals[0][3].startswith(b"\x14") or not header.continuous):  # the time of the record
            onsets[number] = min(float(tals[0][1]), _MAX_SECONDS)
        notes += [note for tal in tals for note in _annotations(tal)]
        for chunk in (
            chunk for place in header.annotations for chunk in record[place].tobytes().split(b"\0")
        ):
            if _TAL.match(chunk + b"\0") or b"\x14" not in chunk:
                continue
            loose = _LOOSE.fullmatch(chunk)
            lenient += [] if loose is None else _annotations(loose)
            unreadable += loose is None
    return onsets, notes, lenient, unreadable


def _annotations(tal: re.Match[bytes]) -> Iterator[_Note]:
    numbers = (b"".join(number.replace(b",", b".").split()) for number in (tal[1], tal[2] or b""))
    onset, duration = (float(number or 0) for number in numbers)
    for text in tal[3].split(b"\x14"):
        if text:
            yield onset, max(duration, 0.0), _decoded(text)


def _decoded(text: bytes) -> str:
    """Decode UTF-8, as the standard requires, or else Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
