"""Which segments of a recording drove its decision, and whether the decision depends on them.

Evidence over time comes from a method of `eeg.explanation.attribution`; its peaks become segments of at
most one second.  Each is then removed from the recording to measure what the decision loses.  An explanation
is refused if removing its segments changes the decision no more than removing random ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from tqdm import tqdm

from eeg import large_arrays
from eeg.detector.detector import Detector, network_logits
from eeg.explanation.attribution import Montage, attribute_each, channel_effects
from eeg.explanation.baselines import BASELINES, Baseline
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.recording import contributions
from eeg.explanation.segments import (
    MAX_SEGMENT_SECONDS,
    SampleSpan,
    Segment,
    evidence_over_time,
    find_peaks,
    in_recording,
    remove_spans,
)
from eeg.preprocessing.windows import Windows

_CANDIDATES = 3  # times as many peaks as are shown are examined
_REPEATS = 20
_NOISE = 0.1  # of the median absolute amplitude, added in the repetitions
_LOOKS = 500  # windows at most, spread over the recording, for that median
_DRAWS = 100
_QUANTILE = 0.95


@dataclass(frozen=True)
class Check:
    """Whether the decision needs the segments more than random ones.

    ``lost`` is what the recording's raw logit loses when all segments are replaced together, by another
    baseline than the one that they were found with; ``by_chance`` the 95th percentile of the same for
    segments of the same lengths at random places.
    """

    lost: float
    by_chance: float
    baseline: str

    @property
    def passed(self) -> bool:
        """Whether the explanation may be shown."""
        return self.lost > self.by_chance

    def __str__(self) -> str:
        text = (
            f"replacing the segments by the {self.baseline} baseline reduces the recording's logit by "
            f"{self.lost:.3g}; replacing random segments of the same lengths reduces it by less than "
            f"{self.by_chance:.3g} in {_QUANTILE:.0%} of {_DRAWS} draws"
        )
        return text if self.passed else f"The explanation failed its check and is not shown: {text}."


@dataclass(frozen=True)
class Explanation:
    """Ranked segments, the strongest first, and the evidence over time that they were found in.

    Parameters
    ----------
    method
        Name of the attribution method.
    segments
        In seconds from the start of the recording; empty without evidence for epilepsy (then there is no
        ``check`` either) and if the check failed.
    times, relevance
        (T,) each: seconds from the start of the recording, and the logit that 125 ms around each add.
    baseline
        What replaced the signal that was removed.
    check
        Whether the decision needs the segments.
    spans
        The segments as samples of the windows laid end to end.
    effects
        (S, C): what the logit loses when one channel of one segment is removed.
    contribution
        (N,): what each window adds to the recording's raw logit, see
        `eeg.explanation.recording.contributions`; None where it was not computed.
    """

    method: str
    segments: tuple[Segment, ...]
    times: np.ndarray
    relevance: np.ndarray
    baseline: str = "zero"
    check: Check | None = None
    spans: tuple[SampleSpan, ...] = ()
    effects: np.ndarray | None = None
    contribution: np.ndarray | None = None

    @property
    def refused(self) -> bool:
        """Whether segments were found that the decision does not need."""
        return self.check is not None and not self.check.passed


def explain(
    detector: Detector,
    windows: Windows,
    logits: np.ndarray,
    options: ExplanationOptions = ExplanationOptions(),
    *,
    baselines: Mapping[str, Baseline] = BASELINES,
    prevalence: float | None = None,
    progress: bool = False,
) -> Explanation:
    """Rank the segments of a recording that speak for epilepsy.

    Parameters
    ----------
    detector
        The detector that is explained.
    windows
        The windows of one recording, (N, C, T).
    logits
        (N,) the network's logits of these windows.
    options
        Method, baseline and limits.
    baselines
        What may replace removed signal, by name; ``options.baseline`` is one of them.
    prevalence
        The prevalence at which `Segment.change` is given; that of the training subjects by default.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Segments whose removal lowers the logit of their windows, ranked by how much; `Segment.change` is
    exact for the recording, with windows and pooling computed again.

    Raises
    ------
    Refused
        If the method cannot explain the network.
    ValueError
        If the method or the baseline is unknown.
    """
    if options.baseline not in baselines:
        raise ValueError(f"unknown baseline {options.baseline!r}; expected one of {', '.join(baselines)}")
    rng = np.random.default_rng(options.seed)
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)
    filled = baselines[options.baseline](windows.data, rng)
    relevance = _relevance(detector, windows.data, filled, montage, options, progress)
    removal = SpanRemoval(detector, windows.data, logits, options.batch)
    candidates = find_peaks(
        relevance, montage.samples(MAX_SEGMENT_SECONDS), _CANDIDATES * options.max_segments
    )
    losses = removal.losses(filled, candidates)
    order = np.argsort(-losses, kind="stable")[: options.max_segments]
    chosen = [int(i) for i in order if losses[i] > 0]
    spans = [candidates[i] for i in chosen]
    check = removal.check(spans, options.baseline, rng) if spans else None
    segments, effects = [], []
    if check is not None and check.passed:
        stability = removal.stability(candidates, len(spans), baselines, rng)
        for i, span in zip(chosen, spans, strict=True):
            effect = removal.channel_effects(filled, span, montage)
            change = removal.change(filled, span, prevalence)
            effects.append(effect)
            segments.append(
                Segment(
                    *in_recording(windows, span, montage.sfreq),
                    channels=_strongest(effect, montage.channels),
                    attribution=float(losses[i]),
                    change=change,
                    stability=float(stability[i]),
                )
            )
    return Explanation(
        method=options.method,
        segments=tuple(segments),
        times=_times(windows, montage.sfreq),
        relevance=relevance,
        baseline=options.baseline,
        check=check,
        spans=tuple(spans[: len(segments)]),
        effects=np.array(effects).reshape(-1, len(montage.channels)),
        contribution=contributions(
            detector.aggregation, logits, network_logits(detector.network, filled, options.batch)
        ),
    )


def _relevance(
    detector: Detector,
    windows: np.ndarray,
    filled: np.ndarray,
    montage: Montage,
    options: ExplanationOptions,
    progress: bool,
) -> np.ndarray:
    """Return the evidence over the time of all windows, (N * T,), computed batch by batch."""
    batch = options.batch
    pairs = zip(
        *(map(torch.from_numpy, large_arrays.row_blocks(x, batch)) for x in (windows, filled)), strict=True
    )
    total = -(-len(windows) // batch)
    bar = tqdm(pairs, options.method, total, disable=None if progress else True, delay=1)
    parts = attribute_each(
        detector.network, bar, montage, method=options.method, batch=batch, seed=options.seed
    )
    summed = np.empty((len(windows), 1, windows.shape[2]))
    for rows, evidence in zip(large_arrays.row_blocks(summed, batch), parts, strict=True):
        rows[:] = evidence.double().numpy().sum(1, keepdims=True)
    return evidence_over_time(summed, montage.sfreq)


def _times(windows: Windows, sfreq: float) -> np.ndarray:
    """Return when each sample of the windows was recorded, (N * T,) s."""
    count, _, length = windows.data.shape
    times = (np.arange(count * length) / sfreq).reshape(count, length)
    shift = windows.onset - windows.length * np.arange(count)
    return (times + shift[:, None]).ravel()


def _strongest(effect: np.ndarray, channels: Sequence[str]) -> tuple[str, ...]:
    """Name the channels that matter at least half as much as the first; it alone if none matters."""
    order = np.argsort(-effect)
    least = max(effect[order[0]] / 2, np.finfo(float).tiny)
    matter = [i for i in order if effect[i] >= least] or order[:1]
    return tuple(channels[i] for i in matter)


@dataclass(frozen=True)
class SpanRemoval:
    """What a decision loses when spans are removed from a recording.

    ``windows`` are (N, C, T), ``logits`` the network's (N,) of these; ``batch`` windows go through the
    network at once.
    """

    detector: Detector
    windows: np.ndarray
    logits: np.ndarray
    batch: int

    def losses(
        self, filled: np.ndarray, spans: Sequence[SampleSpan], windows: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the logits of ``windows`` (the recording's by default) lose without each span, (S,)."""
        windows = self.windows if windows is None else windows
        losses = [np.empty(0)]
        for first in range(0, len(spans), self.batch):
            removed = [remove_spans(windows, filled, [span]) for span in spans[first : first + self.batch]]
            index, emptied = map(np.concatenate, zip(*removed, strict=True))
            # Both in batches of one size: a float's last digits depend on it.
            lost = self._network(windows[index]) - self._network(emptied)
            losses.append(np.add.reduceat(lost, np.cumsum([0, *(len(i) for i, _ in removed[:-1])])))
        return np.concatenate(losses)

    def change(self, filled: np.ndarray, span: SampleSpan, prevalence: float | None) -> float:
        """Return the recording's probability minus that without a span."""
        logits = np.stack([self.logits, *self._logits_without(filled, [[span]])])
        before, after = self.detector.probability(logits, prevalence)
        return float(before - after)

    def check(self, spans: Sequence[SampleSpan], baseline: str, rng: np.random.Generator) -> Check:
        """Replace ``spans``, and random ones instead, by another baseline than the one that ranked them."""
        name = "zero" if baseline == "phase" else "phase"
        filled, whole = BASELINES[name](self.windows, rng), float(self.detector.score(self.logits))
        samples = len(self.windows) * self.windows.shape[2]
        draws = [[_random_span(span, samples, rng) for span in spans] for _ in range(_DRAWS)]
        own, *lost = [
            whole - float(self.detector.score(logits))
            for logits in self._logits_without(filled, [spans, *draws])
        ]
        return Check(own, float(np.quantile(lost, _QUANTILE)), name)

    def stability(
        self,
        spans: Sequence[SampleSpan],
        shown: int,
        baselines: Mapping[str, Baseline],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return how often each span is among the first ones with noise and other baselines.

        Parameters
        ----------
        spans
            (n,) candidates, in samples.
        shown
            The number of spans that a report shows.
        baselines
            The baselines, by name; each repeat uses the next one.
        rng
            Draws the noise.

        Returns
        -------
        (n,) frequencies from 0 to 1.
        """
        spread = _NOISE * np.median(np.abs(large_arrays.subsample(self.windows, _LOOKS)))
        stayed = np.zeros(len(spans))
        touched, own = remove_spans(self.windows, self.windows, spans)
        moved = _moved(spans, touched, self.windows.shape[2])
        for baseline, _ in zip(cycle(baselines.values()), range(_REPEATS)):
            noisy = own + rng.normal(scale=spread, size=own.shape).astype(own.dtype)
            losses = self.losses(baseline(noisy, rng), moved, noisy)
            stayed[np.argsort(-losses, kind="stable")[:shown]] += 1
        return stayed / _REPEATS

    def channel_effects(self, filled: np.ndarray, span: SampleSpan, montage: Montage) -> np.ndarray:
        """Return what the logits lose when one channel of a span is removed at a time, (C,)."""
        index, emptied = remove_spans(self.windows, filled, [span])
        pair = torch.from_numpy(self.windows[index]), torch.from_numpy(emptied)
        return channel_effects(self.detector.network, *pair, montage).numpy()

    def _logits_without(
        self, filled: np.ndarray, choices: Sequence[Sequence[SampleSpan]]
    ) -> Iterator[np.ndarray]:
        """Yield the logits of all windows (N,) without the spans of each choice, which has as many."""
        size = max(1, self.batch // len(choices[0]))
        for first in range(0, len(choices), size):
            removed = [remove_spans(self.windows, filled, spans) for spans in choices[first : first + size]]
            changed = self._network(np.concatenate([emptied for _, emptied in removed]))
            for index, _ in removed:
                after = self.logits.copy()
                after[index], changed = changed[: len(index)], changed[len(index) :]
                yield after

    def _network(self, windows: np.ndarray) -> np.ndarray:
        return network_logits(self.detector.network, windows, self.batch)


def _moved(spans: Sequence[SampleSpan], index: np.ndarray, length: int) -> list[SampleSpan]:
    """Return the places of spans when only the windows ``index``, of ``length`` samples each, are left."""
    first = [(start, stop, int(np.searchsorted(index, start // length))) for start, stop in spans]
    return [
        (at * length + start % length, at * length + start % length + stop - start)
        for start, stop, at in first
    ]


def _random_span(span: SampleSpan, samples: int, rng: np.random.Generator) -> SampleSpan:
    """Return a span of the same length at a random place of the recording."""
    length = span[1] - span[0]
    start = int(rng.integers(samples - length + 1))
    return start, start + length
