"""A detection as one JSON document, and the schema that describes it (JSON Schema 2020-12)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import SimilarWindows
from eeg.reporting.analysis import RecordingAnalysis
from trainers.files import replacing

NAME, VERSION = "hebbian-eeg-detection", 2


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `result`; it lies beside this module as ``detection.schema.json``."""
    found: dict[str, Any] = json.loads(
        files("eeg.reporting.export").joinpath("detection.schema.json").read_text("utf-8")
    )
    return found


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write ``content`` as indented UTF-8 JSON.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
    ValueError
        When a number is not finite: JSON has none such.
    """
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def result(case: RecordingAnalysis) -> dict[str, Any]:
    """Gather a detection as one mapping that JSON can hold.

    Returns
    -------
    dict
        As `schema` has it; times in seconds from the start of the recording.
    """
    decision, explanation = case.decision, case.explanation
    answer, check = decision.answer, explanation.check
    measures = (case.measures or {}) if explanation.segments else {}
    return {
        "schema": {"name": NAME, "version": VERSION},
        "statements": [RESEARCH_USE, NORMAL_EEG, NOT_A_FINDING],
        "score": float(decision.probability),
        "interval": None if decision.interval is None else list(decision.interval),
        "prevalence": float(decision.prevalence),
        "logit": float(decision.logit),
        "answer": {
            "group": answer.group,
            "text": str(answer),
            "alpha": answer.alpha,
            "n": answer.n,
            "grounds": answer.grounds,
        },
        "windows": {
            "length": float(decision.window_length),
            "onset": decision.window_onset.tolist(),
            "logit": decision.window_logit.tolist(),
            "contribution": None if case.contribution is None else case.contribution.tolist(),
        },
        "explanation": {
            "method": explanation.method,
            "baseline": explanation.baseline,
            "check": None if check is None else {**asdict(check), "passed": check.passed},
            "faithfulness": {name: asdict(found) for name, found in measures.items()},
            "segments": ranked(explanation.segments, case.comparisons),
        },
        "model": asdict(case.model),
    }


def ranked(segments: Sequence[Segment], comparisons: Sequence[SimilarWindows] | None) -> list[dict[str, Any]]:
    """Return segments, the strongest first, with the training windows that they are most like."""
    likes = [None] * len(segments) if comparisons is None else [_most_similar(c) for c in comparisons]
    return [
        {
            "rank": rank,
            "onset": float(segment.onset),
            "duration": float(segment.duration),
            "channels": list(segment.channels),
            "attribution": float(segment.attribution),
            "change": float(segment.change),
            "stability": float(segment.stability),
            "most_similar": like,
        }
        for rank, (segment, like) in enumerate(zip(segments, likes, strict=True), 1)
    ]


def _most_similar(found: SimilarWindows) -> dict[str, Any]:
    return {
        name: {"prototype": one.number, "similarity": one.similarity}
        for name, one in (("epilepsy", found.epilepsy), ("control", found.control))
    }
