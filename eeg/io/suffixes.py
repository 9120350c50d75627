"""File names of recordings."""

import os
from pathlib import Path

from eeg.io.recording_files import named_files

SUFFIXES = (
    *(".ahdr", ".bdf", ".cdt", ".cnt", ".csv.gz", ".dap", ".edf", ".eeg", ".fif", ".fif.gz", ".gdf"),
    *(".lay", ".mefd", ".mff", ".nedf", ".ns3", ".nxe", ".set", ".vhdr"),
)
"""Suffixes by which recordings are found in a folder."""

_FOLDERS = (".ds", ".mefd", ".mff")  # formats whose recordings are folders


def is_recording(path: Path) -> bool:
    """Return whether a path has the name of a recording; of BrainVision, the header only."""
    name = path.name.lower()
    if not name.endswith(SUFFIXES) or name.startswith("."):
        return False
    return not (name.endswith(".eeg") and _has_header(path))


def _has_header(signals: Path) -> bool:
    """Return whether a header of BrainVision beside a file has its name or names it."""
    if any(signals.with_suffix(suffix).exists() for suffix in (".vhdr", ".ahdr", ".VHDR", ".AHDR")):
        return True
    try:
        names = os.listdir(signals.parent)
    except OSError:
        return False
    headers = (signals.with_name(name) for name in names if name.lower().endswith((".vhdr", ".ahdr")))
    return any(signals in named_files(header) for header in headers)


def recording_stem(path: Path) -> str:
    """Return the name of a recording without its suffix; dots at its ends, which hide files, are stripped.

    Line breaks, other control characters and bytes that are not UTF-8 are replaced by ``_``.

    >>> [recording_stem(Path(name)) for name in ("2020.01.02.edf", "a_raw.fif.gz", ".hidden.edf")]
    ['2020.01.02', 'a_raw', 'hidden']
    """
    name = path.name
    suffixes = sorted((s for s in SUFFIXES if name.lower().endswith(s)), key=len)
    stem = name[: -len(suffixes[-1])] if suffixes else path.stem
    printable = "".join(letter if letter.isprintable() else "_" for letter in stem)
    return printable.strip(". ") or "recording"


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder and not a recording in the form of one."""
    return path.is_dir() and path.suffix.lower() not in _FOLDERS
