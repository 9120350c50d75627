"""A detection as one HTML file that opens offline.  Research use only."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import mne
from markdown import Markdown

from eeg.detector.detector import Decision
from eeg.disclaimers import NORMAL_EEG, NOT_A_FINDING, RESEARCH_USE
from eeg.explanation.explain import Explanation
from eeg.explanation.faithfulness import Faithfulness
from eeg.labels import LABEL_MODES
from eeg.preprocessing.quality import Policy
from eeg.preprocessing.windows import Windows
from eeg.reporting import figures
from eeg.reporting.analysis import RANDOM, ModelSummary, RecordingAnalysis
from eeg.reporting.figures import Picture
from trainers.files import replacing
from visualizers.traces import clock

_SIMULATED = (
    "This model was trained on simulated EEG. Its score has no meaning for a real person; "
    "it only shows how the software works."
)
_NUMBER = ' class="number"'
_SEGMENT_HEADS = {
    "Rank": _NUMBER,
    "Start": _NUMBER,
    "Duration": _NUMBER,
    "Channels": "",
    "Attribution": _NUMBER,
    "Change of score": _NUMBER,
    "Rank kept": _NUMBER,
}
_MEASURE_HEADS = {
    "What is done, and what is measured": "",
    "Explanation": _NUMBER,
    "Chance": _NUMBER,
    "Better": "",
}
_MEASURES = {
    "deletion": (
        "The strongest evidence is taken out first: probability that is left, mean over all steps",
        "lower",
    ),
    "insertion": (
        "The strongest evidence is put back first: probability that is reached, mean over all steps",
        "higher",
    ),
    "infidelity": (
        "Random quarters of a second are taken out: how badly the evidence foretells what the logit loses "
        "(infidelity; 0 is exact, 1 as bad as saying nothing)",
        "lower",
    ),
    "sensitivity": (
        "A little noise is added to the EEG: how much the evidence changes (largest relative change)",
        "lower",
    ),
    "baselines": (
        "Something else stands in for what is taken out: how alike the evidence is (rank correlation)",
        "higher",
    ),
}
"""What each measure of `eeg.explanation.faithfulness.Faithfulness` does and says, and which way is better."""

_REPLACED = "The segments are replaced: what the recording's logit loses, with the 95th percentile of others"
_NO_PROTOTYPES = (
    "This model keeps no training windows to set the segments beside; <code>eeg train --prototypes 8</code> "
    "makes one that does."
)
_LEAVES_OUT: Mapping[Policy, str] = {
    "keep": "No window was left out for its signal.",
    "exclude": "Windows that touch flat or clipped signal were left out. Blinks and muscle stay, for a "
    "discharge can look like them.",
    "strict": "Windows that touch flat or clipped signal, blinks or muscle were left out, and with them "
    "discharges that look like these.",
}
_TAG = ("detection",)  # mne.Report counts tags and fails on content without one; the style hides them

_STYLE = """
.badge, #filter-by-tags-dropdown-menu, .navbar-brand img { display: none !important; }
#content { max-width: 1250px; color: #1f2933; line-height: 1.5; }
#content .accordion-button { font-weight: 600; color: #1f2933; background: #f5f7fa; box-shadow: none; }
#content .accordion-button a { color: inherit; }
#content .figure-caption { text-align: left !important; max-width: 60em; margin: 0.5em auto; }
.eeg-score { font-size: 1.7rem; line-height: 1.3; margin: 0.2em 0 0.6em; }
.eeg-interval { font-size: 1.1rem; color: #52606d; }
.eeg-card { font-size: 0.9rem; }
.eeg-card h1 { font-size: 1.3rem; }
.eeg-card h2 { font-size: 1.1rem; margin-top: 1.2em; }
.eeg-card table { margin-bottom: 1em; }
.eeg-card th, .eeg-card td { padding: 0.2em 1.2em 0.2em 0; border-bottom: 1px solid #dde3ea; }
.eeg-card pre { white-space: pre-wrap; }
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
  #toc, #top-bar button, #top-bar .dropdown, footer { display: none !important; }
  #top-bar { position: static !important; background: none !important; box-shadow: none !important; }
  @page { size: A4; margin: 12mm; }
  #content { width: 100%; max-width: none; margin: 0 !important; font-size: 9.5pt; }
  .accordion-item { break-inside: avoid; border: 0 !important; }
  .accordion-item:has(.eeg-card) { break-inside: auto; }
  .accordion-button::after { display: none; }
  .eeg-alarm, .eeg-warning { print-color-adjust: exact; }
}
"""


def write_report(case: RecordingAnalysis, path: Path, *, title: str) -> None:
    """Write what the model answered for one recording, why, and what this does not mean.

    Of the recording only its signals go in: no name, date or header field, unless ``title`` holds one.

    Parameters
    ----------
    case
        The recording and what was found in it.
    path
        The file to write.
    title
        The heading of the report.

    Raises
    ------
    DataError
        When the folder of ``path`` cannot be written.
    """
    report = mne.Report(title=title, image_format="svg", verbose="ERROR")
    report.add_custom_css(_STYLE)
    report.add_html(_decision_html(case.decision, case.model), "Score", tags=_TAG)
    _add(report, figures.place(case))
    _add(report, [figures.overview(case)])
    report.add_html(_segments_html(case.explanation), "Ranked segments", tags=_TAG)
    _add(report, figures.pages(case))
    _add(report, figures.maps(case))
    if case.explanation.segments and case.comparisons is None:
        report.add_html(f"<p>{_NO_PROTOTYPES}</p>", "Training windows like these", tags=_TAG)
    _add(report, figures.likes(case))
    _add(report, figures.truth(case))
    if case.measures is not None:
        report.add_html(
            _measures_html(case.explanation, case.measures),
            "How true the explanation is, in numbers",
            tags=_TAG,
        )
    if case.windows is not None:
        report.add_html(_quality_html(case.windows, case.policy), "Signal quality", tags=_TAG)
    report.add_html(_model_html(case.model), "The model", tags=_TAG)
    if case.card:
        report.add_html(_card_html(case.card), "Model card", tags=_TAG)
    with replacing(path) as partial:
        report.save(partial, open_browser=False, verbose="ERROR")


def _add(report: mne.Report, found: Iterable[Picture]) -> None:
    for picture in found:
        report.add_figure(picture.figure, picture.title, caption=picture.caption, tags=_TAG)


def _decision_html(decision: Decision, model: ModelSummary) -> str:
    """Put the score in words, after what must be known before reading it."""
    alarm = f'<div class="eeg-alarm" role="alert">{_SIMULATED}</div>' if model.simulated else ""
    warnings = "".join(f'<div class="eeg-warning">{escape(text)}</div>' for text in model.warnings)
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
        f'<p class="eeg-score">Score for epilepsy-like EEG <strong>{decision.probability:.2f}</strong>'
        f"{_interval(decision)} at a stated prevalence of {decision.prevalence:.2f}</p>"
        f'<p class="{"eeg-warning" if decision.answer.group is None else ""}">'
        f"<strong>{escape(str(decision.answer))}.</strong> {escape(decision.answer.grounds)}</p>"
        f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in limits)}</ul>"
    )


def _interval(decision: Decision) -> str:
    if decision.interval is None:
        return ""
    low, high = decision.interval
    return f' <span class="eeg-interval">(95 % interval {low:.2f} to {high:.2f})</span>'


def _quality_html(windows: Windows, policy: Policy) -> str:
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
        "Stretches between gaps that are too short": windows.short,
    }
    rows = "".join(f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items())
    return (
        f'<table class="eeg-table"><tbody>{rows}</tbody></table>'
        f"<p>{_LEAVES_OUT[policy]} Seizures are always left out.</p>"
    )


def _segments_html(explanation: Explanation) -> str:
    """Every ranked segment as a row of a table, and whether the decision needs them."""
    if explanation.refused:
        return f'<div class="eeg-warning">{escape(str(explanation.check))}</div>'
    if not explanation.segments:
        return "<p>No segment of this recording stood out.</p>"
    rows = "".join(
        f'<tr><td class="number">{rank}</td>'
        f'<td class="number">{segment.onset:.2f} s ({clock(segment.onset)})</td>'
        f'<td class="number">{segment.duration:.2f} s</td>'
        f"<td>{escape(', '.join(segment.channels)) or 'all'}</td>"
        f'<td class="number">{segment.attribution:+#.3g}</td>'
        f'<td class="number">{segment.change:+.3f}</td>'
        f'<td class="number">{segment.stability:.0%}</td></tr>'
        for rank, segment in enumerate(explanation.segments, 1)
    )
    heads = "".join(f"<th{kind}>{name}</th>" for name, kind in _SEGMENT_HEADS.items())
    return (
        f'<table class="eeg-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        f"<p>Method: {escape(explanation.method)}. Attribution is in units of the network's logit. "
        "The change is the recording's score minus its score without the segment: "
        "positive means that the segment raised it. Rank kept: how often the segment stays among these when "
        f"noise and other baselines come in. {NOT_A_FINDING}</p>"
        f"{_check_html(explanation)}"
    )


def _measures_html(explanation: Explanation, measures: Mapping[str, Faithfulness]) -> str:
    """Say in words what was measured of the explanation, beside what chance gives."""
    own, chance = measures[explanation.method], measures[RANDOM]
    rows = [
        (what, getattr(own, name), getattr(chance, name), better)
        for name, (what, better) in _MEASURES.items()
    ]
    if (check := explanation.check) is not None:
        rows.append((_REPLACED, check.lost, check.by_chance, "higher"))
    body = "".join(
        f"<tr><td>{what}</td><td{_NUMBER}>{value:.2f}</td><td{_NUMBER}>{beside:.2f}</td><td>{better}</td></tr>"
        for what, value, beside, better in rows
    )
    heads = "".join(f"<th{kind}>{name}</th>" for name, kind in _MEASURE_HEADS.items())
    return (
        f'<table class="eeg-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        "<p>All but the last row look at the windows with the highest logits. Such numbers say whether the "
        "marks are true to the network, and not whether the network is right.</p>"
    )


def _check_html(explanation: Explanation) -> str:
    if explanation.check is None:
        return ""
    return f"<p>The decision needs these segments: {escape(str(explanation.check))}.</p>"


def _model_html(model: ModelSummary) -> str:
    """Say what the model is and what it learned from."""
    facts = {
        "Name": model.name,
        "Learning rule": model.rule,
        "Learned from": model.training,
        "Training subjects": model.n_subjects,
        "Training data": "simulated" if model.simulated else "recorded from people",
        "Labels": LABEL_MODES[model.labels].description,
        "Calibration": model.calibration,
        "Montage": model.montage,
        "Channels": ", ".join(model.channels),
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts.items())
    return f'<table class="eeg-table"><tbody>{rows}</tbody></table>'


def _card_html(card: str) -> str:
    """Turn Markdown into HTML; what looks like HTML in it stays text, for it comes from a file."""
    reader = Markdown(extensions=["tables", "fenced_code"])
    reader.preprocessors.deregister("html_block")
    reader.inlinePatterns.deregister("html")
    html: str = reader.convert(card)
    html = html.replace("<pre><code>", "<pre>").replace("</code></pre>", "</pre>")  # no code to be coloured
    return f'<div class="eeg-card">{html}</div>'
