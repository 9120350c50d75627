"""Each job in its own process: peak memory is measured per job, and a crash does not affect other jobs."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, TypeVar

from trainers.errors import DataError

_MIB = 2**20
_GUARD = (
    "each run is a new process, which imports the script first, "
    'so that the script must make this call under `if __name__ == "__main__":`'
)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class JobError(Exception):
    """The function raised, or its process died; the message states the cause in one line."""


def refuse_import() -> None:
    """End a process of `run_in_process` in which the script runs again because nothing prevents it."""
    if getattr(current_process(), "_inheriting", False):  # as multiprocessing recognises it
        sys.exit(f"Error: {_GUARD}")


def run_in_process(function: Callable[..., _Result], *args: Any) -> _Result:
    """Return ``function(*args)``, called in a new Python process.

    As with any new process, function and arguments must be picklable, and a script that calls this must
    do so under ``if __name__ == "__main__":``.

    Raises
    ------
    JobError
        If the function raised, or its process died.
    DataError
        If the process ended before the function was called, as where the script lacks that line.
    """
    context = get_context("spawn")
    began = context.Event()
    # One executor a job: a process that dies breaks its whole executor.
    with ProcessPoolExecutor(1, context, _begin, (began,)) as executor:
        try:
            return executor.submit(function, *args).result()
        except BrokenProcessPool:
            if not began.is_set():
                raise DataError(
                    f"a new process ended before its job began: {_GUARD}, or memory ran out"
                ) from None
            raise JobError("the process was killed or exited, possibly because memory ran out") from None
        except Exception as error:  # any error of the job becomes one line
            raise JobError(" ".join(f"{type(error).__name__}: {error}".split())) from error


def run_jobs(
    function: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int, deadline: float
) -> Iterator[_Result]:
    """Yield the results of ``function`` as they come.

    Parameters
    ----------
    function
        Called in a thread for each item; it may wait for `run_in_process`.
    items
        Its arguments.
    jobs
        Number of calls at a time.
    deadline
        Time of `time.monotonic` after which no call begins.
    """

    def in_time(item: _Item) -> list[_Result]:
        return [function(item)] if time.monotonic() < deadline else []

    threads = ThreadPoolExecutor(jobs)
    try:
        for future in as_completed([threads.submit(in_time, item) for item in items]):
            yield from future.result()
    finally:
        threads.shutdown(cancel_futures=True)


def peak_memory() -> float:
    """Return the peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the memory of the parent when it started this process
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if match:
            return int(match[1]) * 1024 / _MIB
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def _begin(began: Event) -> None:
    began.set()
    exit_with_parent()


def exit_with_parent() -> None:
    """End this process when its parent ends, which may have been killed."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
