"""The analysis of a recording as JSON, described by ``detection.schema.json`` (JSON Schema 2020-12)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.segments import Segment
from eeg.explanation.similarity import SimilarWindows
from eeg.reporting.analysis import RecordingAnalysis
from trainers.files import replacing

_SCHEMA = {"name": "hebbian-eeg-detection", "version": 2}


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write ``content`` as indented UTF-8 JSON.

    Raises
    ------
    DataError
        If the folder of ``path`` cannot be written.
    ValueError
        If a number is not finite, which JSON does not allow.
    """
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def build_result(analysis: RecordingAnalysis) -> dict[str, Any]:
    """Return an analysis as one JSON document, as ``detection.schema.json`` describes it."""
    decision, explanation = analysis.decision, analysis.explanation
    answer, check = decision.answer, explanation.check
    measures = (analysis.measures or {}) if explanation.segments else {}
    return {
        "schema": _SCHEMA,
        "statements": [RESEARCH_USE, NORMAL_EEG, NOT_A_FINDING],
        "recording": analysis.recording.digest,
        "score": float(decision.score),
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
            "contribution": None if analysis.contribution is None else analysis.contribution.tolist(),
        },
        "explanation": {
            "method": explanation.method,
            "baseline": explanation.baseline,
            "check": None if check is None else {**asdict(check), "passed": check.passed},
            "faithfulness": {name: asdict(measured) for name, measured in measures.items()},
            "segments": build_segments(explanation.segments, analysis.comparisons),
        },
        "model": asdict(analysis.model),
    }


def build_segments(
    segments: Sequence[Segment], comparisons: Sequence[SimilarWindows] | None
) -> list[dict[str, Any]]:
    """Return segments, the strongest first, with the most similar training windows of each."""
    similar = [None] * len(segments) if comparisons is None else [_most_similar(c) for c in comparisons]
    return [
        {
            "rank": rank,
            "onset": float(segment.onset),
            "duration": float(segment.duration),
            "channels": list(segment.channels),
            "attribution": float(segment.attribution),
            "change": float(segment.change),
            "stability": float(segment.stability),
            "most_similar": windows,
        }
        for rank, (segment, windows) in enumerate(zip(segments, similar, strict=True), 1)
    ]


def _most_similar(windows: SimilarWindows) -> dict[str, Any]:
    return {
        group: {"prototype": neighbour.number, "similarity": neighbour.similarity}
        for group, neighbour in (("epilepsy", windows.epilepsy), ("control", windows.control))
    }
