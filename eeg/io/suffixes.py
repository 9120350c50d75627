"""File names of recordings."""

from pathlib import Path

SUFFIXES = (
    *(".bdf", ".cdt", ".cnt", ".csv.gz", ".edf", ".eeg", ".fif", ".fif.gz", ".gdf", ".lay", ".mff", ".nxe"),
    *(".set", ".vhdr"),
)
"""Suffixes by which recordings are found in a folder."""

_FOLDERS = (".ds", ".mff")  # formats whose recordings are folders


def is_recording(path: Path) -> bool:
    """Return whether a path has the name of a recording; of BrainVision, the header only."""
    name = path.name.lower()
    signals_of_brainvision = name.endswith(".eeg") and path.with_suffix(".vhdr").exists()
    return name.endswith(SUFFIXES) and not name.startswith(".") and not signals_of_brainvision


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder and not a recording in the form of one."""
    return path.is_dir() and path.suffix.lower() not in _FOLDERS
