"""The value that every reader of a corpus returns."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One recording of a corpus: its file, its subject and its metadata in the corpus.

    Facts in the recording's header only are read by `eeg.evaluation.recording_metadata.entry_header`.
    """

    path: Path
    subject: str
    label: int | None  # 1 epilepsy, 0 control, None unknown
    recorded: datetime | None = None
    events: Path | None = None  # BIDS events.tsv with the annotated discharges, if there is one
    seizures: Path | None = None  # annotated seizures, for `read_seizures`, if there are any
    session: str | None = None
    site: str | None = None
    montage: str | None = None  # as the corpus names it: 01_tcp_ar
    sex: str | None = None  # "F" or "M"
    age: float | None = None  # years
    problem: str | None = None  # why no training and no evaluation uses it; names neither file nor subject


@dataclass(frozen=True)
class Corpus:
    """The recordings of one folder.

    Every recording that the corpus announces is an entry, also one whose file is missing.

    Parameters
    ----------
    name
        The name of the corpus.
    entries
        Its recordings.
    simulated
        Whether they are simulated.
    problems
        One line on each fault of the corpus's tables that is not one of a recording; names no subject.
    undiagnosed
        Why no subject has a diagnosis, where that is so.
    """

    name: str
    entries: tuple[Entry, ...]
    simulated: bool = False
    problems: tuple[str, ...] = ()
    undiagnosed: str = ""
