"""What is trained and how: all that a run can be repeated from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from eeg.datasets import Entry, splits
from eeg.labels import LABEL_MODES, Labels
from eeg.models.pooling import POOLINGS
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from hebbian.registry import find_rule
from trainers.recipes import Phase, Recipe, recommended


@dataclass(frozen=True)
class Plan:
    """What is trained and how; a run can be repeated from it.

    Parameters
    ----------
    preprocessing, window
        What a model sees, and its length in seconds.
    labels, aggregation
        What it learns, and how its windows are put together: ``bag`` is trained through that.
    model
        One of `eeg.models.registry.MODELS`, a ``package.module:function`` or one of
        `eeg.models.features.FEATURES`. rule, finetune
        What a network learns by; a rule without labels may come first, on recordings without a diagnosis
        too, and backprop after it.
    augment
        Some of `eeg.training.augment.AUGMENTATIONS`, one after the other.
    epochs
        None for those of the recipe.
    seed
        Of all that is drawn.
    quality
        What a window may not touch; see `eeg.preprocessing.quality.EXCLUDED`.
    """

    preprocessing: Preprocessing
    labels: Labels
    window: float
    aggregation: str
    model: str = "tvgg-gap"
    rule: str = "backprop"
    finetune: bool = False
    augment: tuple[str, ...] = ("head-rotation",)
    epochs: int | None = None
    seed: int = 0
    quality: Policy = "exclude"

    def check(self) -> None:
        """Raise `ValueError` where the choices do not go together."""
        if "head-rotation" in self.augment and len(self.preprocessing.inputs) != len(
            self.preprocessing.channels
        ):
            raise ValueError(
                "head-rotation needs single electrodes, not pairs of them; choose other augmentations"
            )
        if self.finetune and find_rule(self.rule).supervised:
            raise ValueError(
                f"{self.rule} has labels from the start; fine-tuning follows a rule without them"
            )
        if LABEL_MODES[self.labels].pooled and self.rule != "backprop" and not self.finetune:
            raise ValueError(f"bags are learned by backprop, not by {self.rule}; fine-tune after it")
        if LABEL_MODES[self.labels].pooled and self.aggregation not in POOLINGS:
            raise ValueError(
                f"bags cannot be learned through the aggregation {self.aggregation!r}; "
                f"choose one of {', '.join(POOLINGS)}"
            )


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Warm up and anneal the rate once over ``steps`` (Smith & Topin 2018)."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def bagged(plan: Plan) -> Plan:
    """Return the same by bags, which need nothing but each subject's diagnosis."""
    mode = LABEL_MODES["bag"]
    return replace(plan, labels="bag", aggregation=mode.aggregation, augment=mode.augment)


def recipe(plan: Plan) -> Recipe:
    """Return the settings of the plan's rule on EEG.

    Rules that descend a loss of one logit share one set, fixed on simulated cohorts of other seeds than any
    that is reported; nothing is selected on the data that is trained on.  The others keep theirs.
    """
    found = recommended(plan.rule)
    learn = found.learn
    if find_rule(plan.rule).supervised and find_rule(plan.rule).one_logit:
        adam = partial(AdamW, lr=5e-3, weight_decay=0.05)
        mode = LABEL_MODES[plan.labels]
        learn = Phase(adam, mode.epochs, 64, schedule=one_cycle, least_steps=mode.steps)
    if plan.epochs is not None:
        learn = replace(learn, epochs=plan.epochs, least_steps=0)
    return replace(found, learn=learn, scale="standard")


def last_phase(plan: Plan) -> Phase:
    """Return how a network that has learned the discharges that were found goes on with bags: gently."""
    adam = partial(AdamW, lr=1e-3, weight_decay=0.05)
    return Phase(adam, plan.epochs or 1, schedule=one_cycle, least_steps=0 if plan.epochs else 400)


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

    def apart(self, entries: Sequence[Entry], seed: int) -> splits.SubjectSplit:
        """Return the recordings to train on, and those of the subjects whom no training sees."""
        if not self.hold_out:
            return tuple(entries), ()
        if isinstance(self.hold_out, float):
            return splits.hold_out(entries, self.hold_out, seed)
        return splits.hold_out_subjects(entries, self.hold_out)

    def parts(self, train: Sequence[Entry], seed: int) -> list[splits.SubjectSplit]:
        """Return the folds of the recordings to train on."""
        return splits.split_sites(train) if self.by_site else splits.split_folds(train, self.folds, seed)

    def split(
        self, entries: Sequence[Entry], seed: int
    ) -> tuple[tuple[Entry, ...], tuple[Entry, ...], list[splits.SubjectSplit]]:
        """Return the recordings to train on, those that no training sees, and the folds of the former.

        Raises
        ------
        DataError
            If the subjects cannot be split so; see `eeg.datasets.splits`.
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
