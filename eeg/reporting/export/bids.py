"""Segments as BIDS events: a table, its sidecar, and the derivative dataset that they belong to."""

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

BIDS_VERSION, HED_VERSION = "1.10.0", "8.4.0"
TOOL = "hebbian-eeg"

_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*(_eeg)?")

# HED has tags for what clinicians find (its SCORE library); an attribution is none of these.
_HED_DEFINITION = (
    "(Definition/Model-attribution, (Computed-feature, Label/Model-attribution, "
    "Description/A place that moved the score of a model and never a clinical finding.))"
)

_COLUMNS: dict[str, dict[str, Any]] = {
    "onset": {"Description": "Start of the segment, from the start of the recording", "Units": "s"},
    "duration": {"Description": "Length of the segment", "Units": "s"},
    "trial_type": {
        "Description": "Kind of mark. " + NOT_A_FINDING,
        "Levels": {"model_attribution": "A segment that moved the score of a model. " + RESEARCH_USE},
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
        "Description": "How often the segment stays among those shown when noise and other baselines come "
        "in, 0 to 1"
    },
    "rank": {"Description": "1 for the segment with the strongest attribution"},
}
_SIDECAR = {
    **_COLUMNS,
    "hed_definitions": {
        "Description": "Definitions of HED tags; no column of the table",
        "HED": {"model_attribution": _HED_DEFINITION},
    },
}


def is_bids(name: str) -> bool:
    """Tell whether a file's name without its ending is one of BIDS, as ``sub-01_task-rest_eeg``."""
    return _NAME.fullmatch(name) is not None


def write_derivative(segments: Sequence[Segment], name: str, root: Path) -> Path:
    """Write the segments of one recording into a derivative dataset of BIDS, which is made if need be.

    Parameters
    ----------
    segments
        The strongest first.
    name
        What the recording is called: a name of BIDS, whose entities are kept, or any other.
    root
        The folder of the dataset, ``<BIDS folder>/derivatives/hebbian-eeg`` to stand beside the recordings.

    Returns
    -------
    Path
        The table, ``sub-01/eeg/sub-01_task-rest_desc-attribution_events.tsv``.

    Raises
    ------
    DataError
        When the folder cannot be written.
    """
    path: Path = _place(name, root).fpath
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be made ({error.strerror}); choose another folder") from error
    write_json(_dataset(), root / "dataset_description.json")
    write_events(segments, path)
    return path


def _place(name: str, root: Path) -> BIDSPath:
    found = get_entities_from_fname(name) if is_bids(name) else {"subject": re.sub("[^A-Za-z0-9]", "", name)}
    known = {key: value for key, value in found.items() if value is not None}
    entities = {"task": "unknown", **known, "description": "attribution"}
    return BIDSPath(**entities, suffix="events", extension=".tsv", datatype="eeg", root=root)


def _dataset() -> dict[str, Any]:
    return {
        "Name": "Segments that moved the score of a model",
        "BIDSVersion": BIDS_VERSION,
        "HEDVersion": HED_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": TOOL, "Version": version(TOOL), "Description": f"{NOT_A_FINDING} {RESEARCH_USE}"}
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
        When the folder cannot be written.
    """
    ranked = sorted(enumerate(segments, 1), key=lambda row: row[1].onset)
    write_json(_SIDECAR, path.with_suffix(".json"))
    write_table(_COLUMNS, (_event(rank, segment) for rank, segment in ranked), path)


def _event(rank: int, segment: Segment) -> list[str]:
    """One row, in the order of ``_COLUMNS``."""
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
