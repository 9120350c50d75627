"""One reader a corpus; every reader gives the same `Corpus` of `Entry` records."""

from pathlib import Path

from eeg.datasets.bids import PARTICIPANTS, open_bids, read_events
from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.guinea_bissau import METADATA, open_guinea_bissau
from trainers.errors import DataError

__all__ = ["Corpus", "Entry", "open_corpus", "read_events"]

_READERS = {PARTICIPANTS: open_bids, METADATA: open_guinea_bissau}  # by the file that gives a layout away


def open_corpus(path: Path) -> Corpus:
    """Recognise the layout of a folder and list its recordings.

    Parameters
    ----------
    path
        BIDS with a column ``group`` or ``diagnosis`` in ``participants.tsv``, or "EEG data from
        Guinea-Bissau" as published.

    Raises
    ------
    DataError
        There is no such folder, its layout is unknown, or what is in it cannot be understood.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder")
    for sign, reader in _READERS.items():
        if (path / sign).is_file():
            return reader(path)
    raise DataError(f"{path}: unknown layout; expected {' (BIDS) or '.join(_READERS)} (Guinea-Bissau) in it")
