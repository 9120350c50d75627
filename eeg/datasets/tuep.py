"""The TUH EEG Epilepsy Corpus, versions 1 to 3 (Veloso et al. 2017), as laid out by Temple University.

Version 1:      ``v1.0.0/edf/epilepsy/01_tcp_ar/084/00008476/s003_2012_10_22/00008476_s003_t003.edf``
Versions 2, 3:  ``v2.0.1/00_epilepsy/aaaaaanr/s001_2003/02_tcp_le/aaaaaanr_s001_t001.edf``

The native sampling rate alone separates the groups with an AUC of 0.73 (files of version 3); compare
every score on this corpus with that.
"""

import re
from pathlib import Path

from eeg.datasets.corpus import Corpus, Entry
from eeg.datasets.temple import ENDINGS
from eeg.io.sidecars import is_announced
from trainers.errors import DataError

_CLASSES = {"epilepsy": 1, "00_epilepsy": 1, "no_epilepsy": 0, "01_no_epilepsy": 0}
_MONTAGE = r"(?P<montage>01_tcp_ar|02_tcp_le|03_tcp_ar_a|04_tcp_le_a)"
_SESSION = r"(?P<session>s\d{3})_\d{4}(?:_\d{2}_\d{2})?"
_FILE = r"(?P=subject)_(?P=session)_t\d{3}\.(?i:edf)"
_MISPLACED = (
    "not where TUEP has recordings; expected PATIENT/sNNN_YYYY/MONTAGE/*.edf or, in version 1, "
    "MONTAGE/NNN/PATIENT/sNNN_YYYY_MM_DD/*.edf below its class; move it elsewhere"
)
_LAYOUTS = (
    re.compile(rf"{_MONTAGE}/\d{{3}}/(?P<subject>\d{{8}})/{_SESSION}/{_FILE}"),
    re.compile(rf"(?P<subject>[a-z]{{8}})/{_SESSION}/{_MONTAGE}/{_FILE}"),
)


def is_tuep(path: Path) -> bool:
    """Whether a folder holds the folder of a class."""
    return bool(_class_folders(path))


def _class_folders(path: Path) -> list[Path]:
    """Return the folders of the two classes: in ``path``, below ``edf``, or in a folder of a version."""
    places = [path, path / "edf", *path.glob("v*.*.*"), *path.glob("v*.*.*/edf")]
    return [place / name for place in places for name in _CLASSES if (place / name).is_dir()]


def open_tuep(path: Path) -> Corpus:
    """List the recordings of a version of the corpus; one that is in another place has a problem.

    Raises
    ------
    DataError
        The folder holds several versions, or no recording.
    """
    folders = _class_folders(path)
    if len({folder.parent for folder in folders}) > 1:
        raise DataError(f"{path}: several versions of TUEP, which share patients; give the folder of one")
    files = [(folder, file) for folder in folders for file in _recordings(folder)]
    if not files:
        raise DataError(f"{path}: no recording; expected *.edf below {' and '.join(sorted(_CLASSES))}")
    return Corpus("TUH EEG Epilepsy Corpus", tuple(_entry(folder, file) for folder, file in files))


def _recordings(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() == ".edf")


def _entry(folder: Path, file: Path) -> Entry:
    place = file.relative_to(folder).as_posix()
    found = next((match for layout in _LAYOUTS if (match := layout.fullmatch(place))), None)
    if found is None:
        return Entry(file, "", None, problem=_MISPLACED)
    annotations = (file.with_suffix(suffix) for suffix in ENDINGS)
    return Entry(
        file,
        found["subject"],
        _CLASSES[folder.name],
        seizures=next((table for table in annotations if is_announced(table)), None),
        session=found["session"],
        montage=found["montage"],
    )
