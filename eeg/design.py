"""Who is trained on, who is judged, and which windows are kept: with a plan, what a run is repeated from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eeg import splits
from eeg.datasets import Entry


@dataclass(frozen=True)
class Design:
    """The choices that a run has besides its plan.

    Parameters
    ----------
    folds
        By subject; also those that the cues are cross-validated in.
    hold_out
        The share of subjects, or the very subjects, that no training, also not that of a fold, ever sees.
    by_site
        Leave out one site in each fold instead.
    prototypes
        How many training windows of each class the detector keeps, to compare segments with.
    """

    folds: int = 5
    hold_out: float | frozenset[str] = 0.0
    by_site: bool = False
    prototypes: int = 0

    @property
    def kept_apart(self) -> str | float:
        """The share of the subjects that are held out, or how many were named."""
        return self.hold_out if isinstance(self.hold_out, float) else f"{len(self.hold_out)} named subjects"

    def apart(self, entries: Sequence[Entry], seed: int) -> splits.Split:
        """Return the recordings to train on, and those of the subjects whom no training sees."""
        if not self.hold_out:
            return tuple(entries), ()
        if isinstance(self.hold_out, float):
            return splits.hold_out(entries, self.hold_out, seed)
        return splits.set_aside(entries, self.hold_out)

    def parts(self, train: Sequence[Entry], seed: int) -> list[splits.Split]:
        """Return the folds of the recordings to train on."""
        return splits.sites(train) if self.by_site else splits.folds(train, self.folds, seed)

    def split(
        self, entries: Sequence[Entry], seed: int
    ) -> tuple[tuple[Entry, ...], tuple[Entry, ...], list[splits.Split]]:
        """Return the recordings to train on, those that no training sees, and the folds of the former.

        Raises
        ------
        DataError
            If the subjects cannot be split so; see `eeg.splits`.
        """
        train, held = self.apart(entries, seed)
        return train, held, self.parts(train, seed)

    def record(self) -> dict[str, Any]:
        """Return the choices as they are written down: they name nobody."""
        return {
            "folds": self.folds,
            "hold_out": self.kept_apart,
            "by_site": self.by_site,
            "prototypes": self.prototypes,
        }

    def describe(self, folds: int) -> str:
        """Tell how subjects are split, with so many folds."""
        held = (
            self.kept_apart if isinstance(self.kept_apart, str) else f"{self.kept_apart:.0%} of the subjects"
        )
        return f"{folds} folds by {'site' if self.by_site else 'subject'}; {held} kept from all training"
