"""The figures of one analysed recording, for the report and for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import mne
import numpy as np

from eeg import large_arrays
from eeg.disclaimers import RESEARCH_USE
from eeg.explanation.segments import Segment
from eeg.io.gaps import sample_starts, stretches
from eeg.labels import LABEL_MODES
from eeg.preprocessing.pipeline import cleaned_signals
from eeg.reporting.analysis import RecordingAnalysis
from visualizers.decision import plot_removal, score_distribution
from visualizers.drawing import Drawing
from visualizers.topography import MIN_ELECTRODES, placed, topographies
from visualizers.traces import MarkedSpan, clock, eeg_page, overview, side_by_side

_PAGES = 5
_COMPARED = 3
_SIMILAR = (
    "Left: the window that contains the segment. Beside it: the most similar stored training window of each "
    "class, from unnamed subjects; shaded: the part that moves the network most. Similarity is the cosine of "
    "the network's embeddings (1: identical): it shows what is alike to the network, not to an EEG reader. "
    "Signals are drawn as the network receives them, in its units, negative up."
)

_MARKED = 10  # segments on the overview: more would hide the curves
_PAGE = 10.0  # s, as `visualizers.traces.eeg_page` draws
_SAMPLED = 60  # pages of a recording from which its sensitivity is chosen
_SENSITIVITIES = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)  # µV per division


@dataclass(frozen=True)
class Picture:
    """A drawing with its TensorBoard tag, its title and its caption."""

    tag: str
    title: str
    caption: str
    drawing: Drawing


def draw_overview(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the evidence of the whole recording, with the strongest segments marked."""
    decision, explanation = analysis.decision, analysis.explanation
    drawing = overview(
        explanation.times,
        explanation.relevance,
        decision.window_onset,
        decision.window_logit,
        _spans(explanation.segments)[:_MARKED],
        window_length=decision.window_length,
        contribution=analysis.contribution,
    )
    middle = (
        ""
        if analysis.contribution is None
        else "Middle: contribution of each window to the recording's raw score. "
    )
    caption = (
        f"Top: logit of each window. {middle}Bottom: attribution over time. Marked and numbered: up to "
        f"{_MARKED} of the strongest segments."
    )
    yield Picture("overview", "Overview of the recording", caption, drawing)


