"""Persyst: MNE fails where the header lacks facts of the patient, so it reads a copy without them."""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path, PureWindowsPath

import mne

from eeg.io.isolated import open_isolated
from trainers.errors import DataError

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

    Raises
    ------
    DataError
        The file of its signals is missing or does not begin with them, or they have gaps.
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
    _refuse_gaps(path, sections.get("sampletimes", []), float(info["samplingrate"]))
    patient = _values(sections.get("patient", []))
    recorded = _recorded(patient)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "a.lay")
        copy.with_suffix(".dat").symlink_to(signals.absolute())
        copy.write_text(_header(sections, recorded), encoding="utf-8")
        raw, warnings = open_isolated(copy)
    raw.filenames = [signals]
    born = _date(patient.get("birthdate", ""), recorded)
    raw.info["subject_info"] = {"sex": _SEX.get(patient.get("sex", "").strip().lower(), 0)} | (
        {"birthday": born.date()} if born else {}
    )
    return raw, [text for text in warnings if recorded or "measurement date" not in text]


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


def _refuse_gaps(path: Path, lines: list[str], rate: float) -> None:
    """Refuse signals whose times, ``sample=seconds`` each, do not follow from the sampling rate."""
    times = sorted((int(sample), float(time)) for sample, time in _values(lines).items())
    for (sample, time), (later, next_time) in pairwise(times):
        shift = (next_time - time - (later - sample) / rate + _DAY / 2) % _DAY - _DAY / 2
        if abs(shift) > max(_CORRECTION, 1 / rate):
            raise DataError(
                f"{path}: joined from pieces, such as at {(later - times[0][0]) / rate:.1f} s; split it there"
            )


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
