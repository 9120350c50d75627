"""EEG in BIDS (Pernet et al. 2019) whose participants are told apart by epilepsy."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.table import GROUPS, read_table
from trainers.errors import DataError

PARTICIPANTS = "participants.tsv"
_DESCRIPTION = "dataset_description.json"
_SUFFIXES = {".edf", ".bdf", ".vhdr", ".set"}  # the formats that BIDS admits for EEG
_DIAGNOSIS_COLUMNS = ("group", "diagnosis")
_DISCHARGE = "discharge"


def open_bids(path: Path) -> Corpus:
    """List the recordings of a BIDS folder.

    Raises
    ------
    DataError
        ``participants.tsv`` tells no diagnosis or not everybody's, or there is no recording.
    """
    labels = _labels(path / PARTICIPANTS)
    entries = tuple(_entry(recording, labels) for recording in _recordings(path))
    if not entries:
        raise DataError(f"{path}: no recording; expected sub-*/eeg/*_eeg with {', '.join(sorted(_SUFFIXES))}")
    # A control's events.tsv may hold no discharge and still says so; that of a cognitive task, in a
    # corpus where nobody looked for discharges, says nothing.
    if not any(_tells_discharges(entry.events) for entry in entries if entry.events):
        entries = tuple(replace(entry, events=None) for entry in entries)
    name, simulated = _description(path / _DESCRIPTION)
    return Corpus(name or path.resolve().name, entries, simulated)


def read_events(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the discharges of an ``events.tsv``.

    Returns
    -------
    onset, duration
        (M,) each, in seconds, of the rows whose ``trial_type`` is ``discharge``.

    Raises
    ------
    DataError
        The table lacks a column, or an onset or duration is no number.
    """
    rows = read_table(path, {"onset", "duration", "trial_type"}, delimiter="\t")
    discharges = [row for row in rows if row["trial_type"] == _DISCHARGE]
    onset = [_seconds(path, row, "onset") for row in discharges]
    duration = [_seconds(path, row, "duration") for row in discharges]
    return np.array(onset), np.array(duration)


def _seconds(path: Path, row: dict[str, str], key: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path}: {key} {row[key]!r} of a discharge; expected seconds, not negative")
    return value


def _labels(path: Path) -> dict[str, int | None]:
    """Read each participant's label."""
    rows = read_table(path, {"participant_id"}, delimiter="\t")
    columns = {column.lower(): column for column in (rows[0] if rows else {})}
    column = next((columns[name] for name in _DIAGNOSIS_COLUMNS if name in columns), None)
    expected = ", ".join(sorted(GROUPS))
    if column is None:
        raise DataError(f"{path}: no column {' or '.join(_DIAGNOSIS_COLUMNS)}; expected one with {expected}")
    labels = {row["participant_id"]: GROUPS.get(row[column].lower()) for row in rows}
    if set(labels.values()) <= {None}:
        raise DataError(f"{path}: nobody's {column} is known; expected {expected}")
    if len(labels) < len(rows):
        raise DataError(f"{path}: a participant_id stands twice; expected one row a participant")
    return labels


def _recordings(path: Path) -> list[Path]:
    found = [*path.glob("sub-*/eeg/*_eeg.*"), *path.glob("sub-*/ses-*/eeg/*_eeg.*")]
    return sorted(recording for recording in found if recording.suffix.lower() in _SUFFIXES)


def _entry(recording: Path, labels: dict[str, int | None]) -> Entry:
    participant = recording.name.split("_")[0]
    if participant not in labels:
        raise DataError(f"{recording}: {participant} is not in {PARTICIPANTS}; expected a row for everybody")
    events = recording.with_name(recording.stem.removesuffix("_eeg") + "_events.tsv")
    return Entry(
        recording,
        participant.removeprefix("sub-"),
        labels[participant],
        events=events if events.is_file() else None,
    )


def _tells_discharges(events: Path) -> bool:
    rows = read_table(events, set(), delimiter="\t")
    return any(row.get("trial_type") == _DISCHARGE for row in rows)


def _description(path: Path) -> tuple[str, bool]:
    """Read the corpus's name, and whether its name or origin says that it was simulated."""
    if not path.is_file():
        return "", False
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        name = str(description.get("Name", ""))
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a JSON object ({error})") from error
    origin = json.dumps([name, description.get("GeneratedBy", "")]).lower()
    return name, "simulated" in origin
