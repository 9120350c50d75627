"""Checkpoints, from which an interrupted training resumes."""

from __future__ import annotations

import hashlib
import io
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

from trainers.distributed import is_any, rank
from trainers.errors import DataError
from trainers.files import replacing, sweep
from trainers.provenance import differences, to_plain, versions
from trainers.trainer import Trainer

_FORMAT = "hebbian-eeg checkpoint 3"
_DIGEST = 32  # bytes of the SHA-256 at the end of the file: torch.load does not notice damaged numbers


class Checkpoint:
    """A callback, the last of its trainer, that saves the training to a file from which it can resume.

    On a CPU, with the same number of threads, the outcome equals that of an uninterrupted training bit for
    bit.  Pass it to `trainers.train_rule` in the options, or use it directly::

        checkpoint = Checkpoint(path)
        checkpoint.open(model, {"seed": 0})
        trainer = Trainer(rule, optimizer, [..., checkpoint])
        checkpoint.resume(trainer)
        trainer.fit(loader, epochs - trainer.epoch)

    The file is replaced atomically, so the training may be killed at any moment, even while it writes.
    Reading the file executes no code from it.

    Parameters
    ----------
    path
        The file; the training resumes from it if it exists.
    every
        Seconds between writes; the file is also written at the end of each phase.
    """

    def __init__(self, path: Path, every: float = 60.0) -> None:
        self.path, self.every = Path(path), every
        self._model: nn.Module | None = None
        self._settings: Any = None
        self._passed: list[str] = []
        self._loaded: dict[str, Any] | None = None
        self._written = time.monotonic()
        self._interrupted = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Defer SIGINT and SIGTERM in this context until the current step is done and the file written.

        Then `KeyboardInterrupt` is raised.  A second signal acts at once.
        """

        def defer(number: int, frame: object) -> None:
            self._interrupted = True
            signal.signal(number, before[signal.Signals(number)])

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, defer)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def open(self, model: nn.Module, settings: Mapping[str, Any]) -> None:
        """Start a training: load the weights of ``model`` if the file exists.

        Parameters
        ----------
        model
            The whole model, of which each phase trains some part.
        settings
            Everything that the outcome depends on, of types that `trainers.provenance.to_plain` converts.

        Raises
        ------
        DataError
            If the file is not a checkpoint, or has other settings or versions.
        """
        self._model = model
        self._settings = _to_comparable({"versions": versions(), **settings})
        if rank() == 0:
            sweep(self.path.parent, self.path.name)
        self._loaded = self._read()
        if is_any(self._loaded is not None) and self._loaded is None:
            raise DataError(f"{self.path}: not visible to every process; use a folder that all of them share")
        self._passed = []
        if self._loaded is not None:
            self._passed = self._loaded["passed"]
            model.load_state_dict(self._loaded["model"])

    def has_passed(self, phase: str) -> bool:
        """Return whether the file is from a later phase and contains the outcome of ``phase``."""
        return self._loaded is not None and phase in self._passed

    def resume(self, trainer: Trainer) -> None:
        """Restore the state of ``trainer``, if the file is from its phase."""
        if self._loaded is not None and self._loaded["phase"] == trainer.phase:
            state = self._loaded["trainer"]
            if rank() > 0:
                state["random"]["now"]["shared"] = None  # each process has its own noise
            trainer.load_state_dict(state)
            self._loaded = None

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
        content = io.BytesIO()
        torch.save(state, content)
        with replacing(self.path) as part, part.open("wb") as file:
            file.write(content.getbuffer())
            file.write(hashlib.sha256(content.getbuffer()).digest())
        self._written = time.monotonic()

    def on_step(self, trainer: Trainer) -> None:
        """Write the file if it is due, or if a signal was received."""
        if self._interrupted or time.monotonic() - self._written >= self.every:
            self.write(trainer)
        if self._interrupted:
            raise KeyboardInterrupt

    def on_phase(self, trainer: Trainer) -> None:
        """Write the outcome of the phase."""
        self.write(trainer)
        self._passed = [*self._passed, trainer.phase]

    def _read(self) -> dict[str, Any] | None:
        """Return the content of the file, or None if it does not exist."""
        if not self.path.exists():
            return None
        try:
            content = self.path.read_bytes()
            if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
                raise ValueError("damaged")
            state = torch.load(io.BytesIO(content[:-_DIGEST]), map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load may raise anything for a foreign file
            raise DataError(f"{self.path}: {_FOREIGN} ({type(error).__name__})") from error
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise DataError(f"{self.path}: {_FOREIGN}")
        if changed := differences(state["settings"], self._settings):
            raise DataError(
                f"{self.path}: a checkpoint of another run: {'; '.join(changed)}. "
                "Use the settings and versions of that run, or specify a new file"
            )
        return state


_FOREIGN = f"not a readable '{_FORMAT}' file written by this version; specify a new file"


def _to_comparable(settings: Mapping[str, Any]) -> Any:
    """Return ``settings`` as plain values, without the memory addresses in the names of some objects."""
    return json.loads(re.sub(r" at 0x[0-9a-f]+", "", json.dumps(to_plain(settings))))
