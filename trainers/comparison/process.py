"""A function in a process of its own: its peak of memory is its own, and its death harms nobody else."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

_MIB = 2**20
S = TypeVar("S")
T = TypeVar("T")


class Failed(Exception):
    """The function raised, or its process died; the message says how, in one line."""


def in_own_process(function: Callable[..., T], *args: Any) -> T:
    """Return ``function(*args)``, called in a new Python.

    As everywhere with new processes, function and arguments must be picklable, and a script that gets
    here does so under ``if __name__ == "__main__":``.

    Raises
    ------
    Failed
        If it raised, or its process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(there, function, args), daemon=True)
    process.start()
    there.close()
    try:
        outcome, reason = here.recv()
    except EOFError:
        process.join()
        raise Failed(f"its process was ended: {_ending(process.exitcode)}") from None
    process.join()
    if reason:
        raise Failed(reason)
    return outcome


@dataclass(frozen=True)
class Pool:
    """Waits in ``jobs`` threads for as many processes, and begins nothing after ``deadline``.

    The deadline is one of `time.monotonic`.
    """

    jobs: int
    deadline: float

    def map(self, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """Give what ``function`` returns, as it comes."""

        def in_time(item: S) -> list[T]:
            return [function(item)] if time.monotonic() < self.deadline else []

        pool = ThreadPoolExecutor(self.jobs)
        try:
            for future in as_completed([pool.submit(in_time, item) for item in items]):
                yield from future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def peak_memory() -> float:
    """Return the peak of this process's resident memory, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it started this process
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if found:
            return int(found[1]) * 1024 / _MIB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def _call(pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        outcome = function(*args), ""
    except Exception as error:  # whatever it was, the parent tells it
        outcome = None, " ".join(f"{type(error).__name__}: {error}".split())
    pipe.send(outcome)


def _end_with_parent() -> None:
    """Stay behind for nobody: the parent may have been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name
