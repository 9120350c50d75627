"""EEG in BIDS (Pernet et al. 2019) with a diagnosis of each participant: epilepsy or control."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.participants import GROUPS, age_of, sex_of
from eeg.io.tables import read_seconds, read_table
from trainers.errors import DataError

if TYPE_CHECKING:
    from mne_bids import BIDSPath

_PARTICIPANTS = "participants.tsv"
_DESCRIPTION = "dataset_description.json"
_SUFFIXES = [".bdf", ".edf", ".set", ".vhdr"]  # the formats that BIDS allows for EEG
_DIAGNOSIS_COLUMNS = ("group", "diagnosis")
_DISCHARGE = "discharge"
_UNNAMED = "unnamed"
_NO_NAMES = ("", "[Unspecified]")  # the latter is what MNE-BIDS writes

_Row = dict[str, str]


def has_participants(path: Path) -> bool:
    """Whether a folder has a table of participants."""
    return (path / _PARTICIPANTS).is_file()


def open_bids(path: Path) -> Corpus:
    """List the recordings of a BIDS folder.

    Raises
    ------
    DataError
        ``participants.tsv`` has no diagnoses or lacks a participant, a file name breaks the rules of BIDS,
        or there is no recording.
    """
    participants, column = _participants(path / _PARTICIPANTS)
    entries = tuple(_entry(recording, participants, column) for recording in _recordings(path))
    if not entries:
        raise DataError(f"{path}: no recording; expected sub-*/eeg/*_eeg with {', '.join(_SUFFIXES)}")
    # A control's events.tsv without a discharge is an annotation; in a corpus without any discharge, such as
    # of a cognitive task, it is not.
    if not any(_has_discharges(events) for events in {entry.events for entry in entries} if events):
        entries = tuple(replace(entry, events=None) for entry in entries)
    name, simulated = _description(path / _DESCRIPTION)
    return Corpus(name, entries, simulated)


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


def _participants(path: Path) -> tuple[dict[str, _Row], str]:
    """Return the row of each participant id, its columns in lower case, and the column of the diagnosis."""
    rows = [
        {name.lower(): value for name, value in row.items()}
        for row in read_table(path, {"participant_id"}, delimiter="\t")
    ]
    column = next((name for name in _DIAGNOSIS_COLUMNS if rows and name in rows[0]), None)
    expected = ", ".join(sorted(GROUPS))
    if column is None:
        raise DataError(f"{path}: no column {' or '.join(_DIAGNOSIS_COLUMNS)}; expected one with {expected}")
    if not any(row[column].lower() in GROUPS for row in rows):
        raise DataError(f"{path}: the {column} of no participant is known; expected {expected}")
    participants = {row["participant_id"]: row for row in rows}
    if len(participants) < len(rows):
        raise DataError(f"{path}: a participant_id appears twice; expected one row per participant")
    return participants, column


def _recordings(path: Path) -> list[BIDSPath]:
    from mne_bids import find_matching_paths

    try:
        return find_matching_paths(
            path, suffixes="eeg", datatypes="eeg", extensions=_SUFFIXES, ignore_nosub=True
        )
    except ValueError as error:
        raise DataError(f"{path}: a file name that BIDS does not allow ({error}); rename it") from error


def _entry(recording: BIDSPath, participants: dict[str, _Row], column: str) -> Entry:
    participant = f"sub-{recording.subject}"
    if participant not in participants:
        raise DataError(
            f"{recording.fpath}: {participant} is not in {_PARTICIPANTS}; expected a row per participant"
        )
    row = participants[participant]
    events = recording.find_matching_sidecar("events", ".tsv", on_error="ignore")
    return Entry(
        recording.fpath,
        recording.subject,
        GROUPS.get(row[column].lower()),
        recorded=_acquired(recording),
        events=events,
        seizures=events,
        session=recording.session,
        site=_value(row, "site"),
        sex=sex_of(row),
        age=age_of(row),
    )


def _value(row: _Row, name: str) -> str | None:
    value = row.get(name, "")
    return None if value.lower() in {"", "n/a"} else value


def _acquired(recording: BIDSPath) -> datetime | None:
    """Read the time of a recording from the ``scans.tsv`` of its session, if there is one."""
    folder = recording.fpath.parent.parent
    entities = [f"sub-{recording.subject}", *([f"ses-{recording.session}"] if recording.session else [])]
    scans = folder / f"{'_'.join(entities)}_scans.tsv"
    if not scans.is_file():
        return None
    rows = read_table(scans, {"filename"}, delimiter="\t")
    times = [_value(row, "acq_time") for row in rows if folder / row["filename"] == recording.fpath]
    try:
        return datetime.fromisoformat(times[0]).replace(tzinfo=None) if times and times[0] else None
    except ValueError:
        raise DataError(f"{scans}: an acq_time is not a time; expected YYYY-MM-DDThh:mm:ss or n/a") from None


def _has_discharges(events: Path) -> bool:
    rows = read_table(events, set(), delimiter="\t")
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
