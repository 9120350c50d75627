"""The plan of a training: all settings needed to repeat it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from eeg.labels import LABEL_MODES, Labels
from eeg.models.features import FEATURES
from eeg.models.pooling import POOLINGS
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from hebbian.registry import find_rule
from trainers.recipes import Phase, Recipe, recommended


@dataclass(frozen=True)
class Plan:
    """What is trained and how; the same plan and data repeat a training.

    Parameters
    ----------
    preprocessing, window
        Filters and channels, and the length of a window in seconds.
    labels, aggregation
        What is learned, and how window scores become the score of a recording.
    model
        One of `eeg.models.registry.MODELS`, a ``package.module:function`` or one of
        `eeg.models.features.FEATURES`.
    rule, finetune
        The learning rule of a network; a rule without labels may pre-train it, also on recordings without a
        diagnosis, before backprop.
    augment
        Some of `eeg.labels.AUGMENTATIONS`, applied in this order.
    epochs
        None for those of the recipe.
    seed
        Seed of initialisation, splits and augmentation.
    quality
        The flaws that exclude a window; see `eeg.preprocessing.quality.EXCLUDED`.
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
        """Raise `ValueError` if settings exclude each other."""
        if "head-rotation" in self.augment and len(self.preprocessing.inputs) != len(
            self.preprocessing.channels
        ):
            raise ValueError(
                "--augment head-rotation: needs single electrodes, not the pairs of --reference bipolar; "
                "choose others"
            )
        if self.finetune and find_rule(self.rule).supervised:
            raise ValueError(
                f"--finetune: follows a rule without labels, and --rule {self.rule} learns with labels"
            )
        if LABEL_MODES[self.labels].pooled and self.rule != "backprop" and not self.finetune:
            raise ValueError(
                f"--labels {self.labels}: need --rule backprop, not {self.rule}, or --finetune after a rule "
                "without labels"
            )
        if LABEL_MODES[self.labels].pooled and self.aggregation not in POOLINGS:
            raise ValueError(
                f"--labels {self.labels}: cannot be learned through --aggregation {self.aggregation}; choose "
                f"one of {', '.join(POOLINGS)}"
            )


def one_cycle(optimizer: Optimizer, steps: int) -> LRScheduler:
    """Warm up and anneal the rate once over ``steps`` (Smith & Topin 2018)."""
    return OneCycleLR(optimizer, [group["lr"] for group in optimizer.param_groups], total_steps=steps)


def bag_plan(plan: Plan) -> Plan:
    """Return the same plan for bags, which need only the diagnosis of each subject."""
    mode = LABEL_MODES["bag"]
    return replace(plan, labels="bag", aggregation=mode.aggregation, augment=mode.augment)


def recipe(plan: Plan) -> Recipe:
    """Return the recipe of the plan's rule on EEG.

    Rules that descend a loss of one logit share one recipe, fixed on simulated cohorts of other seeds than
    those reported; nothing is selected on the training data.  The others keep their own.
    """
    standard = recommended(plan.rule)
    learn = standard.learn
    if find_rule(plan.rule).supervised and find_rule(plan.rule).one_logit:
        adam = partial(AdamW, lr=5e-3, weight_decay=0.05, fused=True)
        mode = LABEL_MODES[plan.labels]
        learn = Phase(adam, mode.epochs, 64, schedule=one_cycle, least_steps=mode.steps)
    if plan.epochs is not None:
        learn = replace(learn, epochs=plan.epochs, least_steps=0)
    return replace(standard, learn=learn, scale="standard")


def last_phase(plan: Plan) -> Phase:
    """Return the schedule of the bag training that follows pseudo-labels: a smaller rate, few steps."""
    adam = partial(AdamW, lr=1e-3, weight_decay=0.05, fused=True)
    return Phase(adam, plan.epochs or 1, schedule=one_cycle, least_steps=0 if plan.epochs else 400)


def describe_model(plan: Plan) -> str:
    """Return the name of the model and, of a network, the rule that trains it."""
    if plan.model in FEATURES:
        return plan.model
    return f"{plan.model} by {plan.rule}{', then backprop' if plan.finetune else ''}"
