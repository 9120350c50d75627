"""What MNE warns of while it opens a recording, in words of our own.

MNE's texts are not passed on: they quote names of files and channels, annotations and fields of headers.
"""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_BLIND = "so neither seizures nor joints are known"
_UNKNOWN = "MNE warns of it; open it with mne.io.read_raw to see the text"

# By what is in the text of MNE; None for what is verified elsewhere or does not concern the signal.
_NOTES: dict[str, str | None] = {
    r"MarkerFile .* not found; no annot": f"its marker file is missing, {_BLIND}",
    r"MarkerFile .* not found; using": "its header names another marker file than the one read",
    r"Data file name in EEG.data": "its header names another signal file than the one read",
    r"No LOG file exists": f"its file of events is missing, {_BLIND}",
    r"(Omitted|Limited) \d+ annotation": "annotations outside its signal are cut off",
    r"events have an onset that is NaN": "some of its events have no time and are not read",
    r"[Cc]ould not decode": "some of its annotations cannot be decoded",
    r"event annotations found": f"it contains no events, {_BLIND}",
    r"not referenced to the same": "electrodes have different references, which an average does not remove",
    r"n_channels override": "its header announces fewer channels than it lists, and the first are read",
    r"meas(urement)? date": None,
    r"records from the header does not match": None,
    r"(high|low)pass": None,
    r"filter": None,
    r"PNT file": None,
    r"DataPoints": None,
    r"'boundary' events": None,
    r"sample index of -1": None,
    r"range is not defined|Scaling factor": None,
    r"[Cc]oordinate|positions? of|head radius|channel locations": None,
    r"Unknown types found": None,
    r"not unique|naming conventions|duplicate": None,
    r"mixed sampling frequencies": None,
    r"patient information": None,
}


@contextmanager
def collect_notes(notes: list[str]) -> Iterator[None]:
    """Add to ``notes`` what MNE warns of, instead of showing it."""
    logger = logging.getLogger("mne")
    logger.addFilter(_reject)  # MNE may log its warnings too
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logger.removeFilter(_reject)
    notes += notes_from(str(one.message) for one in caught)


def _reject(_: logging.LogRecord) -> bool:
    return False


def notes_from(texts: Iterable[str]) -> list[str]:
    """Return notes on a recording for the texts of MNE's warnings, each once."""
    notes = dict.fromkeys(map(_note, texts))
    return [note for note in notes if note is not None]


def _note(text: str) -> str | None:
    return next((note for pattern, note in _NOTES.items() if re.search(pattern, text)), _UNKNOWN)
