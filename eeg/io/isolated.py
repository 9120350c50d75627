"""Opening by MNE in a process of its own, which a damaged file may stop, fill or occupy."""

import glob
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import mne

from trainers.errors import DataError

_PROGRAM = Path(__file__).with_name("open_with_mne.py")
_SECONDS, _SECONDS_A_BYTE = 30.0, 2e-7
_MEMORY, _MEMORY_A_BYTE = 4 << 30, 50  # bytes: a compressed sample becomes eight, copied several times


class ReaderError(Exception):
    """An error of one of MNE's readers: the name of its class, its text, and the number of an `OSError`."""

    def __init__(self, kind: str, text: str, number: int | None) -> None:
        super().__init__(kind, text, number)
        self.kind, self.text, self.number = kind, text, number


def open_isolated(path: Path) -> tuple[mne.io.BaseRaw, list[str]]:
    """Open a recording with MNE; return it with the texts of MNE's warnings.

    Raises
    ------
    ReaderError
        MNE raised it.
    DataError
        MNE's reader crashed, or took longer or more memory than files of that size need.
    """
    size = sum(file.stat().st_size for file in _parts(path))
    seconds = _SECONDS + size * _SECONDS_A_BYTE
    command = [sys.executable, "-P", str(_PROGRAM), str(path.absolute())]
    command.append(str(_MEMORY + size * _MEMORY_A_BYTE))
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=os.environ | single
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{path}: damaged, cannot be opened within {seconds:.0f} s; export it again"
        ) from None
    if done.returncode or not done.stdout:
        raise DataError(f"{path}: damaged, its reader stopped ({_ending(done.returncode)}); export it again")
    answer = pickle.loads(done.stdout)
    if len(answer) == 3:
        raise ReaderError(*answer)
    return answer


def _parts(path: Path) -> list[Path]:
    """Return the files of a recording that may be of several: a folder, or files of one name."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [file for file in path.parent.glob(f"{glob.escape(path.stem)}.*") if file.is_file()]


def _ending(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit status {code}"
