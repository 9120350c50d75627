"""One reader a corpus; every reader gives the same `Corpus` of `Entry` records."""

from collections.abc import Callable
from pathlib import Path

from eeg.datasets.bids import PARTICIPANTS, open_bids, read_events
from eeg.datasets.bonn import open_bonn, segments
from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.guinea_bissau import METADATA, open_guinea_bissau
from eeg.datasets.listing import open_listing
from eeg.datasets.seizures import read_seizures
from eeg.datasets.tuep import class_folders, open_tuep
from trainers.errors import DataError

__all__ = ["Corpus", "Entry", "open_corpus", "read_events", "read_seizures", "reader"]


def open_corpus(path: Path) -> Corpus:
    """Recognise the layout of a folder and list its recordings.

    Parameters
    ----------
    path
        A folder: BIDS with a column ``group`` or ``diagnosis`` in ``participants.tsv``, the TUH EEG
        Epilepsy Corpus of any version, "EEG data from Guinea-Bissau" or the set of Bonn as published.  Or a
        table of anybody's recordings; see `open_listing`.

    Raises
    ------
    DataError
        There is no such folder, its layout is unknown, or what is in it cannot be understood.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder, nor a table")
    found = reader(path)
    if found is None:
        raise DataError(
            f"{path}: unknown layout; expected {PARTICIPANTS} (BIDS), {METADATA} (Guinea-Bissau), "
            "00_epilepsy (TUEP) or Z001.txt (Bonn) in it, or in its place a table with the columns path, "
            "subject and label"
        )
    return found(path)


def reader(path: Path) -> Callable[[Path], Corpus] | None:
    """Choose the reader of a corpus by what gives its layout away, None where nothing does."""
    if path.is_file():
        return open_listing
    if (path / PARTICIPANTS).is_file():
        return open_bids
    if (path / METADATA).is_file():
        return open_guinea_bissau
    if class_folders(path):
        return open_tuep
    return open_bonn if segments(path) else None
