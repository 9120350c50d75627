"""Persyst: MNE fails where the header lacks facts of the patient, so it reads a copy without them.

MNE does not look at the times of samples either, by which the signal may have gaps.
"""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path, PureWindowsPath

import mne
import numpy as np

from eeg.io.gaps import SpreadRaw, mark_gaps
from eeg.io.isolated import open_isolated
from trainers.errors import DataError
from trainers.files import partial_folder

_CORRECTION = 0.1  # s, up to which a time corrects the clock and is not a gap
_DAY = 86400.0  # s
_DATES = ("%m/%d/%Y", "%d-%m-%Y", "%Y.%m.%d", "%m/%d/%y", "%d-%m-%y", "%Y-%m-%d")
_SEX = {"m": 1, "male": 1, "f": 2, "female": 2}  # FIF's numbers

Sections = Mapping[str, list[str]]


def is_persyst(path: Path) -> bool:
    """Whether the suffix of a file is that of the header of a Persyst recording."""
    return path.suffix.lower() == ".lay"


def open_persyst(path: Path) -> tuple[mne.io.BaseRaw, list[str]]:
    """Open a Persyst recording by its ``.lay``; return it with the texts of MNE's warnings.

    Gaps are zeros, annotated as in `eeg.io.gaps`.

    Raises
    ------
    DataError
        The file of its signals is missing or does not begin with them, or their times go back.
    ReaderError
        MNE raised it.
    """
    sections = _sections(path)
    info = _values(sections.get("fileinfo", []))
    signals = path.parent / PureWindowsPath(info.get("file", "")).name
    if not signals.is_file():
        raise DataError(f"{path}: the file that its line File names is missing; correct the line")
    if info.get("headerlength", "0").strip() not in {"", "0"}:
        raise DataError(f"{path}: its signals follow a header, which MNE does not skip; export it again")
    starts, shifts = _gaps(path, sections.get("sampletimes", []), float(info["samplingrate"]))
    patient = _values(sections.get("patient", []))
    recorded = _recorded(patient)
    with partial_folder(Path(tempfile.gettempdir(), "persyst")) as folder:
        copy = folder / "a.lay"
        copy.with_suffix(".dat").symlink_to(signals.absolute())
        copy.write_text(_header(sections, recorded), encoding="utf-8")
        raw, warnings = open_isolated(copy)
    raw.filenames = [signals]
    born = _date(patient.get("birthdate", ""), recorded)
    raw.info["subject_info"] = {"sex": _SEX.get(patient.get("sex", "").strip().lower(), 0)} | (
        {"birthday": born.date()} if born else {}
    )
    return _spread(raw, starts, shifts), [
        text for text in warnings if recorded or "measurement date" not in text
    ]


def _sections(path: Path) -> dict[str, list[str]]:
    """Return the lines of each section, by its name in lower case."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line[0] == "[" and line[-1] == "]":
            lines = sections.setdefault(line[1:-1].lower(), [])
        else:
            lines.append(line)
    return sections


def _values(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _header(sections: Sections, recorded: datetime | None) -> str:
    """Return the header without the patient; MNE needs sex and dates, if only invalid ones."""
    info = [line for line in sections.get("fileinfo", []) if not line.lower().startswith("file=")]
    moment = f"{recorded:%Y.%m.%d}|{recorded:%H:%M:%S}" if recorded else "none|00:00:00"
    day, time = moment.split("|")
    written = {
        "FileInfo": ["File=a.dat", *info],
        "ChannelMap": sections.get("channelmap", []),
        "Patient": ["Sex=", "Hand=", "BirthDate=-", f"TestDate={day}", f"TestTime={time}"],
        "Comments": sections.get("comments", []),
    }
    return "\n".join(line for name, lines in written.items() for line in (f"[{name}]", *lines)) + "\n"


def _gaps(path: Path, lines: list[str], rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first sample of each stretch, and how many samples are missing before it, both (S,).

    Each of the ``lines`` is the time of a sample, ``sample=seconds`` after midnight.
    """
    times = sorted((int(sample), float(time)) for sample, time in _values(lines).items())
    starts, shifts = [0], [0.0]
    for (sample, time), (later, next_time) in pairwise(times):
        shift = (next_time - time - (later - sample) / rate + _DAY / 2) % _DAY - _DAY / 2
        if shift < -max(_CORRECTION, 1 / rate):
            raise DataError(
                f"{path}: the times of its samples (SampleTimes) go back, or are 12 hours or more apart, at "
                f"{later / rate:.1f} s of its signal; split it there"
            )
        if shift > max(_CORRECTION, 1 / rate):
            starts.append(later)
            shifts.append(shifts[-1] + shift * rate)
    return np.array(starts), np.round(shifts).astype(int)


def _spread(raw: mne.io.BaseRaw, starts: np.ndarray, shifts: np.ndarray) -> mne.io.BaseRaw:
    """Place the stretches and the comments, whose times count the signal without gaps, at their times."""
    inside = starts < raw.n_times
    if inside.sum() < 2:
        return raw
    starts, shifts = starts[inside], shifts[inside]
    places, lengths = starts + shifts, np.diff([*starts, raw.n_times])
    whole = SpreadRaw(raw, places, lengths)
    marks, rate = raw.annotations, raw.info["sfreq"]
    stretch = np.searchsorted(starts, np.round(marks.onset * rate), side="right") - 1
    onset = marks.onset + shifts[np.maximum(stretch, 0)] / rate
    whole.set_annotations(mne.Annotations(onset, marks.duration, marks.description, marks.orig_time))
    mark_gaps(whole, zip((places + lengths)[:-1], places[1:], strict=True))
    return whole


def _recorded(patient: Mapping[str, str]) -> datetime | None:
    day = _date(patient.get("testdate", ""), None)
    try:
        time = datetime.strptime(patient.get("testtime", ""), "%H:%M:%S").time()
    except ValueError:
        time = datetime.min.time()
    return day and datetime.combine(day, time)


def _date(text: str, latest: datetime | None) -> datetime | None:
    """Parse a date; one of two digits of the year after ``latest`` is of the century before."""
    for form in _DATES:
        try:
            found = datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        after = latest is not None and found > latest and form.endswith("%y")
        return found.replace(year=found.year - 100) if after else found
    return None
