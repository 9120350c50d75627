"""The files that a recording consists of; those that a header names are only looked for beside it."""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path

from eeg.io.fif import possible_parts
from eeg.io.sidecars import find_sidecar

# The suffixes of files of the same name that are read with a file, in the order in which they are hashed.
_PARTS = {
    ".vhdr": (".vmrk",),
    ".ahdr": (".amrk", ".vmrk"),
    ".set": (".fdt",),
    ".eeg": (".pnt", ".21e", ".log"),
    ".cdt": (".cdt.dpa", ".cdt.dpo", ".cdt.cef", ".cdt.ceo"),
    ".dap": (".dat", ".rs3", ".cef", ".ceo"),
    ".cnt": (".evt", ".trg"),
}
# The lines in which a header names its files.
_LINES = {".vhdr": "(?:Data|Marker)File", ".ahdr": "(?:Data|Marker)File", ".lay": "File"}
_MOST = 1 << 24  # bytes of a header in which names are looked for: none is longer
_MATLAB, _COMPRESSED = 128, 15  # the first element of a file of MATLAB, and the type of a compressed one


def recording_files(path: Path) -> list[Path]:
    """Return the files that hold the content of a recording.

    Parameters
    ----------
    path
        A recording, or its header.

    Returns
    -------
    Of a recording that is a folder, all files in it, sorted.  Otherwise the file itself, those that its
    header names and those of the same name that are read with it; some may be missing.  All are in the
    folder of the recording.
    """
    if path.is_dir():
        return sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    parts = [_spelled(path, part) for part in _PARTS.get(path.suffix.lower(), ())]
    return list(dict.fromkeys([path, *named_files(path), *filter(None, parts)]))


def files_with_sidecars(path: Path) -> list[Path]:
    """Return all files that are read for a recording: `recording_files`, later parts of a FIF, and sidecars.

    Raises
    ------
    DataError
        As `eeg.io.sidecars.find_sidecar`.
    """
    sidecars = (find_sidecar(path, kind) for kind in ("channels.tsv", "events.tsv"))
    return [*recording_files(path), *possible_parts(path), *filter(None, sidecars)]


def named_files(header: Path) -> list[Path]:
    """Return the files beside a header of BrainVision, Persyst or EEGLAB that it names."""
    suffix = header.suffix.lower()
    if suffix in _LINES:
        written = named_in(_start(header), suffix)
        names = [Path(name.replace("\\", "/")).name for name in written]
        return [header.parent / name for name in names if name not in {"", ".."}]
    if suffix == ".set":
        return [header.parent / name for name in _signals_of_eeglab(header)]
    return []


def named_in(header: bytes, suffix: str = ".vhdr") -> list[str]:
    r"""Return the names of files, as they are written, in the text of a header of BrainVision or Persyst.

    >>> named_in(b"[Common Infos]\nDataFile=a.eeg\nmarkerfile : x/b.vmrk\n[Comment]\nDataFile=c.eeg")
    ['a.eeg', 'x/b.vmrk']
    """
    try:
        text = header.decode()
    except UnicodeDecodeError:
        text = header.decode("latin-1")
    line = re.compile(rf"^\s*{_LINES[suffix]}[^\S\n]*[=:](.*\S)", re.MULTILINE | re.IGNORECASE)
    return [name.strip() for name in line.findall(text.split("[Comment]")[0])]


def _start(file: Path) -> bytes:
    with suppress(OSError):
        if file.is_file():
            with file.open("rb") as opened:
                return opened.read(_MOST)
    return b""


def _spelled(path: Path, suffix: str) -> Path | None:
    """Return the file of the same name with a suffix in lower or upper case, None if there is none."""
    files = (path.with_suffix(one) for one in (suffix, suffix.upper()))
    return next((file for file in files if os.path.lexists(file)), None)


def _signals_of_eeglab(header: Path) -> list[str]:
    """Return the names of the ``.fdt`` in the folder of a ``.set`` that it contains, as ``EEG.data`` does."""
    try:
        beside = [name for name in sorted(os.listdir(header.parent)) if name.endswith(".fdt")]
    except OSError:
        return []
    if not set(beside) - {header.with_suffix(".fdt").name}:
        return []
    text, found = _text_of_matlab(_start(header)), []
    for name in sorted(beside, key=len, reverse=True):  # 11.fdt before 1.fdt, which is a part of its name
        written = {name.encode(code, "replace") for code in ("utf-8", "latin-1", "utf-16-le")}
        if any(one in text for one in written):
            found.append(name)
            for one in written:
                text = text.replace(one, b"")
    return found


def _text_of_matlab(content: bytes) -> bytes:
    """Return the content of a file of MATLAB with its compressed elements expanded, up to a size."""
    start, parts, room = _MATLAB, [content], _MOST
    while start + 8 <= len(content) and room > 0:
        kind, size = (int.from_bytes(content[at : at + 4], "little") for at in (start, start + 4))
        if kind == _COMPRESSED:
            with suppress(zlib.error):
                parts.append(zlib.decompressobj().decompress(content[start + 8 : start + 8 + size], room))
                room -= len(parts[-1])
        start += 8 + size
    return b"\0".join(parts)
