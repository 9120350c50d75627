"""EEG in BIDS (Pernet et al. 2019) with a diagnosis of each participant: epilepsy or control."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.participants import GROUPS, age_of, sex_of
from eeg.io.fif import without_parts
from eeg.io.sidecars import entities, find_sidecar, is_announced
from eeg.io.suffixes import is_recording
from eeg.io.tables import read_numbered, read_seconds, read_table
from trainers.errors import DataError

_PARTICIPANTS = "participants.tsv"
_DESCRIPTION = "dataset_description.json"
_SUFFIXES = [".bdf", ".edf", ".set", ".vhdr"]  # the formats that BIDS allows for EEG
_NAME = re.compile(r"([a-z]+-[A-Za-z0-9+]+_)+eeg")
_DIAGNOSIS_COLUMNS = ("group", "diagnosis")
_EXPECTED = ", ".join(sorted(GROUPS))
_UNKNOWN = ("", "n/a")
_DISCHARGE = "discharge"
_UNNAMED = "unnamed"
_NO_NAMES = ("", "[Unspecified]")  # the latter is what MNE-BIDS writes

_Row = dict[str, str]


def has_participants(path: Path) -> bool:
    """Whether a folder has a table of participants."""
    return is_announced(path / _PARTICIPANTS)


def open_bids(path: Path) -> Corpus:
    """List the recordings of a BIDS folder: every file ``sub-*_eeg`` of a format that MNE reads.

    A recording that a table, a link or a sidecar announces is listed although its file is missing.  What the
    table of participants and the files do not agree on is in the problems of the recordings and the corpus.

    Raises
    ------
    DataError
        ``participants.tsv`` or the description cannot be read, or there is no recording.
    """
    table = _Participants.read(path / _PARTICIPANTS)
    entries = tuple(_entry(recording, table) for recording in _recordings(path))
    if not entries:
        raise DataError(f"{path}: no recording; expected sub-*/eeg/*_eeg with {', '.join(_SUFFIXES)}")
    # A control's events.tsv without a discharge is an annotation; in a corpus without any discharge, such as
    # of a cognitive task, it is not.
    if not any(_has_discharges(events) for events in {entry.events for entry in entries} if events):
        entries = tuple(replace(entry, events=None) for entry in entries)
    name, simulated = _description(path / _DESCRIPTION)
    problems = (*table.problems, *table.without_recordings({entry.subject for entry in entries}))
    return Corpus(name, entries, simulated, problems, table.undiagnosed)


def read_events(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the discharges of an ``events.tsv``.

    Returns
    -------
    onset, duration
        (M,) each, in seconds, of the rows whose ``trial_type`` is ``discharge``.

    Raises
    ------
    DataError
        The table lacks a column, or an onset or duration is not a number.
    """
    rows = read_table(path, {"onset", "duration", "trial_type"}, delimiter="\t")
    discharges = [row for row in rows if row["trial_type"] == _DISCHARGE]
    onset = [read_seconds(path, row, "onset") for row in discharges]
    duration = [read_seconds(path, row, "duration") for row in discharges]
    return np.array(onset), np.array(duration)


@dataclass(frozen=True)
class _Participants:
    """The table of participants: the row of each id without ``sub-``, columns in lower case.

    ``numbers`` are the rows' in the table; ``label`` is missing for an id whose rows or columns disagree.
    """

    rows: dict[str, _Row]
    numbers: dict[str, int]
    labels: dict[str, int | None]
    contradictory: frozenset[str]
    problems: tuple[str, ...]
    undiagnosed: str

    @classmethod
    def read(cls, path: Path) -> Self:
        table = read_numbered(path, {"participant_id"}, delimiter="\t")
        lower = [(number, {name.lower(): value for name, value in row.items()}) for number, row in table]
        if table and len(lower[0][1]) < len(table[0][1]):
            raise DataError(f"{path}: two columns whose names differ in case only; rename or remove one")
        column, undiagnosed = _diagnosis(path, [row for _, row in lower])
        rows: dict[str, _Row] = {}
        numbers: dict[str, int] = {}
        labels: dict[str, int | None] = {}
        contradictory, problems = set(), []
        for number, row in lower:
            where, subject = f"{path.name}, row {number}", re.sub("^sub-", "", row["participant_id"])
            group = row.get(column, "").lower()
            if column and group not in (*GROUPS, *_UNKNOWN):
                problems.append(f"{where}: unknown {column}; expected {_EXPECTED} or n/a")
            known = {GROUPS.get(row.get(name, "").lower()) for name in _DIAGNOSIS_COLUMNS} - {None}
            contradictory |= {subject} if len(known) > 1 else set()
            if subject in rows:
                problems.append(f"{where}: the participant_id of row {numbers[subject]} again; remove one")
                contradictory |= {subject} if labels[subject] != GROUPS.get(group) else set()
                continue
            rows[subject], numbers[subject], labels[subject] = row, number, GROUPS.get(group)
        return cls(rows, numbers, labels, frozenset(contradictory), tuple(problems), undiagnosed)

    def problem(self, subject: str) -> str | None:
        """Return why the recordings of a subject cannot be used."""
        if subject not in self.rows:
            return f"its subject has no row in {_PARTICIPANTS}; add one"
        if subject in self.contradictory:
            return f"its subject has two diagnoses in {_PARTICIPANTS} that disagree; remove one"
        return None

    def without_recordings(self, recorded: Collection[str]) -> list[str]:
        """Return a line on the participants without a recording, if there are any."""
        rows = [str(number) for subject, number in self.numbers.items() if subject not in recorded]
        return (
            [f"{_PARTICIPANTS}: no EEG recording of the participant(s) in row(s) {', '.join(rows)}"]
            if rows
            else []
        )


