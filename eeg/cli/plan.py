"""From what `eeg train` and `eeg compare` are told to a plan, or to the line that says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from eeg.datasets import Corpus
    from eeg.labels import Labels
    from eeg.preprocessing.reference import Reference
    from eeg.training.plan import Plan


def planned(
    corpus: Corpus,
    *,
    labels: Labels | None,
    channels: str | None,
    preset: str,
    reference: Reference,
    notch: str | None,
    window: float | None,
    aggregation: str | None,
    augment: tuple[str, ...],
    **same: Any,
) -> Plan:
    """Return the plan, with what fits the corpus where nothing was said."""
    from dataclasses import replace

    from eeg.labels import LABEL_MODES
    from eeg.preprocessing.line_frequency import parse_line_frequency
    from eeg.preprocessing.pipeline import Preprocessing
    from eeg.training.plan import Plan
    from eeg.workflows import train as train_workflow

    kind: Labels = labels or ("events" if all(e.events for e in corpus.entries) else "recording")
    names = _electrodes(channels) if channels else train_workflow.default_channels(corpus)
    try:
        settings = Preprocessing.paper(names) if preset == "paper" else Preprocessing(names)
        settings = replace(
            settings, reference=reference, notch=parse_line_frequency(notch) if notch else settings.notch
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    paper = preset == "paper" and kind == "recording"
    mode = LABEL_MODES[kind]
    usual = tuple(a for a in mode.augment if (a, reference) != ("head-rotation", "bipolar"))
    return Plan(
        preprocessing=settings,
        labels=kind,
        window=window or mode.window,
        augment=tuple(a for a in augment if a != "none") if augment else usual,
        aggregation=aggregation or ("mean-probability" if paper else mode.aggregation),
        **same,
    )


def _electrodes(channels: str) -> tuple[str, ...]:
    """Return the electrodes that --channels names."""
    from eeg.io.electrodes import electrode, harmonise

    names = [name.strip() for name in channels.split(",")]
    if strange := [repr(name) for name in names if not electrode(name)]:
        raise click.BadParameter(
            f"{', '.join(strange)}: no electrode of 10-10; expected such as Fp1,C3,Cz",
            param_hint="--channels",
        )
    return tuple(harmonise(name) for name in names)


def refuse_unknown(model: str, rule: str) -> None:
    """Refuse names that are unknown or of what is no network, before anything is read."""
    from eeg.models.features import FEATURES
    from eeg.models.registry import find_model
    from hebbian.registry import find_rule

    if model in FEATURES:
        raise click.UsageError(
            f"{model} judges whole recordings and explains none, so that it makes no detector; "
            f"cross-validate it beside networks: eeg compare DATA --model {model}"
        )
    try:
        find_model(model)
        find_rule(rule)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def refuse_misfits(plan: Plan, prototypes: int = 0) -> None:
    """Refuse choices that do not go together, and windows that are too short for the network."""
    from eeg.models.local_readout import build_network, has_own_readout
    from eeg.workflows import train as train_workflow

    settings = plan.preprocessing
    if settings.notch is not None and settings.notch >= settings.high:
        raise click.UsageError(
            f"--notch has nothing to do: the band ends at {settings.high:g} Hz, below the mains of "
            f"{settings.notch:g} Hz; leave it out, or take --preset paper"
        )
    readout = plan.rule if has_own_readout(plan.rule) else None
    try:
        plan.check()
        build_network(plan.model, readout, len(settings.inputs), round(plan.window * settings.sfreq))
        if prototypes:
            train_workflow.refuse_prototypes(plan)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
