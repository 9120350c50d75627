"""What is trained and how: all that a run can be repeated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from eeg.detector import Labels
from eeg.multiple import POOLINGS
from eeg.preprocess import Preprocessing
from eeg.quality import Policy
from hebbian.registry import find
from trainers.recipes import Phase, Recipe, recommended

WINDOW: Mapping[Labels, float] = {"events": 2.0, "recording": 10.0, "bag": 2.0, "found": 2.0}
"""Seconds of a window: as short as the events that are looked for, or as in Uyttenhove et al. 2020."""

AGGREGATION: Mapping[Labels, str] = {"events": "top", "recording": "mean", "bag": "noisy-or", "found": "top"}

AUGMENT: Mapping[Labels, tuple[str, ...]] = {
    "events": ("turn",),
    "recording": ("turn",),
    "bag": ("flip",),
    "found": ("turn",),
}

_STEPS: Mapping[Labels, int] = {"events": 2500, "recording": 600, "bag": 1000, "found": 1000}
_EPOCHS: Mapping[Labels, int] = {"events": 10, "recording": 10, "bag": 10, "found": 1}
"""How long a network learns at least."""


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
        One of `eeg.models.MODELS`, a ``package.module:function`` or one of `eeg.features.FEATURES`.
    rule, finetune
        What a network learns by; a rule without labels may come first, on recordings without a diagnosis
        too, and backprop after it.
    augment
        Some of `eeg.augment.AUGMENTATIONS`, one after the other.
    epochs
        None for those of the recipe.
    seed
        Of all that is drawn.
    quality
        What a window may not touch; see `eeg.quality.EXCLUDED`.
    """

    preprocessing: Preprocessing
    labels: Labels
    window: float
    aggregation: str
    model: str = "tvgg-gap"
    rule: str = "backprop"
    finetune: bool = False
    augment: tuple[str, ...] = ("turn",)
    epochs: int | None = None
    seed: int = 0
    quality: Policy = "exclude"

    def check(self) -> None:
        """Raise `ValueError` where the choices do not go together."""
        if "turn" in self.augment and len(self.preprocessing.inputs) != len(self.preprocessing.channels):
            raise ValueError(
                "a head is turned under electrodes, not under pairs of them; choose other augmentations"
            )
        if self.finetune and find(self.rule).supervised:
            raise ValueError(
                f"{self.rule} has labels from the start; fine-tuning follows a rule without them"
            )
        if self.labels in ("bag", "found") and self.rule != "backprop" and not self.finetune:
            raise ValueError(f"bags are learned by backprop, not by {self.rule}; fine-tune after it")
        if self.labels in ("bag", "found") and self.aggregation not in POOLINGS:
            raise ValueError(
                f"bags cannot be learned through the aggregation {self.aggregation!r}; "
                f"choose one of {', '.join(POOLINGS)}"
            )


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Warm up and anneal the rate once over ``steps`` (Smith & Topin 2018)."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def bagged(plan: Plan) -> Plan:
    """Return the same by bags, which need nothing but each subject's diagnosis."""
    kind: Labels = "bag"
    return replace(plan, labels=kind, aggregation=AGGREGATION[kind], augment=AUGMENT[kind])


def recipe(plan: Plan) -> Recipe:
    """Return the settings of the plan's rule on EEG.

    Rules that descend a loss of one logit share one set, fixed on simulated cohorts of other seeds than any
    that is reported; nothing is selected on the data that is trained on.  The others keep theirs.
    """
    found = recommended(plan.rule)
    learn = found.learn
    if find(plan.rule).supervised and find(plan.rule).one_logit:
        adam = partial(AdamW, lr=5e-3, weight_decay=0.05)
        learn = Phase(adam, _EPOCHS[plan.labels], 64, schedule=one_cycle, least_steps=_STEPS[plan.labels])
    if plan.epochs is not None:
        learn = replace(learn, epochs=plan.epochs, least_steps=0)
    return replace(found, learn=learn, scale="standard")


def last_phase(plan: Plan) -> Phase:
    """Return how a network that has learned the discharges that were found goes on with bags: gently."""
    adam = partial(AdamW, lr=1e-3, weight_decay=0.05)
    return Phase(adam, plan.epochs or 1, schedule=one_cycle, least_steps=0 if plan.epochs else 400)
