"""What must hold of a file: read correctly, or refused by one clear line, within time and memory."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from eeg.datasets import open_corpus
from tests.fuzz.seeds import CORPUS, SECRET
from trainers.errors import DataError

SECONDS = 60
MEGABYTES = 1500
"""Address space of a child beyond that of its parent."""


Worker = tuple[ForkProcess, Connection]
_WORKERS: dict[Callable[[Path], object], Worker] = {}


@dataclass(frozen=True)
class Outcome:
    """What came of a file.

    Parameters
    ----------
    kind
        ``"value"``, ``"refused"``, ``"error"`` (an exception of another type), ``"died"`` or ``"hung"``.
    value
        What the function returned, if it did.
    message
        The error, or how the process ended.
    """

    kind: str
    value: object = None
    message: str = ""


def attempt(function: Callable[[Path], object], path: Path, seconds: float = SECONDS) -> Outcome:
    """Call a function with a path in a forked process, whose memory and time are limited.

    The process serves file after file, until one is too much for it.
    """
    child, connection = _WORKERS.pop(function, None) or _start(function)
    connection.send(path)
    try:
        outcome = connection.recv() if connection.poll(seconds) else None
    except (EOFError, ConnectionResetError):
        child.join()
        return Outcome("died", message=f"the process ended with {_ending(child.exitcode)}")
    if outcome is None:
        child.kill()
        child.join()
        return Outcome("hung", message=f"no answer within {seconds:g} s")
    _WORKERS[function] = child, connection
    return outcome


def _start(function: Callable[[Path], object]) -> Worker:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(function, theirs), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: they are of no use here
        child.start()
    theirs.close()
    return child, ours


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(function: Callable[[Path], object], connection: Connection) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = taken + MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        path = connection.recv()
        try:
            outcome = Outcome("value", function(path))
        except DataError as error:
            outcome = Outcome("refused", message=str(error))
        except BaseException as error:
            lines = traceback.format_exception(error)
            outcome = Outcome("error", message="".join(lines[-4:]))
        connection.send(outcome)


def fault(outcome: Outcome, path: Path) -> str | None:
    """Return what is wrong with the outcome of a damaged file, None if nothing is.

    A value that is a list holds the messages of recordings that were left out.
    """
    if outcome.kind == "refused":
        return _fault_of_message(outcome.message, path)
    if outcome.kind != "value":
        return f"{outcome.kind}: {outcome.message}"
    messages = outcome.value if isinstance(outcome.value, list) else []
    return next(filter(None, (_fault_of_message(text, path) for text in messages)), None)


def _corpus_name(path: Path) -> str:
    """Return the name that a mutated corpus goes by, or that of the valid one."""
    try:
        return open_corpus(path.parent).name
    except DataError:
        return CORPUS


def _fault_of_message(text: str, path: Path) -> str | None:
    if len(text.replace(str(path.parent), "")) > 500:
        return f"a message of {len(text)} characters: {text}"
    if not text.isprintable():
        return f"a message with control characters: {text!r}"
    if SECRET in text:
        return f"a message that repeats the patient's name: {text}"
    if not any(name in text for name in (path.parent.name, CORPUS, _corpus_name(path))):
        return f"a message that names neither the file nor the corpus: {text}"
    return None
