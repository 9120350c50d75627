"""Segments as a SzCORE event list (Dan et al. 2024)."""

from collections.abc import Sequence
from pathlib import Path

from eeg.explanation.segments import Segment
from eeg.io.tables import format_number, write_table

_COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
_EVENT = "model_attribution"  # never sz or bckg: an attribution is not a statement about seizures


def write_szcore(segments: Sequence[Segment], duration: float, path: Path) -> None:
    """Write the segments in order of time as SzCORE events of the type ``model_attribution``.

    Readers that accept seizure types only, such as epilepsy2bids, refuse this type, and should.

    Parameters
    ----------
    segments
        The segments; their rank stability becomes the column ``confidence``.
    duration
        Duration of the recording, s.
    path
        The table to write; its dates are ``n/a``.

    Raises
    ------
    DataError
        If the folder of ``path`` cannot be written.
    """
    rows = [
        (
            format_number(segment.onset),
            format_number(segment.duration),
            _EVENT,
            format_number(segment.stability),
            ",".join(segment.channels) or "n/a",
            "n/a",
            format_number(duration),
        )
        for segment in sorted(segments, key=lambda segment: segment.onset)
    ]
    write_table(_COLUMNS, rows, path)
