"""How the subjects of a corpus are split into training, test folds and held-out subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eeg.datasets import Entry, splits
from trainers.errors import concerning


@dataclass(frozen=True)
class Design:
    """The settings of an experiment beside its plan.

    Parameters
    ----------
    folds
        Number of folds by subject, of the networks and of the audit of confounds.
    hold_out
        The fraction of subjects, or the names of the subjects, that no training uses.
    by_site
        Leave one site out per fold instead.
    prototypes
        Number of training windows per class that the detector stores for comparison with segments.
    """

    folds: int = 5
    hold_out: float | frozenset[str] = 0.0
    by_site: bool = False
    prototypes: int = 0

    @property
    def held_out(self) -> str | float:
        """The fraction of held-out subjects, or their number if they were named."""
        return self.hold_out if isinstance(self.hold_out, float) else f"{len(self.hold_out)} named subjects"

    def split(
        self, entries: Sequence[Entry], seed: int
    ) -> tuple[tuple[Entry, ...], tuple[Entry, ...], list[splits.SubjectSplit]]:
        """Return the training recordings, the held-out recordings and the folds of the training recordings.

        Raises
        ------
        DataError
            If the subjects cannot be split in this way; see `eeg.datasets.splits`.
        """
        train, held_out = self._hold_out(entries, seed)
        if not self.by_site:
            return train, held_out, splits.split_folds(train, self.folds, seed)
        with concerning("--by-site"):
            return train, held_out, splits.split_sites(train)

    def _hold_out(self, entries: Sequence[Entry], seed: int) -> splits.SubjectSplit:
        if not self.hold_out:
            return tuple(entries), ()
        with concerning("--hold-out"):
            if isinstance(self.hold_out, float):
                return splits.hold_out(entries, self.hold_out, seed)
            return splits.hold_out_subjects(entries, self.hold_out)

    def record(self) -> dict[str, Any]:
        """Return the settings as a run records them: they identify no subject."""
        return {
            "folds": self.folds,
            "hold_out": self.held_out,
            "by_site": self.by_site,
            "prototypes": self.prototypes,
        }

    def describe(self, folds: int) -> str:
        """Describe the split, with the actual number of folds."""
        held_out = self.held_out if isinstance(self.held_out, str) else f"{self.held_out:.0%} of the subjects"
        return (
            f"{folds} folds by {'site' if self.by_site else 'subject'}; {held_out} held out of all training"
        )
