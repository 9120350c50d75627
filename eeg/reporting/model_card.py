"""The model card: what a detector is, what it was judged on, and what nobody has tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eeg.detector.detector import Detector
from eeg.detector.provenance import UNKNOWN, Provenance
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.evaluation.results import (
    Results,
    describe_answers,
    describe_results_audit,
    describe_risk,
    results_table,
)
from eeg.labels import LABEL_MODES
from eeg.preprocessing.quality import EXCLUDED
from trainers.comparison.table import markdown
from trainers.provenance import from_plain

TITLES = {
    "cross_validated": "Training subjects, each as seen by a fold that was not trained on him",
    "held_out": "Held-out subjects, whom no training had seen",
}
"""What the subjects were to the network, by the name of the results."""

_INTENDED = (
    "Research on routine, seizure-free EEG: to rank recordings and their segments for review by people who "
    "read EEG. Not to diagnose, to exclude epilepsy, or to decide about treatment."
)

_UNTESTED = (
    "recorders, hospitals, montages and referral patterns other than those of its data",
    "people of other ages, with other diseases or drugs, or asleep, unless its data holds them",
    "recordings with seizures, and long-term or intracranial recordings",
    "mimickers of epilepsy: its controls are whoever the data calls so",
    "whether it helps anybody who reads EEG",
)


def card(detector: Detector) -> str:
    """Return the model card of a detector as Markdown; it names no subject and no date."""
    return "\n\n".join(
        [
            f"# {detector.model} (learning rule: {detector.training.rule})",
            f"**{RESEARCH_USE}** {NORMAL_EEG}",
            *_simulated(detector.training),
            "## Intended use",
            _INTENDED,
            "## Not tested on",
            _listed(_UNTESTED),
            "## Data and model",
            _listed([f"{name}: {fact}" for name, fact in _facts(detector).items()]),
            *(part for title, results in recorded_results(detector) for part in _section(title, results)),
            "",
        ]
    )


def recorded_results(detector: Detector) -> list[tuple[str, Results]]:
    """Return the figures that a detector carries, each with what its subjects were to the network."""
    found = detector.training.results
    return [
        (title, from_plain(Results, found[key]))
        for key, title in TITLES.items()
        if found.get(key) is not None
    ]


def _simulated(training: Provenance) -> Sequence[str]:
    if not training.simulated:
        return []
    return ["**Trained on simulated EEG: its scores mean nothing for a real person.**"]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _facts(detector: Detector) -> dict[str, Any]:
    training, calibration, settings = detector.training, detector.calibration, detector.preprocessing
    return {
        "corpus": training.corpus,
        "training subjects": f"{training.subjects}, {training.epilepsy} with epilepsy"
        if training.subjects
        else UNKNOWN,
        "recordings": len(training.recordings) or UNKNOWN,
        "learned from": LABEL_MODES[detector.labels].description,
        "splits": training.splits,
        "seed": UNKNOWN if training.seed is None else training.seed,
        "channels": ", ".join(settings.inputs),
        "band": f"{settings.low:g} to {settings.high:g} Hz at {settings.sfreq:g} Hz",
        "windows": f"{detector.window:g} s, put together by: {detector.aggregation}",
        "left out": f"windows that touch {', '.join((*EXCLUDED[detector.quality], 'seizure'))}",
        "calibration": f"on one score of each of {calibration.n} subjects, {calibration.prevalence:.0%} of "
        "them with epilepsy, from networks that had not seen them",
        "training windows in the file": _kept(detector),
        "versions": ", ".join(f"{k} {v}" for k, v in training.versions.items()) or UNKNOWN,
    }


def _kept(detector: Detector) -> str:
    """Tell whether the file holds EEG of people, and how much."""
    if (kept := detector.prototypes) is None:
        return "none"
    of = LABEL_MODES[detector.labels].classes
    return (
        f"{len(kept.epilepsy)} {of[0]} and {len(kept.control)} {of[1]}, {detector.window:g} s each, "
        "without names; EEG can tell by itself whose it is"
    )


def _section(title: str, results: Results) -> list[str]:
    """Return the parts that tell one set of figures."""
    baselines = [f"ROC-AUC of {name}: {value}" for name, value in results.baselines.items()]
    controls = [f"labels permuted across subjects: p = {results.permutation_p:.3g}", *baselines]
    parts = [
        f"## {title}",
        f"{results.subjects} subjects, {results.epilepsy} with epilepsy; 95 % intervals from a bootstrap "
        "over subjects.",
        markdown(results_table(results)),
        f"Controls:\n\n{_listed(controls)}",
        f"Abstention: {describe_answers(results)} {describe_risk(results).capitalize()}.",
    ]
    return [
        *parts,
        f"What predicts the label without any EEG:\n\n```\n{describe_results_audit(results)}\n```",
    ]