def _diagnosis(path: Path, rows: Sequence[_Row]) -> tuple[str, str]:
    """Return the column of the diagnosis, "" if there is none, and why no diagnosis is known."""
    columns = [name for name in _DIAGNOSIS_COLUMNS if rows and name in rows[0]]
    for column in columns:
        if any(row[column].lower() in GROUPS for row in rows):
            return column, ""
    wanted = f"expected a column {' or '.join(_DIAGNOSIS_COLUMNS)} with {_EXPECTED}"
    if columns:
        return "", f"{path.name}: the {' and '.join(columns)} of no participant is known; {wanted}"
    names = ", ".join(rows[0]) if rows else "no row"
    return "", f"{path.name}: no column {' or '.join(_DIAGNOSIS_COLUMNS)}; found {names}; {wanted}"


def _recordings(path: Path) -> list[Path]:
    """Return the recordings that are there, are links or are announced by a ``scans.tsv`` or a sidecar."""
    found: list[Path] = []
    for parent in sorted([*path.glob("sub-*"), *path.glob("sub-*/ses-*")]):
        folder = parent / "eeg"
        files = sorted(folder.glob("sub-*"))
        here = without_parts([file for file in files if _is_eeg(file)])
        stems = {_stem(file) for file in here}
        with suppress(DataError):  # the problem of every recording there
            scans = [parent / name for name in _acquisition_times(parent)]
            announced = [file for file in scans if file.parent == folder and _is_eeg(file)]
            here += [file for file in announced if _stem(file) not in stems]
        stems |= {_stem(file) for file in here}
        # A sidecar in the folder of a recording whose entities are of none of the recordings there.
        own = [entities(stem).items() for stem in stems]
        here += [
            file.with_name(_stem(file))
            for file in files
            if file.name.endswith("_eeg.json") and not any(entities(file.name).items() <= one for one in own)
        ]
        found += here
    return found


def _is_eeg(file: Path) -> bool:
    return file.name.startswith("sub-") and _stem(file).endswith("_eeg") and is_recording(file)


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _entry(recording: Path, table: _Participants) -> Entry:
    folder = next(part for part in reversed(recording.parts[:-1]) if part.startswith("sub-"))
    subject, named = folder.removeprefix("sub-"), entities(recording.name)
    problem = table.problem(subject)
    if named.get("sub") != subject or not _NAME.fullmatch(_stem(recording)):
        problem = "its file name is not as BIDS requires, or not that of its folder's subject; rename it"
    row = table.rows.get(subject, {})
    try:
        events = find_sidecar(recording, "events.tsv")
        recorded = _acquired(recording)
    except DataError as error:
        events, recorded, problem = None, None, problem or str(error).removeprefix(f"{recording}: ")
    return Entry(
        recording,
        subject,
        None if problem else table.labels[subject],
        recorded=recorded,
        events=events,
        seizures=events,
        session=named.get("ses"),
        site=_value(row, "site"),
        sex=sex_of(row),
        age=age_of(row),
        problem=problem,
    )


def _value(row: _Row, name: str) -> str | None:
    value = row.get(name, "")
    return None if value.lower() in {"", "n/a"} else value


def _acquired(recording: Path) -> datetime | None:
    """Read the time of a recording from the ``scans.tsv`` of its session, if there is one."""
    folder = recording.parent.parent
    time = _acquisition_times(folder).get(recording.relative_to(folder).as_posix())
    try:
        return datetime.fromisoformat(time).replace(tzinfo=None) if time else None
    except ValueError:
        raise DataError(
            f"{_scans(folder)}: an acq_time of scans.tsv is not a time; expected YYYY-MM-DDThh:mm:ss or n/a"
        ) from None


def _scans(folder: Path) -> Path:
    """Return the path of the ``scans.tsv`` of a subject's or a session's folder."""
    names = [part for part in (folder.parent.name, folder.name) if part.startswith(("sub-", "ses-"))]
    return folder / f"{'_'.join(names)}_scans.tsv"


def _acquisition_times(folder: Path) -> dict[str, str | None]:
    """Return the time of each file in a ``scans.tsv``, None where it is unknown."""
    scans = _scans(folder)
    if not scans.is_file():
        return {}
    rows = read_table(scans, {"filename"}, delimiter="\t")
    return {row["filename"]: _value(row, "acq_time") for row in rows}


def _has_discharges(events: Path) -> bool:
    try:
        rows = read_table(events, set(), delimiter="\t")
    except DataError:  # reported when the recording is loaded
        return False
    return any(row.get("trial_type") == _DISCHARGE for row in rows)


def _description(path: Path) -> tuple[str, bool]:
    """Return the name of the corpus, and whether its name or origin identifies it as simulated.

    A missing name is not replaced by the folder's, which may name a person.
    """
    if not path.is_file():
        return _UNNAMED, False
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        name = str(description.get("Name", ""))
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a JSON object ({error})") from error
    origin = json.dumps([name, description.get("GeneratedBy", "")]).lower()
    return _UNNAMED if name in _NO_NAMES else name, "simulated" in origin
