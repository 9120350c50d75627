"""Segments in the columns of SzCORE (Dan et al. 2024), for tools that read its event lists."""

from collections.abc import Sequence
from pathlib import Path

from eeg.explanation.segments import Segment
from eeg.io.tables import format_number, write_table

_COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
_EVENT = "model_attribution"  # never sz or bckg: an attribution says nothing about seizures


def write_szcore(segments: Sequence[Segment], duration: float, path: Path) -> None:
    """Write the segments, in order of time, as SzCORE lists events; the type is ``model_attribution``.

    Readers that know types of seizures only, as epilepsy2bids does, refuse that type: so they should.

    Parameters
    ----------
    segments
        Their stability is the column ``confidence``.
    duration
        Of the recording, s.
    path
        The table to write.  It tells no date.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
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
