"""EEG data from Guinea-Bissau (van Hees et al. 2018, https://zenodo.org/records/1252141).

One recording per subject, 14 channels of an Emotiv EPOC at 128 Hz.  The day of recording alone nearly
separates the groups; compare every score on this corpus with that.
"""

from datetime import datetime
from pathlib import Path

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.participants import GROUPS
from eeg.io.tables import read_table
from trainers.errors import DataError

_METADATA = "metadata_guineabissau.csv"
_RECORDINGS = "EEGs_Guinea-Bissau"


def is_guinea_bissau(path: Path) -> bool:
    """Whether a folder has the metadata of this corpus."""
    return (path / _METADATA).is_file()


def open_guinea_bissau(path: Path) -> Corpus:
    """List the recordings that are present in a folder laid out as published.

    Raises
    ------
    DataError
        The metadata is not as published, or there is no recording beside it.
    """
    rows = read_table(path / _METADATA, {"subject.id", "Group", "startTime"}, delimiter=",")
    announced = [_entry(path, row) for row in rows]
    entries = tuple(entry for entry in announced if entry.path.is_file())
    if not entries:
        raise DataError(f"{path}: no recording; expected {_RECORDINGS}/signal-1.csv.gz and so on")
    missing = [str(row) for row, entry in enumerate(announced, start=2) if entry not in entries]
    problem = f"{_METADATA}: the recording(s) of row(s) {', '.join(missing)} are not in {_RECORDINGS}"
    return Corpus("Guinea-Bissau", entries, problems=(problem,) if missing else ())


def _entry(path: Path, row: dict[str, str]) -> Entry:
    subject = row["subject.id"]
    try:
        recorded = datetime.strptime(row["startTime"], "%d-%m-%Y %H:%M")
    except ValueError:
        raise DataError(
            f"{path / _METADATA}: startTime of subject {subject}; expected DD-MM-YYYY HH:MM"
        ) from None
    recording = path / _RECORDINGS / f"signal-{subject}.csv.gz"
    return Entry(recording, subject, GROUPS.get(row["Group"].lower()), recorded)
