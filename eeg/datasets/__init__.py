"""One reader per corpus layout; every reader returns the same `Corpus` of `Entry` records."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eeg.datasets.bids import has_participants, open_bids, read_events
from eeg.datasets.bonn import is_bonn, open_bonn
from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.guinea_bissau import is_guinea_bissau, open_guinea_bissau
from eeg.datasets.listing import is_listing, open_listing
from eeg.datasets.outside import refuse_outside
from eeg.datasets.seizures import read_seizures
from eeg.datasets.tuep import is_tuep, open_tuep
from eeg.io.suffixes import is_recording
from trainers.errors import DataError

__all__ = ["READERS", "Corpus", "Entry", "find_reader", "open_corpus", "read_events", "read_seizures"]


class Reader(NamedTuple):
    """How one corpus layout is recognised and read."""

    sign: str  # what identifies the layout, for messages
    recognises: Callable[[Path], bool]
    open: Callable[[Path], Corpus]
    is_foreign: bool = False  # whether its paths and links may be those of a stranger


READERS = (
    Reader("a table with the columns path, subject and label", is_listing, open_listing, True),
    Reader("a folder with participants.tsv (BIDS)", has_participants, open_bids, True),
    Reader("metadata_guineabissau.csv (Guinea-Bissau)", is_guinea_bissau, open_guinea_bissau),
    Reader("00_epilepsy (TUEP)", is_tuep, open_tuep),
    Reader("Z001.txt (Bonn)", is_bonn, open_bonn),
)
"""All layouts; of several that recognise a path, the first reads it."""


def open_corpus(path: str | Path, *, outside: bool = False) -> Corpus:
    r"""Recognise the layout of a corpus and list its recordings.

    Parameters
    ----------
    path
        A folder: BIDS with a column ``group`` or ``diagnosis`` in ``participants.tsv``, the TUH EEG
        Epilepsy Corpus of any version, "EEG data from Guinea-Bissau" or the set of Bonn as published.  Or a
        table of your own recordings; see `eeg.datasets.listing.open_listing`.
    outside
        Allow paths and links of a table or of BIDS that leave its folder.

    Raises
    ------
    DataError
        There is no such folder, its layout is unknown, its content is not as the layout requires, or a path
        leaves its folder.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> (folder / "a.edf").touch()
    >>> _ = (folder / "clinic.csv").write_text("path,subject,label\na.edf,S1,control\n")
    >>> corpus = open_corpus(folder / "clinic.csv")
    >>> corpus.name, [(entry.subject, entry.label) for entry in corpus.entries]
    ('a table of recordings', [('S1', 0)])
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder or table; give an existing one")
    if path.is_file() and is_recording(path):
        raise DataError(f"{path}: an EEG recording; expected a corpus folder or a table of recordings")
    reader = find_reader(path)
    if reader is None:
        raise DataError(f"{path}: unknown layout; expected {', '.join(one.sign for one in READERS)}")
    corpus = reader.open(path)
    if reader.is_foreign and not outside:
        refuse_outside(corpus, path if path.is_dir() else path.parent)
    return corpus


def find_reader(path: Path) -> Reader | None:
    """Return the reader that recognises a path, None if there is none."""
    return next((reader for reader in READERS if reader.recognises(path)), None)
