"""The epilepsy set of Bonn University (Andrzejak et al. 2001): five sets of 100 segments of one channel.

Sets Z and O were recorded from the scalp of healthy people, N, F and S from the brain of patients, S during
seizures.  The classes were recorded in different ways and the subject of a segment is unknown: a score on
this set is not evidence about epilepsy in scalp EEG.
"""

from pathlib import Path

from eeg.datasets.corpus import Corpus, Entry
from eeg.io.text import is_bonn_segment
from trainers.errors import DataError

_HEALTHY = "ZO"
_SIZE = 500


def segments(path: Path) -> list[Path]:
    """Return the segments in a folder and in the folders of its sets."""
    return sorted(file for file in [*path.glob("*.*"), *path.glob("*/*.*")] if is_bonn_segment(file))


def is_bonn(path: Path) -> bool:
    """Whether a folder holds any segment."""
    return bool(segments(path))


def open_bonn(path: Path) -> Corpus:
    """List the segments, each set as one subject.

    Each set contains segments of five people, not identified: only a split that keeps whole sets together
    is sure to keep people together.

    Raises
    ------
    DataError
        A segment is missing or present twice.
    """
    found = segments(path)
    names = {file.name.upper() for file in found}
    if not len(found) == len(names) == _SIZE:
        raise DataError(
            f"{path}: {len(found)} segments, {len(names)} of them different; expected {_SIZE}, Z001.txt to "
            "S100.txt: unpack the five archives again"
        )
    return Corpus("Bonn", tuple(_entry(file) for file in found))


def _entry(file: Path) -> Entry:
    letter = file.name[0].upper()
    healthy = letter in _HEALTHY
    return Entry(file, letter, int(not healthy), montage="scalp" if healthy else "intracranial")
