"""Opening by MNE in a process of its own, which a damaged file may stop, fill or occupy."""

import atexit
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mne

from eeg.io.recording_files import recording_files
from trainers.errors import DataError

_PROGRAM = Path(__file__).with_name("open_with_mne.py")
_SECONDS, _SECONDS_A_BYTE = 30.0, 2e-7  # of the processor
_PATIENCE = 20.0  # times as long by the clock: on a busy machine, or if the disk does not answer
_MEMORY, _MEMORY_A_BYTE = 4 << 30, 50  # bytes: a compressed sample becomes eight, copied several times

_XCPU = 24  # the signal of a process that has used its time; Windows has no such limit

_LOCK = threading.Lock()
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}  # by the process that uses it: a fork starts its own


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
    size = sum(file.stat().st_size for file in recording_files(path) if os.path.isfile(file))
    seconds = _SECONDS + size * _SECONDS_A_BYTE
    request = json.dumps([str(path.absolute()), _MEMORY + size * _MEMORY_A_BYTE, seconds])
    with _LOCK:
        used = os.getpid() in _CHILDREN
        answer = _ask(request, _PATIENCE * seconds)
        if used and isinstance(answer, int):  # a file before this one may have damaged the memory
            answer = _ask(request, _PATIENCE * seconds)
    if answer is None:
        raise DataError(f"{path}: damaged, cannot be opened within {seconds:.0f} s; export it again")
    if isinstance(answer, int):
        raise DataError(f"{path}: damaged, its reader stopped ({_ending(answer)}); export it again")
    found = pickle.loads(answer)
    if len(found) == 3:
        raise ReaderError(*found)
    return found


def _ask(request: str, seconds: float) -> bytes | int | None:
    """Return the answer of the child; its exit status if it ends without one, None if it takes longer.

    A child serves file after file, until one is not read.
    """
    child = _CHILDREN.get(os.getpid()) or _start()
    assert child.stdin is not None
    assert child.stdout is not None
    late: list[bool] = []

    def expire() -> None:
        late.append(True)
        child.kill()

    timer = threading.Timer(seconds, expire)
    timer.start()
    try:
        child.stdin.write(request.encode() + b"\n")
        child.stdin.flush()
        size = int.from_bytes(child.stdout.read(8), "big")
        answer = child.stdout.read(size)
    except OSError:  # it has ended
        size, answer = 0, b""
    finally:
        timer.cancel()
    if size and len(answer) == size:
        return answer
    code = _stop()
    return None if late or code == -_XCPU else code


def _start() -> subprocess.Popen[bytes]:
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    child = subprocess.Popen(
        [sys.executable, "-P", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | single,
    )
    _CHILDREN[os.getpid()] = child
    return child


def _stop() -> int:
    """End the child of this process, if there is one; return its exit status."""
    child = _CHILDREN.pop(os.getpid(), None)
    if child is None:
        return 0
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            pipe and pipe.close()
    try:
        return child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


atexit.register(_stop)


def _ending(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit status {code}"
