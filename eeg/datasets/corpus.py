"""What every reader of a corpus gives."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One recording of a corpus: where it lies, whose it is, and what is known about it."""

    path: Path
    subject: str
    label: int | None  # 1 epilepsy, 0 control, None unknown
    recorded: datetime | None = None
    events: Path | None = None  # BIDS events.tsv with the annotated discharges, where there is one


@dataclass(frozen=True)
class Corpus:
    """The recordings of one folder."""

    name: str
    entries: tuple[Entry, ...]
    simulated: bool = False
