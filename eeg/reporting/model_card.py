"""The model card: a detector's intended use, data and results, and what is untested."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from eeg.detector.detector import Detector
from eeg.detector.provenance import UNKNOWN, Provenance, printable
from eeg.detector.results import Results
from eeg.disclaimers import NORMAL_EEG, RESEARCH_USE
from eeg.evaluation.results_text import (
    describe_answers,
    describe_results_audit,
    describe_risk,
    results_table,
)
from eeg.labels import LABEL_MODES
from eeg.preprocessing.quality import EXCLUDED
from trainers.comparison.table import markdown

RESULT_TITLES = {
    "cross_validated": "Training subjects, out-of-fold",
    "held_out": "Held-out subjects, not used in any training",
}
"""Which subjects each set of results is about."""

_MARKDOWN = re.compile(r"[\\`*_\[\]|~$@#]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What Markdown, or its dialect of GitHub, does not take as it is."""

_INTENDED = (
    "Research on routine, seizure-free EEG: to rank recordings and their segments for review by EEG "
    "readers. Not to diagnose, to exclude epilepsy, or to decide about treatment."
)

_UNTESTED = (
    "recorders, hospitals, montages and referral patterns other than those of the training data",
    "other ages, diseases, medication or sleep, unless the training data includes them",
    "recordings with seizures, and long-term or intracranial recordings",
    "mimics of epilepsy: controls are the subjects that the data labels as such",
    "benefit to EEG readers",
)


def render_card(detector: Detector) -> str:
    """Return the model card of a detector as Markdown, without names of subjects and dates."""
    return "\n\n".join(
        [
            f"# {escape_markdown(detector.model)} (learning rule: {escape_markdown(detector.training.rule)})",
            f"**{RESEARCH_USE}** {NORMAL_EEG}",
            *_simulated(detector.training),
            "## Intended use",
            _INTENDED,
            "## Not tested on",
            _bullets(_UNTESTED),
            "## Data and model",
            _bullets([f"{name}: {escape_markdown(str(fact))}" for name, fact in _facts(detector).items()]),
            *(part for title, results in detector_results(detector) for part in _section(title, results)),
            "",
        ]
    )


def escape_markdown(text: str) -> str:
    r"""Return the Markdown that shows a text of a model file as it is: on one line, without links and HTML.

    >>> print(escape_markdown("[a](b) <i> https://c"))
    \[a\](b) &lt;i&gt; https\://c
    """
    return _MARKDOWN.sub(r"\\\g<0>", html.escape(printable(text), quote=False))


def detector_results(detector: Detector) -> list[tuple[str, Results]]:
    """Return the results stored in a detector, each with its title."""
    results = detector.training.results
    return [(title, results[key]) for key, title in RESULT_TITLES.items() if key in results]


def _simulated(training: Provenance) -> list[str]:
    if not training.simulated:
        return []
    return ["**Trained on simulated EEG: its scores mean nothing for a real person.**"]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _facts(detector: Detector) -> dict[str, Any]:
    training, calibration, settings = detector.training, detector.calibration, detector.preprocessing
    return {
        "corpus": training.corpus,
        "training subjects": f"{training.subjects}, {training.epilepsy} with epilepsy"
        if training.subjects
        else UNKNOWN,
        "recordings": len(training.recordings) or UNKNOWN,
        "labels": LABEL_MODES[detector.labels].description,
        "splits": training.splits,
        "seed": UNKNOWN if training.seed is None else training.seed,
        "channels": ", ".join(settings.inputs),
        "band": f"{settings.low:g} to {settings.high:g} Hz at {settings.sfreq:g} Hz",
        "windows": f"{detector.window:g} s, aggregated by: {detector.aggregation}",
        "excluded": f"windows that touch {', '.join((*EXCLUDED[detector.quality], 'seizure'))} "
        f"(annotations that mark one: {settings.ictal})",
        "calibration": f"on one out-of-fold score of each of {calibration.n} subjects, "
        f"{calibration.prevalence:.0%} of them with epilepsy"
        if calibration.n
        else "none; the score is not a probability",
        "training windows in the file": _describe_prototypes(detector),
        "versions": ", ".join(f"{k} {v}" for k, v in training.versions.items()) or UNKNOWN,
    }


def _describe_prototypes(detector: Detector) -> str:
    """Return whether the file contains EEG of people, and how much."""
    if (prototypes := detector.prototypes) is None:
        return "none"
    positive, negative = LABEL_MODES[detector.labels].classes
    return (
        f"{len(prototypes.epilepsy)} {positive} and {len(prototypes.control)} {negative}, "
        f"{detector.window:g} s each, without names; EEG alone can identify a person"
    )


def _section(title: str, results: Results) -> list[str]:
    """Return the paragraphs about one set of results."""
    baselines = [f"ROC-AUC of {escape_markdown(name)}: {value}" for name, value in results.baselines.items()]
    controls = [f"labels permuted across subjects: p = {results.permutation_p:.3g}", *baselines]
    parts = [
        f"## {title}",
        f"{results.subjects} subjects, {results.epilepsy} with epilepsy; 95 % intervals from a bootstrap "
        "over subjects.",
        markdown(results_table(results)),
        f"Controls:\n\n{_bullets(controls)}",
        f"Abstention: {describe_answers(results)} {describe_risk(results).capitalize()}.",
    ]
    audit = describe_results_audit(results).replace("`", "'")  # which could end the block of code
    return [*parts, f"Confounds, which predict the label without any EEG:\n\n```\n{audit}\n```"]
