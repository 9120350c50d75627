"""The plan of a training from the user's settings and a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from eeg.datasets import Corpus
from eeg.datasets.seizure_words import AUTO
from eeg.disclaimers import RESEARCH_USE
from eeg.io.electrodes import electrode, harmonise
from eeg.labels import AUGMENTATIONS, LABEL_MODES, Labels, check_name
from eeg.models.embedding import find_readout
from eeg.models.features import FEATURES
from eeg.models.local_readout import build_network, has_own_readout
from eeg.models.registry import find_model
from eeg.preprocessing.line_frequency import parse_line_frequency
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import Policy
from eeg.preprocessing.reference import Reference
from eeg.training.plan import Plan
from eeg.workflows.corpus import default_channels
from hebbian.registry import find_rule
from trainers.errors import SettingsError, concerning

Preset = Literal["default", "paper"]


def make_plan(
    corpus: Corpus,
    *,
    model: str = "tvgg-gap",
    rule: str = "backprop",
    finetune: bool = False,
    labels: Labels | None = None,
    window: float | None = None,
    aggregation: str | None = None,
    augment: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    preset: Preset = "default",
    reference: Reference = "average",
    notch: str | None = None,
    quality: Policy = "exclude",
    ictal: str = AUTO,
    epochs: int | None = None,
    seed: int = 0,
) -> Plan:
    """Return the plan of a training on ``corpus``; settings that are None get the default of the label mode.

    Parameters
    ----------
    corpus
        Its annotations and the channels of its first recording decide some of the defaults.
    model, rule
        A name in `eeg.models.registry.MODELS` or `eeg.models.features.FEATURES`, or
        ``package.module:function``; and the learning rule of a network.
    finetune
        Pre-train with a rule without labels, also on recordings without a diagnosis; then train by backprop.
    labels
        A key of `eeg.labels.LABEL_MODES`; by default ``events`` if every recording is annotated, else
        ``recording``.
    window
        Length of a window in seconds.
    aggregation
        How window scores become the score of a recording; see `eeg.models.pooling`.
    augment
        Some of `eeg.labels.AUGMENTATIONS`; an empty sequence for none.
    channels
        Electrodes of the 10-10 system; by default the 19 of the 10-20 system, or all of the first recording.
    preset
        ``paper`` for the filters, rate and aggregation of Uyttenhove et al. 2020.
    reference
        What each channel is referenced to.
    notch
        Power-line frequency to remove: 50, 60 or an ISO 3166 country code.
    quality
        The flaws that exclude a window; see `eeg.preprocessing.quality.EXCLUDED`.
    ictal
        Which annotations mark a seizure; see `eeg.datasets.seizure_words.marks_seizure`.
    epochs
        None for those of the recipe.
    seed
        Seed of initialisation, splits and augmentation.

    Raises
    ------
    SettingsError
        If a setting is unknown or excludes another.
    """
    labels = labels or ("events" if all(e.events for e in corpus.entries) else "recording")
    with concerning("--labels"):
        check_name("labels", labels, LABEL_MODES)
    with concerning("--augment"):
        for name in augment or ():
            check_name("augmentation", name, AUGMENTATIONS)
    mode = LABEL_MODES[labels]
    names = _electrodes(channels) if channels else default_channels(corpus)
    with concerning("--channels"):
        preprocessing = Preprocessing.paper(names) if preset == "paper" else Preprocessing(names)
    with concerning("--reference"):
        preprocessing = replace(preprocessing, reference=reference)
    with concerning("--ictal"):
        preprocessing = replace(preprocessing, ictal=ictal)
    with concerning("--notch"):
        preprocessing = replace(
            preprocessing, notch=parse_line_frequency(notch) if notch else preprocessing.notch
        )
    if augment is None:  # bipolar channels cannot be rotated
        augment = [a for a in mode.augment if (a, reference) != ("head-rotation", "bipolar")]
    paper = preset == "paper" and labels == "recording"
    return Plan(
        preprocessing=preprocessing,
        labels=labels,
        window=window or mode.window,
        aggregation=aggregation or ("mean-probability" if paper else mode.aggregation),
        model=model,
        rule=rule,
        finetune=finetune,
        augment=tuple(augment),
        epochs=epochs,
        seed=seed,
        quality=quality,
    )


def _electrodes(names: Sequence[str]) -> tuple[str, ...]:
    if unknown := [repr(name) for name in names if not electrode(name)]:
        raise SettingsError(
            f"--channels: unknown {', '.join(unknown)}; expected electrodes such as Fp1, C3, Cz"
        )
    return tuple(harmonise(name) for name in names)


def check_plan(plan: Plan, *, prototypes: int = 0) -> None:
    """Refuse settings of a network that exclude each other, and windows that are too short for it.

    Raises
    ------
    SettingsError
        With the reason.
    """
    settings = plan.preprocessing
    if settings.notch is not None and settings.notch >= settings.high:
        raise SettingsError(
            f"--notch: a filter at {settings.notch:g} Hz has no effect: the band ends at {settings.high:g} "
            "Hz; leave it out or use --preset paper"
        )
    own_readout = plan.rule if has_own_readout(plan.rule) else None
    shape = len(settings.inputs), round(plan.window * settings.sfreq)
    try:
        plan.check()
    except ValueError as error:
        raise SettingsError(str(error)) from error
    with concerning(f"--model {plan.model}, --window {plan.window:g}"):
        network = build_network(plan.model, own_readout, *shape)
    if prototypes and find_readout(network) is None:
        raise SettingsError(
            f"--prototypes: {plan.model} by {plan.rule} has no linear readout whose input compares windows; "
            "train without"
        )


def check_names(model: str, rule: str) -> None:
    """Refuse unknown networks and rules, and feature models.

    Raises
    ------
    SettingsError
        With the reason.
    """
    if model in FEATURES:
        raise SettingsError(
            f"--model {model}: scores whole recordings and explains none, so it cannot become a detector; "
            f"cross-validate it: eeg compare DATA --model {model}"
        )
    with concerning("--model"):
        find_model(model)
    with concerning("--rule"):
        find_rule(rule)


def describe_plan(plan: Plan, corpus: Corpus) -> str:
    """Return one line on what scores which recordings."""
    kind = "SIMULATED" if corpus.simulated else "recorded"
    return (
        f"{plan.model} by {plan.rule}, labels: {plan.labels}, windows of {plan.window:g} s, "
        f"{len(plan.preprocessing.inputs)} channels, {corpus.name} ({kind}).  {RESEARCH_USE}"
    )
