"""Which segments of a recording drove its decision, and whether that is true.

Evidence over time comes from a method of `eeg.explanation.attribution`; its peaks become segments of at
most a second;
each is then taken out of the recording to see what the decision loses.  An explanation whose segments the
decision does not need more than any others is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from tqdm import tqdm

from eeg import large_arrays
from eeg.detector.detector import Detector, network_logits
from eeg.explanation.attribution import DEFAULT, Montage, attribute_each, channel_effects
from eeg.explanation.baselines import BASELINES, Baseline
from eeg.explanation.segments import LONGEST, Segment, Span, over_time, peaks, without

_CANDIDATES = 3  # times as many peaks as are shown are looked at
_REPEATS = 20
_NOISE = 0.1  # of the median absolute deviation, added in the repetitions
_LOOKS = 500  # windows at most, from all over the recording, that this is taken of
_DRAWS = 100
_QUANTILE = 0.95


@dataclass(frozen=True)
class Check:
    """Whether the decision needs the segments more than any others.

    ``lost`` is what the recording's raw logit loses when all of them are replaced together, by another
    baseline than the one that they were found with; ``by_chance`` the 95th percentile of the same for
    segments of the same lengths anywhere in the recording.
    """

    lost: float
    by_chance: float
    baseline: str

    @property
    def passed(self) -> bool:
        """Whether the explanation may be shown."""
        return self.lost > self.by_chance

    def __str__(self) -> str:
        told = (
            f"replaced by the {self.baseline} baseline, the segments take {self.lost:.3g} from the "
            f"recording's logit; segments of the same lengths anywhere take less than {self.by_chance:.3g} "
            f"in {_QUANTILE:.0%} of {_DRAWS} draws"
        )
        return told if self.passed else f"The explanation failed its check and is not shown: {told}."


@dataclass(frozen=True)
class Explanation:
    """Ranked segments, the strongest first, and the evidence over time that they were found in.

    ``relevance`` (T,) is sampled at ``times`` (T,) in seconds: the logit that 125 ms around add.  There
    are no ``segments`` where nothing spoke for epilepsy, and then no ``check``, nor where that failed.
    """

    method: str
    segments: tuple[Segment, ...]
    times: np.ndarray
    relevance: np.ndarray
    baseline: str = "zero"
    check: Check | None = None

    @property
    def refused(self) -> bool:
        """Whether segments were found that the decision does not need."""
        return self.check is not None and not self.check.passed


def explain(
    detector: Detector,
    windows: np.ndarray,
    *,
    method: str = DEFAULT,
    baseline: str = "zero",
    baselines: Mapping[str, Baseline] = BASELINES,
    most: int = 10,
    prevalence: float | None = None,
    batch: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> Explanation:
    """Rank the segments that speak for epilepsy in a recording.

    Parameters
    ----------
    windows
        (N, C, T), adjoining windows of one recording.
    method, baseline
        Where the evidence over time comes from, one of `METHODS`, and what stands in for what is taken
        out, one of ``baselines``.
    most
        How many segments at most.
    batch
        How many windows the network sees at once.
    seed
        Of all that is drawn.

    Returns
    -------
    Segments whose removal lowers the logit of their windows, ranked by how much; `Segment.change` is
    exact for the recording, with windows and aggregation computed anew.

    Raises
    ------
    Refused
        If the method cannot explain the network.
    """
    rng = np.random.default_rng(seed)
    filled = baselines[baseline](windows, rng)
    montage = Montage(detector.preprocessing.inputs, detector.preprocessing.sfreq)
    pairs = zip(
        *(map(torch.from_numpy, large_arrays.blocks(x, batch)) for x in (windows, filled)), strict=True
    )
    bar = tqdm(pairs, method, -(-len(windows) // batch), disable=None if progress else True, delay=1)
    found_in = attribute_each(detector.network, bar, montage, method=method, batch=batch, seed=seed)
    summed = np.empty((len(windows), 1, windows.shape[2]))
    for part, evidence in zip(large_arrays.blocks(summed, batch), found_in, strict=True):
        part[:] = evidence.double().numpy().sum(1, keepdims=True)
    relevance = over_time(summed, montage.sfreq)
    removal = Removal(detector, batch)
    found = peaks(relevance, montage.samples(LONGEST), _CANDIDATES * most)
    losses = removal.lost(windows, filled, found)
    shown = [int(i) for i in np.argsort(-losses, kind="stable")[:most] if losses[i] > 0]
    check = removal.check(windows, [found[i] for i in shown], baseline, rng) if shown else None
    segments: tuple[Segment, ...] = ()
    if check is not None and check.passed:
        stable = removal.stability(windows, found, len(shown), baselines, rng)
        logits = removal.logits(windows)
        segments = tuple(
            Segment(
                onset=found[i][0] / montage.sfreq,
                duration=(found[i][1] - found[i][0]) / montage.sfreq,
                channels=removal.channels(windows, filled, found[i], montage),
                attribution=float(losses[i]),
                change=removal.change(windows, logits, filled, found[i], prevalence),
                stability=float(stable[i]),
            )
            for i in shown
        )
    times = np.arange(len(relevance)) / montage.sfreq
    return Explanation(method, segments, times, relevance, baseline, check)


@dataclass(frozen=True)
class Removal:
    """A detector asked about recordings without some of their spans, ``batch`` windows at once."""

    detector: Detector
    batch: int

    def logits(self, windows: np.ndarray) -> np.ndarray:
        """Return the logit of each window, (N,)."""
        return network_logits(self.detector.network, windows, self.batch)

    def lost(self, windows: np.ndarray, baseline: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
        """Return what the logits of their windows lose without each of ``spans``, (S,)."""
        losses = []
        for span in spans:
            index, emptied = without(windows, baseline, [span])
            losses.append((self.logits(windows[index]) - self.logits(emptied)).sum())
        return np.array(losses, float)

    def change(
        self,
        windows: np.ndarray,
        logits: np.ndarray,
        baseline: np.ndarray,
        span: Span,
        prevalence: float | None,
    ) -> float:
        """Return the recording's probability minus that without a span."""
        without_it = self._without(windows, logits, baseline, [span])
        before, after = self.detector.probability(np.stack([logits, without_it]), prevalence)
        return float(before - after)

    def check(
        self, windows: np.ndarray, spans: Sequence[Span], baseline: str, rng: np.random.Generator
    ) -> Check:
        """Replace ``spans``, and others in their place, by another baseline than the one that found them."""
        name = "zero" if baseline == "phase" else "phase"
        filled, logits = BASELINES[name](windows, rng), self.logits(windows)
        whole = float(self.detector.score(logits))

        def lost(chosen: Sequence[Span]) -> float:
            return whole - float(self.detector.score(self._without(windows, logits, filled, chosen)))

        samples = len(windows) * windows.shape[2]
        drawn = [lost([_elsewhere(span, samples, rng) for span in spans]) for _ in range(_DRAWS)]
        return Check(lost(spans), float(np.quantile(drawn, _QUANTILE)), name)

    def stability(
        self,
        windows: np.ndarray,
        spans: Sequence[Span],
        shown: int,
        baselines: Mapping[str, Baseline],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return how often each of ``spans`` is among the first ``shown``, with noise and other baselines."""
        spread = _NOISE * np.median(np.abs(large_arrays.some(windows, _LOOKS)))
        stayed = np.zeros(len(spans))
        touched, own = without(windows, windows, spans)
        among = _moved(spans, touched, windows.shape[2])
        for baseline, _ in zip(cycle(baselines.values()), range(_REPEATS)):
            noisy = own + rng.normal(scale=spread, size=own.shape).astype(own.dtype)
            losses = self.lost(noisy, baseline(noisy, rng), among)
            stayed[np.argsort(-losses, kind="stable")[:shown]] += 1
        return stayed / _REPEATS

    def channels(
        self, windows: np.ndarray, baseline: np.ndarray, span: Span, montage: Montage
    ) -> tuple[str, ...]:
        """Return the channels whose part of a span matters at least half as much as the first one's.

        One channel of the span is taken out at a time; the strongest alone if none matters.
        """
        index, emptied = without(windows, baseline, [span])
        effect = channel_effects(
            self.detector.network, torch.from_numpy(windows[index]), torch.from_numpy(emptied), montage
        ).numpy()
        order = np.argsort(-effect)
        least = max(effect[order[0]] / 2, np.finfo(float).tiny)
        matter = [i for i in order if effect[i] >= least] or order[:1]
        return tuple(montage.channels[i] for i in matter)

    def _without(
        self, windows: np.ndarray, logits: np.ndarray, baseline: np.ndarray, spans: Sequence[Span]
    ) -> np.ndarray:
        """Return the logits of all windows (N,) when ``spans`` are taken out."""
        index, emptied = without(windows, baseline, spans)
        after = logits.copy()
        after[index] = self.logits(emptied)
        return after


def _moved(spans: Sequence[Span], index: np.ndarray, length: int) -> list[Span]:
    """Return where spans lie when only the windows ``index``, of ``length`` samples each, are left."""
    first = [(start, stop, int(np.searchsorted(index, start // length))) for start, stop in spans]
    return [
        (at * length + start % length, at * length + start % length + stop - start)
        for start, stop, at in first
    ]


def _elsewhere(span: Span, samples: int, rng: np.random.Generator) -> Span:
    """Return a span of the same length anywhere in the recording."""
    length = span[1] - span[0]
    start = int(rng.integers(samples - length + 1))
    return start, start + length