def draw_calibration(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the recording's score among those of the subjects that the model was calibrated on."""
    known = analysis.calibrated
    if known.n:
        yield Picture(
            "score distribution",
            "Score among the calibration subjects",
            "Each stroke is the out-of-fold score of one subject. Where strokes of both groups overlap, a "
            "score carries little information.",
            score_distribution(np.array(known.epilepsy), np.array(known.control), analysis.score),
        )


def draw_pages(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the strongest segments as pages of EEG, each page once, all with one sensitivity."""
    raw, marked = analysis.raw, _spans(analysis.explanation.segments)
    data, sfreq = cleaned_signals(raw), float(raw.info["sfreq"])
    scale = _sensitivity(_sample(raw))
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
                montage=analysis.model.montage,
            ),
        )


def draw_topographies(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the first segments over the head, if the positions of enough channels are known."""
    effects, raw = analysis.effects, analysis.raw
    if effects is None or not len(effects) or len(placed(raw.ch_names)) < MIN_ELECTRODES:
        return
    first = analysis.explanation.segments[: len(effects)]
    volts = np.array([_at_peak(raw, segment) for segment in first])
    yield Picture(
        "topographies",
        "Topography of the strongest segments",
        "Top: the voltage at the time in the segment when it differs most between channels; positive is red. "
        "Bottom: what the network's logit loses when a single channel is removed from the segment. Each map "
        "has its own scale; values between electrodes are interpolated.",
        topographies(
            {"µV": 1e6 * volts, "attribution (logit)": effects},
            raw.ch_names,
            [f"{rank}  ·  {clock(segment.onset)}" for rank, segment in enumerate(first, 1)],
        ),
    )


def draw_similar_windows(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the first segments beside the most similar training windows of each class."""
    epilepsy, control = (f"training window {c}" for c in LABEL_MODES[analysis.model.labels].classes)
    pairs = zip(analysis.explanation.segments, analysis.comparisons or (), strict=False)
    for rank, (segment, similar) in enumerate(islice(pairs, _COMPARED), 1):
        own = MarkedSpan(similar.onset, segment.duration, segment.channels, str(rank))
        panels = [
            (f"segment {rank}, {clock(segment.onset)}", similar.window, own),
            *(
                (
                    f"{kind}, similarity {near.similarity:.2f}",
                    near.window,
                    near.strongest and MarkedSpan(*near.strongest),
                )
                for kind, near in ((epilepsy, similar.epilepsy), (control, similar.control))
            ),
        ]
        scale = _excursion(np.concatenate([window for _, window, _ in panels], axis=1))
        yield Picture(
            f"training windows similar to segment {rank}",
            f"Training windows similar to segment {rank}",
            _SIMILAR if rank == 1 else "As above.",
            side_by_side(panels, float(analysis.raw.info["sfreq"]), analysis.raw.ch_names, scale=scale),
        )


def draw_faithfulness(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw the deletion and insertion curves of the explanation."""
    if (curves := analysis.removal) is not None:
        yield Picture(
            "deletion and insertion",
            "Faithfulness of the explanation",
            "Mean probability of the windows with the highest logits while cells of an eighth of a second "
            "are replaced (deletion) and restored (insertion), the strongest attribution first. With a "
            "faithful attribution it falls and rises faster than in random order.",
            plot_removal(
                curves.deletion, curves.insertion, (curves.deletion_random, curves.insertion_random)
            ),
        )


def draw_all(analysis: RecordingAnalysis) -> Iterator[Picture]:
    """Draw all figures of a recording."""
    for draw in (
        draw_calibration,
        draw_overview,
        draw_pages,
        draw_topographies,
        draw_similar_windows,
        draw_faithfulness,
    ):
        yield from draw(analysis)


def _spans(segments: Sequence[Segment]) -> list[MarkedSpan]:
    """Return segments as marks, numbered from 1."""
    return [
        MarkedSpan(segment.onset, segment.duration, segment.channels, str(rank))
        for rank, segment in enumerate(segments, 1)
    ]


def page_starts(spans: Sequence[MarkedSpan], length: float) -> list[float]:
    """Return where pages start (s), so that each of the strongest spans is completely on one of them."""
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


def _sample(raw: mne.io.BaseRaw) -> np.ndarray:
    """Return pages from all over a recording, (C, T) volts."""
    size = round(_PAGE * raw.info["sfreq"])
    pages = []
    for start in sample_starts(stretches(raw), size, _SAMPLED):
        pages.append(raw.get_data(start=start, stop=start + size))
        # The system reads much more of a mapped file than is asked for.
        large_arrays.release(cleaned_signals(raw))
    return np.concatenate(pages, axis=1)


def _sensitivity(data: np.ndarray) -> float:
    """Return a usual sensitivity (µV per division) for a recording (C, T) in volts."""
    excursion = 1e6 * _excursion(data)
    return float(next((step for step in _SENSITIVITIES if step >= excursion), _SENSITIVITIES[-1]))


def _excursion(data: np.ndarray) -> float:
    """Return the size of a division with which three channels in four stay in their row for 98 % of the time.

    Not that of the largest channel, which may be a bad one.
    """
    low, high = np.percentile(data, [1, 99], axis=1)
    return float(np.percentile(high - low, 75))


def _contains(start: float, span: MarkedSpan) -> bool:
    return start <= span.onset and span.onset + span.duration <= start + _PAGE


def _overlaps(span: MarkedSpan, start: float) -> bool:
    return span.onset < start + _PAGE and span.onset + span.duration > start
