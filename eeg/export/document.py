"""A detection as one JSON document, and the schema that describes it (JSON Schema 2020-12)."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from eeg.detector import Decision
from eeg.explanation import Explanation
from eeg.segments import Segment
from eeg.statements import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from trainers.files import replacing

NAME, VERSION = "hebbian-eeg-detection", 1


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `result`; it lies beside this module as ``detection.schema.json``."""
    found: dict[str, Any] = json.loads(
        files("eeg.export").joinpath("detection.schema.json").read_text("utf-8")
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


def result(decision: Decision, explanation: Explanation, model: Mapping[str, Any]) -> dict[str, Any]:
    """Gather a detection as one mapping that JSON can hold.

    Parameters
    ----------
    decision
        The recording's score and the windows' evidence.
    explanation
        The ranked segments.
    model
        What is known about the model: ``name``, ``rule``, ``montage``, ``channels``, ``training``,
        ``simulated``, ``n_subjects``, ``calibration``, ``labels``, ``warnings``.

    Returns
    -------
    dict
        As `schema` has it; times in seconds from the start of the recording.
    """
    answer, check = decision.answer, explanation.check
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
        },
        "explanation": {
            "method": explanation.method,
            "baseline": explanation.baseline,
            "check": None if check is None else {**asdict(check), "passed": check.passed},
            "segments": [_segment(rank, segment) for rank, segment in enumerate(explanation.segments, 1)],
        },
        "model": dict(model),
    }


def _segment(rank: int, segment: Segment) -> dict[str, Any]:
    return {
        "rank": rank,
        "onset": float(segment.onset),
        "duration": float(segment.duration),
        "channels": list(segment.channels),
        "attribution": float(segment.attribution),
        "change": float(segment.change),
        "stability": float(segment.stability),
    }
