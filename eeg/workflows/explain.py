"""One recording explained, and how far that explanation may be believed: what `eeg explain` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from eeg.detector.detector import Detector
from eeg.disclaimers import NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.attribution import METHODS, NOT_ADDITIVE
from eeg.explanation.baselines import BASELINES, bank
from eeg.explanation.explain import Explanation, explain
from eeg.explanation.faithfulness import Faithfulness
from eeg.explanation.recording import contributions
from eeg.reporting.analysis import faithfulness, likes
from eeg.reporting.export import ranked, write_events, write_json
from eeg.workflows.detect import filling, in_time, output_name


def explain_recording(
    detector: Detector,
    path: Path,
    out: Path,
    *,
    method: str,
    baseline: str,
    most: int,
    prevalence: float | None,
    batch: int,
    healthy: Path | None = None,
    keep_name: bool = False,
) -> tuple[Explanation, Mapping[str, Faithfulness], Path]:
    """Explain one recording and write ``explanation.json`` and ``events.tsv`` to a folder below ``out``.

    ``healthy`` names a control's recording, windows of which are the baseline ``healthy``.  The file tells
    the segments, and what each window adds to the recording's raw logit
    (`eeg.explanation.recording.contributions`).

    Returns
    -------
    The explanation, how faithful the method's evidence is beside random evidence, and the folder.

    Raises
    ------
    DataError
        If the recording cannot be used, the method cannot explain the network, or the folder cannot be
        written.
    """
    _, windows = detector.windows(detector.read(path))
    baselines = dict(BASELINES)
    if healthy is not None:
        _, control = detector.windows(detector.read(healthy))
        baselines["healthy"] = bank(control.data)
    explanation = explain(
        detector,
        windows.data,
        method=method,
        baseline=baseline,
        baselines=baselines,
        most=most,
        prevalence=prevalence,
        batch=batch,
        progress=True,
    )
    comparisons = likes(detector, windows.data, explanation.segments)
    explanation = in_time(explanation, windows)
    found = faithfulness(detector, windows.data, method, baseline, batch, baselines)
    nothing = baselines[baseline](windows.data, np.random.default_rng(0))
    added = contributions(detector, windows.data, nothing, batch)
    document = {
        **_document(explanation, found),
        "segments": ranked(explanation.segments, comparisons),
        "windows": {
            "length": windows.length,
            "onset": windows.onset.tolist(),
            "contribution": added.tolist(),
        },
    }
    folder = out / output_name(path, keep_name)
    with filling(folder) as files:
        write_json(document, files / "explanation.json")
        write_events(explanation.segments, files / "events.tsv")
    return explanation, found, folder


def _document(explanation: Explanation, found: Mapping[str, Faithfulness]) -> dict[str, object]:
    return {
        "statements": [RESEARCH_USE, NOT_A_FINDING, *notes(explanation)],
        "method": explanation.method,
        "baseline": explanation.baseline,
        "refused": explanation.refused,
        "check": None if explanation.check is None else asdict(explanation.check),
        "faithfulness": {name: asdict(measured) for name, measured in found.items()},
    }


def notes(explanation: Explanation) -> list[str]:
    """Return what must be known to read the figures of an explanation."""
    told = [] if METHODS[explanation.method].complete else [NOT_ADDITIVE]
    return told if explanation.check is None else [*told, str(explanation.check)]


def as_text(explanation: Explanation, found: Mapping[str, Faithfulness]) -> str:
    """Return the ranked segments and their measures for people."""
    lines = [
        f"{rank:>4}  {s.onset:8.2f} s  {s.duration:.2f} s  {s.attribution:+8.3f}  {s.change:+.3f}"
        f"  {s.stability:4.0%}   {', '.join(s.channels)}"
        for rank, s in enumerate(explanation.segments, 1)
    ]
    if lines:
        lines.insert(0, "rank       onset  lasts      logit  change  stable  channels")
    elif explanation.check is None:
        lines.append("Nothing in this recording speaks for epilepsy.")
    lines += notes(explanation)
    lines.append("deletion  insertion  infidelity  sensitivity  other baselines   on the highest windows")
    lines += [
        f"{m.deletion:8.3f}  {m.insertion:9.3f}  {m.infidelity:10.3f}  {m.sensitivity:11.3f}"
        f"  {m.baselines:15.3f}   {name}"
        for name, m in found.items()
    ]
    return "\n".join(lines)
