"""A detection as one HTML file that opens offline.  Research use only."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import mne
import numpy as np
from matplotlib.figure import Figure

from eeg.detector import Decision
from eeg.explanation import Explanation
from eeg.segments import Segment
from eeg.statements import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.windows import Windows
from trainers.files import replacing
from visualizers.traces import Span, clock, eeg_page, strip

_PAGES = 5
_MARKED = 10  # segments on the overview: more would hide the curves
_PAGE = 10.0  # s, as `visualizers.traces.eeg_page` draws
_SENSITIVITIES = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)  # µV a division

_SIMULATED = (
    "This model was trained on simulated EEG. Its score has no meaning for a real person; "
    "it only shows how the software works."
)
_TAG = ("detection",)  # mne.Report counts tags and fails on content without one; the style hides them

_STYLE = """
.badge, #filter-by-tags-dropdown-menu, .navbar-brand img { display: none !important; }
#content { max-width: 1250px; color: #1f2933; line-height: 1.5; }
#content .accordion-button { font-weight: 600; color: #1f2933; background: #f5f7fa; box-shadow: none; }
#content .accordion-button a { color: inherit; }
#content .figure-caption { text-align: left !important; max-width: 60em; margin: 0.5em auto; }
.eeg-score { font-size: 1.7rem; line-height: 1.3; margin: 0.2em 0 0.6em; }
.eeg-alarm { background: #c92a2a; color: #fff; font-weight: 600; padding: 0.8em 1em;
  margin-bottom: 0.8em; }
.eeg-warning { background: #fff3bf; border-left: 5px solid #e67700; padding: 0.6em 1em;
  margin-bottom: 0.8em; }
