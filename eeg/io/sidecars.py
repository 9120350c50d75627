"""Files of BIDS about a recording, found by its inheritance principle."""

import os
from pathlib import Path

from trainers.errors import DataError


def entities(name: str) -> dict[str, str]:
    """Return the entities in a file name of BIDS.

    >>> entities("sub-01_task-rest_eeg.edf")
    {'sub': '01', 'task': 'rest'}
    """
    parts = name.split(".")[0].split("_")
    return {key: value for key, dash, value in (part.partition("-") for part in parts) if dash}


def is_announced(file: Path) -> bool:
    """Return whether a file is there, or a link to one that is not: its reader then reports that."""
    return os.path.isfile(file) or os.path.islink(file)  # False for a name that is too long


def find_sidecar(recording: Path, kind: str) -> Path | None:
    """Return the file of a kind that applies to a recording, None if there is none.

    Parameters
    ----------
    recording
        The recording's file.
    kind
        The end of the file's name: ``channels.tsv``.

    Returns
    -------
    The nearest file, from the folder of the recording up to that of the data set, of those whose entities
    are all those of the recording; in one folder, that with the most entities.  Of a recording that is not
    named as in BIDS, the file beside it with the same name up to ``_eeg``.

    Raises
    ------
    DataError
        Several files in one folder apply equally.
    """
    own = entities(recording.name)
    if "sub" not in own:
        beside = recording.with_name(f"{recording.stem.removesuffix('_eeg')}_{kind}")
        return beside if is_announced(beside) else None
    for folder in _folders(recording):
        applies = {
            file: len(found)
            for file in folder.glob(f"*{kind}")
            if (file.name == kind or file.name.endswith(f"_{kind}"))
            and (found := entities(file.name)).items() <= own.items()
            and is_announced(file)
        }
        nearest = [file for file, count in applies.items() if count == max(applies.values())]
        if len(nearest) > 1:
            names = " and ".join(sorted(file.name for file in nearest))
            raise DataError(f"{recording}: {names} apply equally; expected one {kind} per recording")
        if nearest:
            return nearest[0]
    return None


def _folders(recording: Path) -> list[Path]:
    """Return the folders from that of a recording up to that of the data set, which holds the subject's."""
    subject = f"sub-{entities(recording.name)['sub']}"
    folders = list(recording.absolute().parents)
    depth = next((i for i, folder in enumerate(folders) if folder.name == subject), -1)
    return folders[: depth + 2]
