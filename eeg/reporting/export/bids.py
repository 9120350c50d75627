"""Segments as BIDS events: a table, its sidecar, and the derivative dataset that contains them."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mne_bids import BIDSPath, get_entities_from_fname

from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.segments import Segment
from eeg.io.tables import format_number, write_table
from eeg.reporting.export.json import write_json
from trainers.errors import DataError

_BIDS_VERSION, _HED_VERSION = "1.10.0", "8.4.0"
_TOOL = "hebbian-eeg"

_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*(_eeg)?")

# The SCORE library of HED has tags for clinical findings; an attribution is not one.
_HED_DEFINITION = (
    "(Definition/Model-attribution, (Computed-feature, Label/Model-attribution, "
    "Description/A place that changes the score of a model and never a clinical finding.))"
)

_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Start of the segment, from the start of the recording", "Units": "s"},
    "duration": {"Description": "Length of the segment", "Units": "s"},
    "trial_type": {
        "Description": "Kind of mark. " + NOT_A_FINDING,
        "Levels": {"model_attribution": "A segment that changes the score of a model. " + RESEARCH_USE},
        "HED": {"model_attribution": "Def/Model-attribution"},
    },
    "channel": {"Description": "Channels that carry the attribution", "Delimiter": ","},
    "attribution": {
        "Description": "Attribution of the segment; positive raises the score",
        "Units": "logit of the network",
    },
    "change": {
        "Description": "The recording's probability minus its probability without the segment, -1 to 1"
    },
    "stability": {
        "Description": "Rank stability, 0 to 1: how often the segment remains among those listed when noise "
        "is added and the baseline is varied"
    },
    "rank": {"Description": "1 for the segment with the strongest attribution"},
}
_SIDECAR = {
    **_COLUMNS,
    "hed_definitions": {
        "Description": "Definitions of HED tags; not a column of the table",
        "HED": {"model_attribution": _HED_DEFINITION},
    },
}


def is_bids(name: str) -> bool:
    """Return whether a file name without its extension follows BIDS, as ``sub-01_task-rest_eeg``."""
    return _NAME.fullmatch(name) is not None


def write_derivative(segments: Sequence[Segment], name: str, root: Path) -> Path:
    """Write the segments of one recording to a BIDS derivative dataset, which is created if missing.

    Parameters
    ----------
    segments
        The strongest first.
    name
        The name of the recording: a BIDS name, whose entities are kept, or any other.
    root
        The folder of the dataset, usually ``<BIDS folder>/derivatives/hebbian-eeg``.

    Returns
    -------
    Path
        The table, ``sub-01/eeg/sub-01_task-rest_desc-attribution_events.tsv``.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    path: Path = _events_path(name, root).fpath
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot be created ({error.strerror}); choose another folder"
        ) from error
    write_json(_dataset(), root / "dataset_description.json")
    write_events(segments, path)
    return path


def _events_path(name: str, root: Path) -> BIDSPath:
    entities = (
        get_entities_from_fname(name) if is_bids(name) else {"subject": re.sub("[^A-Za-z0-9]", "", name)}
    )
    known = {key: value for key, value in entities.items() if value is not None}
    known = {"task": "unknown", **known, "description": "attribution"}
    return BIDSPath(**known, suffix="events", extension=".tsv", datatype="eeg", root=root)


def _dataset() -> dict[str, Any]:
    return {
        "Name": "Segments that change the score of a model",
        "BIDSVersion": _BIDS_VERSION,
        "HEDVersion": _HED_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": _TOOL, "Version": version(_TOOL), "Description": f"{NOT_A_FINDING} {RESEARCH_USE}"}
        ],
    }


def write_events(segments: Sequence[Segment], path: Path) -> None:
    """Write the segments as BIDS ``events.tsv``, in order of time, with a JSON sidecar of the same name.

    Parameters
    ----------
    segments
        The strongest first; the column ``rank`` keeps this order.
    path
        The table to write, ``..._events.tsv``; the sidecar beside it ends in ``.json``.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    ranked = sorted(enumerate(segments, 1), key=lambda row: row[1].onset)
    write_json(_SIDECAR, path.with_suffix(".json"))
    write_table(_COLUMNS, (_event(rank, segment) for rank, segment in ranked), path)


def _event(rank: int, segment: Segment) -> list[str]:
    """Return one row, in the order of ``_COLUMNS``."""
    return [
        format_number(segment.onset),
        format_number(segment.duration),
        "model_attribution",
        ",".join(segment.channels) or "n/a",
        format_number(segment.attribution),
        format_number(segment.change),
        format_number(segment.stability),
        str(rank),
    ]