#content figure svg { width: 100%; height: auto; }
.eeg-table { margin-bottom: 1em; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.eeg-table th, .eeg-table td { padding: 0.3em 1.2em 0.3em 0; border-bottom: 1px solid #dde3ea;
  text-align: left; vertical-align: top; }
.eeg-table .number { text-align: right; }
@media print {
  #toc, #top-bar, footer { display: none !important; }
  #content { width: 100%; max-width: none; margin: 0 !important; }
  figure { break-inside: avoid; }
}
"""


def write_report(
    raw: mne.io.BaseRaw,
    decision: Decision,
    explanation: Explanation,
    model: Mapping[str, Any],
    path: Path,
    *,
    title: str,
    windows: Windows | None = None,
) -> None:
    """Write what the model answered for one recording, why, and what this does not mean.

    Of the recording only its signals go in: no name, date or header field, unless ``title`` holds one.

    Parameters
    ----------
    raw
        The recording as the model saw it (filtered, referenced), in volts.
    decision
        The recording's score and the windows' evidence.
    explanation
        The ranked segments, on channels of ``raw``.
    model
        What is known about the model, as `eeg.export.result` describes it.
    path
        The file to write.
    title
        The heading of the report.
    windows
        What was found in the recording and left out of it, where that is known.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
    """
    report = mne.Report(title=title, image_format="svg", verbose="ERROR")
    report.add_custom_css(_STYLE)
    report.add_html(_decision_html(decision, model), "Score", tags=_TAG)
    spans = _spans(explanation.segments)
    report.add_figure(
        _overview(decision, explanation, spans),
        "The recording at a glance",
        caption="Top: the network's evidence in each window. Bottom: its attribution over time. "
        f"Marked and numbered: up to {_MARKED} of the strongest segments.",
        tags=_TAG,
    )
    report.add_html(_segments_html(explanation), "Ranked segments", tags=_TAG)
    if windows is not None:
        report.add_html(_quality_html(windows), "Signal quality", tags=_TAG)
    _add_pages(report, raw, spans, str(model["montage"]))
    report.add_html(_model_html(model), "The model", tags=_TAG)
    with replacing(path) as partial:
        report.save(partial, open_browser=False, verbose="ERROR")


def _decision_html(decision: Decision, model: Mapping[str, Any]) -> str:
    """Put the score in words, after what must be known before reading it."""
    alarm = f'<div class="eeg-alarm" role="alert">{_SIMULATED}</div>' if model["simulated"] else ""
    warnings = "".join(f'<div class="eeg-warning">{escape(text)}</div>' for text in model["warnings"])
    limits = (
        RESEARCH_USE,
        NORMAL_EEG + " A low score does not either.",
        "The score is no diagnosis. It says how much the EEG resembles the epilepsy-like EEG that the model "
        f"learned from, if a share of {decision.prevalence:.2f} of the people tested had epilepsy; "
        "at another prevalence it is another number.",
        NOT_A_FINDING,
    )
    return (
        f"{alarm}{warnings}"
        f'<p class="eeg-score">Score for epilepsy-like EEG <strong>{decision.probability:.2f}</strong> '
        f"at a stated prevalence of {decision.prevalence:.2f}</p>"
        f"<p><strong>{escape(str(decision.answer))}.</strong> {escape(decision.answer.grounds)}</p>"
        f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in limits)}</ul>"
    )


def _quality_html(windows: Windows) -> str:
    """Say what was wrong with the recording and what was left out."""
    quality = windows.quality
    found = escape(quality.flagged) if quality and quality.flagged else "nothing found"
    line = "unknown" if quality is None or quality.line is None else f"{quality.line:.1%}"
    facts = {
        "Wrong with the signal": found,
        "Mains, share of the power above 1 Hz": line,
        "Windows judged": len(windows.data),
        "Left out: no clean EEG": windows.flawed,
        "Left out: within a seizure": windows.ictal,
    }
    rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
    return (
        f'<table class="eeg-table"><tbody>{rows}</tbody></table>'
        "<p>A discharge can look like a blink: unless asked for, only flat and clipped signal is left out.</p>"
    )


def _spans(segments: Sequence[Segment]) -> list[Span]:
    return [
        Span(segment.onset, segment.duration, segment.channels, str(rank))
        for rank, segment in enumerate(segments, 1)
    ]


def _overview(decision: Decision, explanation: Explanation, spans: Sequence[Span]) -> Figure:
    return strip(
        explanation.times,
        explanation.relevance,
        decision.window_onset,
        decision.window_logit,
        spans[:_MARKED],
        window_length=decision.window_length,
    )


def _segments_html(explanation: Explanation) -> str:
    """Every ranked segment as a row of a table."""
    if not explanation.segments:
        return "<p>No segment of this recording stood out.</p>"
    rows = "".join(
        f'<tr><td class="number">{rank}</td>'
        f'<td class="number">{segment.onset:.2f} s ({clock(segment.onset)})</td>'
        f'<td class="number">{segment.duration:.2f} s</td>'
        f"<td>{escape(', '.join(segment.channels)) or 'all'}</td>"
        f'<td class="number">{segment.attribution:+#.3g}</td>'
        f'<td class="number">{segment.change:+.3f}</td></tr>'
        for rank, segment in enumerate(explanation.segments, 1)
    )
    return (
        '<table class="eeg-table"><thead><tr><th class="number">Rank</th><th class="number">Start</th>'
        '<th class="number">Duration</th><th>Channels</th><th class="number">Attribution</th>'
        f'<th class="number">Change of score</th></tr></thead><tbody>{rows}</tbody></table>'
        f"<p>Method: {escape(explanation.method)}. Attribution is in units of the network's logit. "
        "The change is the recording's score minus its score without the segment: "
        f"positive means that the segment raised it. {NOT_A_FINDING}</p>"
    )


def _add_pages(report: mne.Report, raw: mne.io.BaseRaw, spans: Sequence[Span], montage: str) -> None:
    """Add the pages that show the strongest segments, each page once, all with one sensitivity."""
    data, sfreq = raw.get_data(), float(raw.info["sfreq"])
    scale = _sensitivity(data)
    for start in _page_starts(spans, data.shape[1] / sfreq):
        shown = [span for span in spans if _overlaps(span, start)]
        ranks = ", ".join(span.label for span in shown)
        page = eeg_page(data, sfreq, raw.ch_names, start=start, spans=shown, scale=scale, montage=montage)
        report.add_figure(
            page,
            f"EEG {clock(start)} to {clock(start + _PAGE)}, segments marked: {ranks}",
            caption=f"Shaded: model attribution, with its rank. {RESEARCH_USE}",
            tags=_TAG,
        )


def _sensitivity(data: np.ndarray) -> float:
    """Choose µV a division: three channels in four stay in their own row for 98 % of the time.

    Not the largest channel, for that may be a bad one.
    """
    low, high = np.percentile(data, [1, 99], axis=1)
    excursion = 1e6 * np.percentile(high - low, 75)
    return float(next((step for step in _SENSITIVITIES if step >= excursion), _SENSITIVITIES[-1]))


def _page_starts(spans: Sequence[Span], length: float) -> list[float]:
    """Choose where pages begin (s), so that each of the strongest spans lies whole on one of them."""
    starts: list[float] = []
    for span in spans:
        if len(starts) < _PAGES and not any(_contains(start, span) for start in starts):
            middle = np.floor(span.onset + span.duration / 2 - _PAGE / 2)
            starts.append(float(np.clip(middle, 0, max(0.0, length - _PAGE))))
    return starts


def _contains(start: float, span: Span) -> bool:
    return start <= span.onset and span.onset + span.duration <= start + _PAGE


def _overlaps(span: Span, start: float) -> bool:
    return span.onset < start + _PAGE and span.onset + span.duration > start


def _model_html(model: Mapping[str, Any]) -> str:
    """Say what the model is and what it learned from."""
    labels = {
        "events": "annotated discharges",
        "recording": "the diagnosis on every window",
        "bag": "the diagnosis of the whole recording",
    }
    facts = {
        "Name": model["name"],
        "Learning rule": model["rule"],
        "Learned from": model["training"],
        "Training subjects": model["n_subjects"],
        "Training data": "simulated" if model["simulated"] else "recorded from people",
        "Labels": labels[model["labels"]],
        "Calibration": model["calibration"],
        "Montage": model["montage"],
        "Channels": ", ".join(model["channels"]),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts.items())
    return f'<table class="eeg-table"><tbody>{rows}</tbody></table>'
