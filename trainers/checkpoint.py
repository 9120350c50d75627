"""Checkpoints: an interrupted training goes on as if nothing had happened."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainers.distributed import anywhere, rank
from trainers.errors import DataError
from trainers.files import replacing, sweep
from trainers.provenance import differences, to_plain, versions
from trainers.trainer import Trainer

_FORMAT = "hebbian-eeg checkpoint 1"


class Checkpoint:
    """A file from which an interrupted training goes on; a callback, the last of its trainer.

    On a CPU, with the same number of threads, the outcome equals that of a training without interruption
    bit for bit.  `trainers.train` does all that is needed; by hand it is::

        checkpoint = Checkpoint(path)
        checkpoint.open(model, {"seed": 0})
        trainer = Trainer(rule, optimizer, [..., checkpoint])
        checkpoint.resume(trainer)
        trainer.fit(loader, epochs - trainer.epoch)

    The file appears whole or not at all, so the training may be killed at any moment, also while it
    writes.  Reading it runs no code.

    Parameters
    ----------
    path
        The file: written where there is none, gone on from where there is one.
    every
        Seconds between two writings; one more follows the end of each phase.
    """

    def __init__(self, path: Path, every: float = 60.0) -> None:
        self.path, self.every = Path(path), every
        self._model: nn.Module | None = None
        self._settings: Any = None
        self._passed: list[str] = []
        self._found: dict[str, Any] | None = None
        self._written = time.monotonic()
        self._asked = False  # to stop

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In this context SIGINT and SIGTERM let the step under way end, and the file be written, first.

        Then `KeyboardInterrupt` is raised.  The second such signal acts at once.
        """

        def ask(number: int, frame: object) -> None:
            self._asked = True
            signal.signal(number, before[signal.Signals(number)])

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def open(self, model: nn.Module, settings: Mapping[str, Any]) -> None:
        """Begin: with a file there, bring ``model`` to where it was.

        Parameters
        ----------
        model
            Of which all phases train some part.
        settings
            All that the outcome depends on, as `trainers.provenance.plain` knows it.

        Raises
        ------
        DataError
            If the file is no checkpoint, or one of other settings or versions.
        """
        self._model = model
        self._settings = _described({"versions": versions(), **settings})
        if rank() == 0:
            sweep(self.path)
        self._found = self._read()
        if anywhere(self._found is not None) and self._found is None:
            raise DataError(f"{self.path}: not every process sees it; put it where all of them do")
        self._passed = []
        if self._found is not None:
            self._passed = self._found["passed"]
            model.load_state_dict(self._found["model"])

    def passed(self, phase: str) -> bool:
        """Return whether the file is of a later phase, so that the model has this one's outcome."""
        return self._found is not None and phase in self._passed

    def resume(self, trainer: Trainer) -> None:
        """Bring ``trainer`` to where it was, if the file is of its phase."""
        if self._found is not None and self._found["phase"] == trainer.phase:
            state = self._found["trainer"]
            if rank() > 0:
                state["draws"]["now"]["shared"] = None  # the first process's noise is not this one's
            trainer.load_state_dict(state)
            self._found = None

    def write(self, trainer: Trainer) -> None:
        """Write the file.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        if self._model is None:
            raise RuntimeError("open the checkpoint before training begins: checkpoint.open(model, settings)")
        state = {
            "format": _FORMAT,
            "settings": self._settings,
            "passed": self._passed,
            "phase": trainer.phase,
            "model": self._model.state_dict(),
            "trainer": trainer.state_dict(),
        }
        with replacing(self.path) as part:
            torch.save(state, part)
        self._written = time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        """Write where it is time, or this is the end."""
        if self._asked or time.monotonic() - self._written >= self.every:
            self.write(trainer)
        if self._asked:
            raise KeyboardInterrupt

    def on_phase(self, trainer: Trainer) -> None:
        """Write what the phase ended with."""
        self.write(trainer)
        self._passed = [*self._passed, trainer.phase]

    def _read(self) -> dict[str, Any] | None:
        """Return what the file holds, if it is there and belongs to this run."""
        if not self.path.exists():
            return None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a file of any kind makes torch.load fail in any way
            raise DataError(f"{self.path}: {_FOREIGN} ({type(error).__name__})") from error
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise DataError(f"{self.path}: {_FOREIGN}")
        if changed := differences(found["settings"], self._settings):
            raise DataError(
                f"{self.path}: a checkpoint of another run: {'; '.join(changed)}. "
                "Give the settings and versions that it was made with, or name a new file"
            )
        return found


_FOREIGN = f"no '{_FORMAT}' that can be read; expected one that this version wrote. Name a new file"


def _described(settings: Mapping[str, Any]) -> Any:
    """Return ``settings`` as JSON has them, without the addresses that some objects show."""
    return json.loads(re.sub(r" at 0x[0-9a-f]+", "", json.dumps(to_plain(settings))))
