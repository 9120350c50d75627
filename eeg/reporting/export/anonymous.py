"""De-identified copies of recordings in EDF+, and their audit.

Of an EDF or BDF the samples are copied as they are; every text of the header and of the annotations is
replaced: it is empty or one of `eeg.io.vocabulary`.  Other formats are converted, scalp and ear electrodes
only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from edfio import EdfAnnotation

from eeg.datasets.seizure_words import marks_end, marks_seizure
from eeg.io.edf import is_edf
from eeg.io.edf_header import read_edf_header, signal_label
from eeg.io.gaps import GAP
from eeg.io.reader import read_with_header
from eeg.io.tables import format_number
from eeg.io.vocabulary import known_filter, known_labels, known_mark, known_unit
from eeg.preprocessing.recording import Recording
from eeg.reporting.export.edf import write_edf
from trainers.errors import DataError

_WIDTHS = {"label": 16, "transducer": 80, "dimension": 8, "least": 8, "most": 8, "lowest": 8, "highest": 8}
_WIDTHS |= {"prefilter": 80, "samples": 8, "reserved": 32}  # bytes of the fields of a signal
_TEXTS = ("label", "transducer", "dimension", "prefilter", "reserved")
_PATIENT, _RECORDING, _DATE = "X X X X", "Startdate 01-JAN-1985 X X X", "01.01.85"
_ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
_ONSET = re.compile(rb"[+-]\d+(?:\.\d*)?")
_DURATION = re.compile(rb"\d+(?:\.\d*)?")
_BLOCK = 600  # records that are in memory at once
_WORD = re.compile(r"[^\W_]{3,}")
_OF_EDF = {"startdate", "jan", "1985", "channel"}  # words that every copy may contain


@dataclass
class Copied:
    """What a copy keeps of its source, in numbers; ``free`` has the texts that must not be found in it."""

    annotations_kept: int = 0
    annotations_dropped: int = 0
    channels_renamed: int = 0
    channels_left_out: int = 0
    clipped: list[str] = field(default_factory=list)
    free: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def choose(self, text: str, *, keep: bool = False) -> str | None:
        """Return the text of an annotation in the copy, None if it is dropped."""
        coded = code_of(text)
        chosen = text if keep else coded
        if chosen is None:
            self.annotations_dropped += 1
        else:
            self.annotations_kept += 1
        self.known |= {coded} if coded else set()
        self.free |= {text} - {chosen}
        return chosen

    def rename(self, names: Sequence[str]) -> list[str]:
        """Return the names of channels in the copy."""
        labels = known_labels(names)
        self.channels_renamed += sum(labels[name] != name for name in names)
        for name in names:
            (self.known if labels[name] == name else self.free).add(name)
        return [labels[name] for name in names]

    def identities(self) -> set[str]:
        """Return the words of three letters or more that may identify someone, in lower case."""
        return words(self.free) - words(self.known) - _OF_EDF


def words(texts: Iterable[str]) -> set[str]:
    """Return the words of texts of three letters or digits or more, in lower case."""
    return {word.casefold() for text in texts for word in _WORD.findall(text)}


def code_of(text: str) -> str | None:
    """Return what remains of an annotation without free text; what counts as a seizure stays one."""
    if (mark := known_mark(text)) or marks_seizure(text) is None:
        return mark
    return "seizure end" if marks_end(text) else "seizure"


def write_anonymous(
    source: Path, path: Path, *, keep_annotations: bool = False, keep_time: bool = False
) -> Copied:
    """Write a de-identified EDF+ copy of a recording, of a BDF a BDF+ copy.

    Patient, recording, technician and equipment fields are empty, and the date is 1985-01-01, 0:00.  Channels
    other than `known_labels` are numbered; transducers and unknown filters are left out.

    Parameters
    ----------
    source, path
        The recording, and the file to write.
    keep_annotations
        Keep all annotations instead of those of `known_mark` only.
    keep_time
        Keep the time of day.

    Raises
    ------
    DataError
        If the recording cannot be read or the file cannot be written.
    """
    copied = Copied()
    if is_edf(source):
        _copy(source, path, copied, lambda text: copied.choose(text, keep=keep_annotations), keep_time)
    else:
        _convert(source, path, copied, lambda text: copied.choose(text, keep=keep_annotations))
    return copied


def _convert(source: Path, path: Path, copied: Copied, choose: Callable[[str], str | None]) -> None:
    """Convert a recording of any format but EDF."""
    raw, header = read_with_header(source, ears=True)
    copied.channels_left_out = len(header.channels) - len(raw.ch_names)
    copied.rename(header.channels)
    info = raw.info
    copied.free |= {str(info[name]) for name in ("description", "experimenter", "proj_name") if info[name]}
    for name in ("subject_info", "device_info", "helium_info"):
        copied.free |= {str(value) for value in (info[name] or {}).values() if value}
    marks = [
        EdfAnnotation(float(note["onset"] - raw.first_time), float(note["duration"]), chosen)
        for note in raw.annotations
        if note["description"] != GAP and (chosen := choose(note["description"]))
    ]
    copied.clipped = write_edf(Recording.scan(raw), marks, path)


@dataclass(frozen=True)
class _Raw:
    """The fields of an EDF as text, and the bytes of its records."""

    fixed: dict[str, str]
    columns: dict[str, list[str]]
    places: list[slice]  # of each signal in a record
    data: np.ndarray  # (R, B) uint8

    @property
    def labels(self) -> list[str]:
        return self.columns["label"]

    def texts(self) -> Iterator[str]:
        """Yield all texts of the header."""
        yield from (self.fixed[name] for name in ("patient", "recording", "kind"))
        yield from (text for name in _TEXTS for text in self.columns[name] if text not in _ANNOTATIONS)

    def annotations(self, record: np.ndarray) -> Iterator[tuple[bytes, bytes, list[bytes]]]:
        """Yield onset, duration and texts of each list of a record; the first text of its time is empty."""
        for label, place in zip(self.labels, self.places, strict=True):
            for tal in record[place].tobytes().split(b"\0") if label in _ANNOTATIONS else ():
                when, *texts = tal.split(b"\x14")
                onset, _, duration = when.partition(b"\x15")
                if _ONSET.fullmatch(onset):
                    yield onset, duration if _DURATION.fullmatch(duration) else b"", texts


def _open(path: Path) -> _Raw:
    facts = read_edf_header(path)  # which refuses what is not an EDF
    with path.open("rb") as file:
        header = file.read(facts.header_bytes)
    fixed, start = {}, 0
    for name, width in (("version", 8), ("patient", 80), ("recording", 80), ("date", 8), ("time", 8)):
        fixed[name], start = _text(header[start : start + width]), start + width
    fixed["kind"], fixed["seconds"] = _text(header[192:236]), _text(header[244:252])
    count, start, columns = facts.header_bytes // 256 - 1, 256, {}
    for name, width in _WIDTHS.items():
        ends = [start + width * (i + 1) for i in range(count)]
        read = signal_label if name == "label" else _text
        columns[name] = [read(header[end - width : end]) for end in ends]
        start = ends[-1]
    size = 3 if path.suffix.lower() == ".bdf" else 2
    ends = list(accumulate(int(number) * size for number in columns["samples"]))
    places = [slice(first, last) for first, last in pairwise([0, *ends])]
    data = np.memmap(path, np.uint8, "r", facts.header_bytes, (facts.records, facts.record_bytes))
    return _Raw(fixed, columns, places, data)


def _text(value: bytes) -> str:
    return value.decode("latin-1").partition("\0")[0].strip()


def _copy(
    source: Path, path: Path, copied: Copied, choose: Callable[[str], str | None], keep_time: bool
) -> None:
    """Copy an EDF or BDF: the bytes of its samples, and new texts."""
    raw = _open(source)
    signals = [i for i, label in enumerate(raw.labels) if label not in _ANNOTATIONS]
    columns = {name: [values[i] for i in signals] for name, values in raw.columns.items()}
    filters, units = (
        [f(t) for t in columns[n]] for n, f in (("prefilter", known_filter), ("dimension", known_unit))
    )
    for name, chosen in (("prefilter", filters), ("dimension", units)):
        copied.free |= set(columns[name]) - set(chosen)
    copied.free |= {raw.fixed["patient"], raw.fixed["recording"], raw.fixed["kind"][5:]}
    copied.free |= {*columns["transducer"], *columns["reserved"]}
    columns |= {"label": copied.rename(columns["label"]), "prefilter": filters, "dimension": units}
    columns |= {"transducer": [""] * len(signals), "reserved": [""] * len(signals)}
    for name in ("least", "most", "lowest", "highest", "samples"):
        columns[name] = [_numeric(text) for text in columns[name]]
    tals = _time_stamped(raw, choose)
    bdf = source.suffix.lower() == ".bdf"
    size = 3 if bdf else 2
    width = -(-max(30, *map(len, tals)) // size)  # samples of the annotations in a record
    last = {"label": "BDF Annotations" if bdf else "EDF Annotations", "least": "-1", "most": "1"}
    last |= {
        "lowest": str(-(2 ** (8 * size - 1))),
        "highest": str(2 ** (8 * size - 1) - 1),
        "samples": str(width),
    }
    kept = np.concatenate([np.arange(len(raw.data[0]))[raw.places[i]] for i in signals])
    with path.open("wb") as file:
        file.write(_header(raw, bdf, len(signals) + 1, keep_time))
        for name, bytes_ in _WIDTHS.items():
            file.write(b"".join(_field(text, bytes_) for text in [*columns[name], last.get(name, "")]))
        for first, end in pairwise([*range(0, len(tals), _BLOCK), len(tals)]):
            notes = b"".join(tal.ljust(width * size, b"\0") for tal in tals[first:end])
            block = np.frombuffer(notes, np.uint8).reshape(end - first, -1)
            np.hstack([raw.data[first:end][:, kept], block]).tofile(file)


def _header(raw: _Raw, bdf: bool, count: int, keep_time: bool) -> bytes:
    time = raw.fixed["time"]
    if not keep_time or not re.fullmatch(r"\d\d\.\d\d\.\d\d", time):
        time = "00.00.00"
    discontinuous = raw.fixed["kind"][:5] in {"EDF+D", "BDF+D"}
    kind = f"{'BDF' if bdf else 'EDF'}+{'D' if discontinuous else 'C'}"
    fields = [
        (_PATIENT, 80),
        (_RECORDING, 80),
        (_DATE, 8),
        (time, 8),
        (str(256 * (count + 1)), 8),
        (kind, 44),
    ]
    fields += [
        (str(len(raw.data)), 8),
        (_numeric(raw.fixed["seconds"].replace(",", ".")), 8),
        (str(count), 4),
    ]
    version = b"\xffBIOSEMI" if bdf else _field("0", 8)
    return version + b"".join(_field(text, width) for text, width in fields)


def _field(text: str, width: int) -> bytes:
    return text.encode("latin-1")[:width].ljust(width)


def _numeric(text: str) -> str:
    """Return a number as it is written, "" for anything else."""
    return text if re.fullmatch(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", text) else ""


def _time_stamped(raw: _Raw, choose: Callable[[str], str | None]) -> list[bytes]:
    """Return the annotations of each record in the copy; the first is the time of the record."""
    seconds = float(raw.fixed["seconds"].replace(",", "."))
    records = []
    for number, record in enumerate(raw.data):
        time, lists = f"+{format_number(number * seconds)}".encode(), []
        for place, (onset, duration, texts) in enumerate(raw.annotations(record)):
            if place == 0 and texts[:1] == [b""]:
                time = onset
            chosen = [new for text in texts if text and (new := choose(_decoded(text))) is not None]
            if chosen:
                when = onset + (b"\x15" + duration if duration else b"")
                lists.append(b"\x14".join([when, *(text.encode() for text in chosen)]) + b"\x14\0")
        records.append(time + b"\x14\x14\0" + b"".join(lists))
    return records


def _decoded(text: bytes) -> str:
    """Decode UTF-8, as the standard requires, or else Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def audit_copy(path: Path, copied: Copied, names: Iterable[str] = ()) -> None:
    """Read a copy again, and search its header and annotations for what identifies the source.

    Parameters
    ----------
    path
        The copy.
    copied
        What was found in its source.
    names
        Further texts that it may not contain, such as that of the source's file.

    Raises
    ------
    DataError
        If a word of three letters or more of the source's free texts is found; it is not quoted.
    """
    raw = _open(path)
    texts = {text for text in raw.texts() if not re.fullmatch(r"channel \d+", text)}
    texts |= {
        _decoded(text) for record in raw.data for *_, found in raw.annotations(record) for text in found
    }
    identities = (copied.identities() | words(names)) - words(copied.known) - _OF_EDF
    anonymous = raw.fixed["patient"] == _PATIENT and raw.fixed["recording"] == _RECORDING
    if not anonymous or raw.fixed["date"] != _DATE or words(texts) & identities:
        raise DataError(
            "the copy would contain words that identify its source and is not written; drop the annotations"
        )
