"""What there is to see of one recording: the same pictures for the report and for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import mne
import numpy as np
from matplotlib.figure import Figure

from eeg import large_arrays
from eeg.disclaimers import RESEARCH_USE
from eeg.explanation.segments import Segment
from eeg.io.gaps import looks
from eeg.labels import LABEL_MODES
from eeg.preprocessing.pipeline import signals
from eeg.reporting.analysis import RecordingAnalysis
from visualizers.curves import removal, standing
from visualizers.topography import LEAST, placed, topographies
from visualizers.traces import Span, clock, eeg_page, side_by_side, strip

_PAGES = 5
_COMPARED = 3
_LIKE = (
    "Left: the window that holds the segment. Beside it the most similar of the windows that the model keeps "
    "of each class, of people who are not named; shaded: what moves the network most. Similar is what the "
    "network's last layer cannot tell apart (cosine; 1 is the same): this says how the network sees them, "
    "not how a reader of EEG does. Drawn as the network gets them, in its unit, negative up."
)

_MARKED = 10  # segments on the overview: more would hide the curves
_PAGE = 10.0  # s, as `visualizers.traces.eeg_page` draws
_LOOKS = 60  # pages of a recording that its sensitivity is chosen from
_SENSITIVITIES = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)  # µV a division


@dataclass(frozen=True)
class Picture:
    """A figure, what it is called where there are many, and what stands above and below it."""

    tag: str
    title: str
    caption: str
    figure: Figure


def overview(case: RecordingAnalysis) -> Picture:
    """Show the evidence of the whole recording, with the strongest segments marked."""
    decision, explanation = case.decision, case.explanation
    figure = strip(
        explanation.times,
        explanation.relevance,
        decision.window_onset,
        decision.window_logit,
        spans(explanation.segments)[:_MARKED],
        window_length=decision.window_length,
        contribution=case.contribution,
    )
    middle = (
        "" if case.contribution is None else "Middle: what each window adds to the recording's raw score. "
    )
    caption = (
        f"Top: the network's evidence in each window. {middle}Bottom: its attribution over time. "
        f"Marked and numbered: up to {_MARKED} of the strongest segments."
    )
    return Picture("overview", "The recording at a glance", caption, figure)


def place(case: RecordingAnalysis) -> Iterator[Picture]:
    """Show where the recording stands among the subjects that the model was calibrated on."""
    known = case.calibrated
    if known.n:
        yield Picture(
            "standing",
            "Beside the subjects that the score was calibrated on",
            "Each stroke is a subject as seen by a network that was not trained on him. Where strokes of "
            "both groups mix, a score says little.",
            standing(np.array(known.epilepsy), np.array(known.control), case.score),
        )


def pages(case: RecordingAnalysis) -> Iterator[Picture]:
    """Show the strongest segments as pages of EEG, each page once, all with one sensitivity."""
    raw, marked = case.raw, spans(case.explanation.segments)
    data, sfreq = signals(raw), float(raw.info["sfreq"])
    scale = _sensitivity(_seen(raw))
    for number, start in enumerate(page_starts(marked, data.shape[1] / sfreq), 1):
        shown = [span for span in marked if _overlaps(span, start)]
        ranks = ", ".join(span.label for span in shown)
        yield Picture(
            f"page {number}",
            f"EEG {clock(start)} to {clock(start + _PAGE)}, segments marked: {ranks}",
            f"Shaded: model attribution, with its rank. {RESEARCH_USE}",
            eeg_page(
                data,
                sfreq,
                raw.ch_names,
                start=start,
                spans=shown,
                scale=scale,
                montage=case.model.montage,
            ),
        )


def maps(case: RecordingAnalysis) -> Iterator[Picture]:
    """Show the first segments over the head, where the channels have places on it."""
    if case.effects is None or not len(case.effects) or len(placed(case.raw.ch_names)) < LEAST:
        return
    first = case.explanation.segments[: len(case.effects)]
    volts = np.array([_at_peak(case.raw, segment) for segment in first])
    yield Picture(
        "topographies",
        "The strongest segments over the head",
        "Top: the voltage at the moment in the segment when it differs most between channels; positive is "
        "red. Bottom: what the network's logit loses without each channel of the segment. Every map has its "
        "own scale; between electrodes it is interpolated.",
        topographies(
            {"µV": 1e6 * volts, "attribution (logit)": case.effects},
            case.raw.ch_names,
            [f"{rank}  ·  {clock(segment.onset)}" for rank, segment in enumerate(first, 1)],
        ),
    )


def likes(case: RecordingAnalysis) -> Iterator[Picture]:
    """Show the first segments beside the training windows that they are most like."""
    epilepsy, control = (f"training window {c}" for c in LABEL_MODES[case.model.labels].classes)
    pairs = zip(case.explanation.segments, case.comparisons or (), strict=False)
    for rank, (segment, found) in enumerate(islice(pairs, _COMPARED), 1):
        own = Span(found.onset, segment.duration, segment.channels, str(rank))
        panels = [
            (f"segment {rank}, {clock(segment.onset)}", found.window, own),
            *(
                (
                    f"{kind}, similarity {near.similarity:.2f}",
                    near.window,
                    near.strongest and Span(*near.strongest),
                )
                for kind, near in ((epilepsy, found.epilepsy), (control, found.control))
            ),
        ]
        drawn = np.concatenate([window for _, window, _ in panels], axis=1)
        yield Picture(
            f"training windows like segment {rank}",
            f"Training windows that segment {rank} is like",
            _LIKE if rank == 1 else "As above.",
            side_by_side(panels, float(case.raw.info["sfreq"]), case.raw.ch_names, scale=_excursion(drawn)),
        )


def truth(case: RecordingAnalysis) -> Iterator[Picture]:
    """Show how true the evidence is to the network."""
    if case.removal is None:
        return
    found = case.removal
    yield Picture(
        "deletion and insertion",
        "Is the attribution true to the network?",
        "The windows with the most evidence for epilepsy, while eighths of a second of them are replaced, "
        "and put back, the strongest attribution first. An attribution that means something falls faster and "
        "rises faster than a random order.",
        removal(found.deletion, found.insertion, (found.deletion_random, found.insertion_random)),
    )


def pictures(case: RecordingAnalysis) -> Iterator[Picture]:
    """Give all pictures of a recording."""
    yield from place(case)
    yield overview(case)
    yield from pages(case)
    yield from maps(case)
    yield from likes(case)
    yield from truth(case)


def spans(segments: Sequence[Segment]) -> list[Span]:
    """Return segments as marks, numbered from 1."""
    return [
        Span(segment.onset, segment.duration, segment.channels, str(rank))
        for rank, segment in enumerate(segments, 1)
    ]


def page_starts(spans: Sequence[Span], length: float) -> list[float]:
    """Choose where pages begin (s), so that each of the strongest spans lies whole on one of them."""
    starts: list[float] = []
    for span in spans:
        if len(starts) < _PAGES and not any(_contains(start, span) for start in starts):
            middle = np.floor(span.onset + span.duration / 2 - _PAGE / 2)
            starts.append(float(np.clip(middle, 0, max(0.0, length - _PAGE))))
    return starts


def _at_peak(raw: mne.io.BaseRaw, segment: Segment) -> np.ndarray:
    """Return the volts (C,) where channels differ most within a segment (Lehmann & Skrandies 1980)."""
    sfreq = raw.info["sfreq"]
    start, length = round(segment.onset * sfreq), max(1, round(segment.duration * sfreq))
    data = raw.get_data(start=start, stop=start + length)
    return np.asarray(data[:, data.std(0).argmax()])


def _seen(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return some of a recording, (C, T) volts: pages from all over it."""
    size = round(_PAGE * raw.info["sfreq"])
    seen = []
    for at in looks(raw, size, _LOOKS):
        seen.append(raw.get_data(start=at, stop=at + size))
        large_arrays.rest(signals(raw))  # around what is read of a mapped file, the system reads much more
    return np.concatenate(seen, axis=1)


def _sensitivity(data: np.ndarray) -> float:
    """Choose µV a division, as readers of EEG have them, for a recording (C, T) in volts."""
    excursion = 1e6 * _excursion(data)
    return float(next((step for step in _SENSITIVITIES if step >= excursion), _SENSITIVITIES[-1]))


def _excursion(data: np.ndarray) -> float:
    """Return what a division must hold for three channels in four to keep to their row for 98 % of the time.

    Not the largest channel, for that may be a bad one.
    """
    low, high = np.percentile(data, [1, 99], axis=1)
    return float(np.percentile(high - low, 75))


def _contains(start: float, span: Span) -> bool:
    return start <= span.onset and span.onset + span.duration <= start + _PAGE


def _overlaps(span: Span, start: float) -> bool:
    return span.onset < start + _PAGE and span.onset + span.duration > start
