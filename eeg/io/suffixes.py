"""File names of recordings."""

from pathlib import Path

SUFFIXES = (
    *(".ahdr", ".bdf", ".cdt", ".cnt", ".csv.gz", ".dap", ".edf", ".eeg", ".fif", ".fif.gz", ".gdf"),
    *(".lay", ".mefd", ".mff", ".nedf", ".ns3", ".nxe", ".set", ".vhdr"),
)
"""Suffixes by which recordings are found in a folder."""

_FOLDERS = (".ds", ".mefd", ".mff")  # formats whose recordings are folders


def is_recording(path: Path) -> bool:
    """Return whether a path has the name of a recording; of BrainVision, the header only."""
    name = path.name.lower()
    headers = (path.with_suffix(suffix) for suffix in (".vhdr", ".ahdr", ".VHDR", ".AHDR"))
    signals_of_brainvision = name.endswith(".eeg") and any(header.exists() for header in headers)
    return name.endswith(SUFFIXES) and not name.startswith(".") and not signals_of_brainvision


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
