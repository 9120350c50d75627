"""Explanations against networks whose logit is known by hand, and the measure of explanations itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from torch import Tensor, nn

from eeg.attribution import METHODS, explain, grad_cam, occlusion, peaks, without
from eeg.datasets import Entry
from eeg.detector import Detector
from eeg.faithfulness import (
    MOST,
    WIDENED,
    chance,
    hits,
    largest_deflections,
    precision,
    precision_at_r,
    spans,
)
from eeg.preprocess import Preprocessing
from eeg.training import Scored
from eeg.windows import Windows

CHANNELS = ("Fp1", "T7", "Cz", "O2")
RATE = 128


class WeightedSum(nn.Module):
    """The logit of a window is the sum of its samples times known weights (C, T)."""

    def __init__(self, weights: Tensor, outputs: int = 1) -> None:
        super().__init__()
        self.weights, self.outputs = weights, outputs

    def forward(self, x: Tensor) -> Tensor:
        """Give one logit, or two scores of that difference."""
        total = (x * self.weights).sum((1, 2))[:, None]
        return total if self.outputs == 1 else torch.cat([-0.25 * total, 0.75 * total], 1)


def with_network(detector: Detector, network: nn.Module, seconds: float = 2.0) -> Detector:
    return replace(
        detector, network=network, preprocessing=Preprocessing(CHANNELS), window=seconds, aggregation="mean"
    )


def noise(windows: int, seed: int, scale: float = 1.0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(scale=scale, size=(windows, len(CHANNELS), 2 * RATE))
    return x.astype(np.float32)


# --- evidence over time


@pytest.mark.parametrize("outputs", [1, 2])
def test_occlusion_is_the_known_drop_averaged_over_the_positions_that_cover_a_sample(
    detector: Detector, outputs: int
) -> None:
    weights = torch.randn(4, 2 * RATE, generator=torch.Generator().manual_seed(0))
    x = noise(3, 0)
    found = occlusion(with_network(detector, WeightedSum(weights, outputs)), x, length=0.25, step=0.0625)
    size, step = 32, 8
    for window, row in zip(x, found, strict=True):
        lost, covered = np.zeros(256), np.zeros(256)
        for start in range(0, 256 - size + 1, step):
            span = slice(start, start + size)
            lost[span] += (window[:, span] * weights.numpy()[:, span]).sum()
            covered[span] += 1
        np.testing.assert_allclose(row, lost / covered, atol=1e-4)


def test_grad_cam_of_a_gap_head_is_its_readout_applied_to_the_activations(detector: Detector) -> None:
    """The mean gradient of a channel is its readout weight over the number of cells, whatever was pooled."""
    x = np.random.default_rng(0).normal(size=(2, 19, 256)).astype(np.float32)
    network = detector.network
    seen: list[Tensor] = []
    handle = network.last_convolution.register_forward_hook(lambda m, i, out: seen.append(out.detach()))
    network(torch.from_numpy(x))
    handle.remove()
    cells = torch.einsum("k,nkt->nt", network[-1][-1].weight[0].detach(), seen[0]).numpy() / 16
    middles = 16 * np.arange(16) + 7.5
    expected = [np.interp(np.arange(256), middles, row) for row in cells]
    np.testing.assert_allclose(grad_cam(detector, x), expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_evidence_does_not_depend_on_the_batch(detector: Detector, method: str) -> None:
    x = np.random.default_rng(1).normal(size=(5, 19, 256)).astype(np.float32)
    whole = METHODS[method](detector, x)
    assert whole.shape == (5, 256)
    np.testing.assert_allclose(METHODS[method](detector, x, batch=2), whole, atol=1e-5)


# --- segments


@given(st.lists(st.integers(-5, 20), min_size=1, max_size=120), st.integers(2, 30), st.integers(1, 20))
def test_peaks_are_short_apart_and_in_order(values: list[int], longest: int, most: int) -> None:
    relevance = np.array(values, float)
    before = relevance.copy()
    found = peaks(relevance, longest, most)
    np.testing.assert_array_equal(relevance, before)
    assert len(found) <= most
    assert bool(found) == (relevance.max() > 0)
    highest = [relevance[a:b].max() for a, b in found]
    assert highest == sorted(highest, reverse=True)
    taken = np.zeros(len(relevance), int)
    for start, stop in found:
        assert 0 <= start < stop <= len(relevance)
        assert stop - start <= longest
        assert (relevance[start:stop] >= relevance[start:stop].max() / 2).all()
        taken[start:stop] += 1
    assert taken.max(initial=0) <= 1
    if len(found) < most:  # nothing that speaks for epilepsy is left away from a segment's peak
        tops = [a + int(relevance[a:b].argmax()) for a, b in found]
        for i in np.flatnonzero(relevance > 0):
            assert min(abs(i - top) for top in tops) <= longest // 2


def test_a_peak_reaches_as_far_as_half_of_it() -> None:
    relevance = np.array([0, 1, 2, 4, 8, 5, 3, 0, 0, 0], float)
    assert peaks(relevance, 8, 1) == [(3, 6)]
    assert peaks(relevance, 2, 1) == [(3, 5)]


@given(st.integers(1, 4), st.data())
@settings(max_examples=50)
def test_without_empties_the_span_and_nothing_else(windows: int, data: st.DataObject) -> None:
    length = 7
    x = 1 + np.random.default_rng(0).random((windows, 2, length)).astype(np.float32)
    start = data.draw(st.integers(0, windows * length - 1))
    stop = data.draw(st.integers(start + 1, windows * length))
    kept = x.copy()
    index, emptied = without(x, (start, stop))
    np.testing.assert_array_equal(x, kept)
    whole = x.copy()
    whole[index] = emptied
    for i in range(windows):
        for t in range(length):
            inside = start <= i * length + t < stop
            np.testing.assert_array_equal(whole[i, :, t], 0 if inside else x[i, :, t])
            assert not inside or i in index


def planted(detector: Detector) -> tuple[Detector, np.ndarray]:
    """Give a network that sums the squares at T7 and, more weakly, at Cz, and three transients for it."""

    class Energy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            weight = torch.tensor([0.0, 0.02, 0.002, 0.0])[:, None]
            return (weight * x**2).sum((1, 2))[:, None] - 1

    x = noise(6, 3, scale=0.01)
    signal = x.swapaxes(0, 1).reshape(4, -1).copy()
    for at, height in ((200, 1.0), (700, 3.0), (1100, 2.0)):
        signal[:3, at : at + 20] += height
    signal[0, 400:420] += 50  # the largest deflection, where the network does not look
    return with_network(detector, Energy()), np.ascontiguousarray(signal.reshape(4, 6, -1).swapaxes(0, 1))


def test_planted_transients_are_found_in_order_with_their_channel(detector: Detector) -> None:
    detector, x = planted(detector)
    found = explain(detector, x, most=3)
    places = [(700, 720), (1100, 1120), (200, 220)]
    assert len(found.segments) == 3
    for segment, (start, stop) in zip(found.segments, places, strict=True):
        assert segment.onset <= start / RATE
        assert segment.onset + segment.duration >= stop / RATE
        assert segment.duration <= 1
        assert segment.channels == ("T7",)
        assert segment.change > 0
    np.testing.assert_array_equal(found.times, np.arange(6 * 256) / RATE)
    assert found.relevance.shape == found.times.shape
    assert hits(largest_deflections(x, RATE, 1), np.array([400 / RATE]), np.array([0.1])).all()


def test_channels_that_matter_half_as_much_as_the_first_are_named_too(detector: Detector) -> None:
    weights = torch.zeros(4, 256)
    weights[:, 100:120] = torch.tensor([0.3, 1.0, 0.0, 0.6])[:, None]
    found = explain(with_network(detector, WeightedSum(weights)), np.ones((1, 4, 256), np.float32), most=1)
    assert found.segments[0].channels == ("T7", "O2")


@pytest.mark.parametrize("aggregation", ["mean", "mean-probability", "top"])
@pytest.mark.parametrize("prevalence", [None, 0.02])
def test_change_and_attribution_are_those_of_a_recording_without_the_segment(
    detector: Detector, aggregation: str, prevalence: float | None
) -> None:
    detector, x = planted(detector)
    detector = replace(detector, aggregation=aggregation)
    segments = explain(detector, x, most=5, prevalence=prevalence).segments
    assert segments
    before = detector.logits(x)
    for segment in segments:
        signal = x.swapaxes(0, 1).reshape(4, -1).copy()
        start = round(segment.onset * RATE)
        signal[:, start : start + round(segment.duration * RATE)] = 0
        emptied = np.ascontiguousarray(signal.reshape(4, 6, -1).swapaxes(0, 1))
        after = detector.logits(emptied)
        odds = [float(detector.calibration.logit(detector.score(z), prevalence)) for z in (before, after)]
        assert segment.change == pytest.approx(float(expit(odds[0]) - expit(odds[1])), abs=1e-6)
        assert segment.attribution == pytest.approx((before - after).sum(), rel=1e-4)
        decided = detector.decide(emptied, np.arange(6.0), prevalence).probability
        assert decided == pytest.approx(float(expit(odds[1])))


def test_a_segment_across_two_windows_counts_in_both(detector: Detector) -> None:
    x = np.full((2, 4, 256), 0.0, np.float32)
    x[0, 1, 236:] = x[1, 1, :20] = 1.0
    found = explain(with_network(detector, WeightedSum(torch.ones(4, 256))), x, most=1)
    assert found.segments[0].attribution == pytest.approx(40, abs=2)


@pytest.mark.parametrize("method", METHODS)
def test_what_speaks_against_epilepsy_is_no_segment(detector: Detector, method: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 19, 256)).astype(np.float32)
    for segment in explain(detector, x, method=method, most=4).segments:
        assert segment.attribution > 0
    against = with_network(detector, WeightedSum(-torch.ones(4, 256)))
    assert explain(against, np.ones((2, 4, 256), np.float32)).segments == ()


@pytest.mark.parametrize("method", METHODS)
def test_explaining_leaves_the_network_as_it_was(detector: Detector, method: str) -> None:
    before = {k: v.clone() for k, v in detector.network.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(2, 19, 256)).astype(np.float32)
    logits = detector.logits(x)
    explain(detector, x, method=method, most=2)
    for name, value in detector.network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in detector.network.parameters())
    np.testing.assert_array_equal(detector.logits(x), logits)


# --- is an explanation true?


def test_hits_by_hand() -> None:
    onset, duration = np.array([10.0, 20.0]), np.array([0.5, 0.0])
    segments = [(9.0, 0.85), (9.0, 0.95), (10.55, 1.0), (10.65, 1.0), (19.85, 0.1), (0.0, 1.0)]
    assert hits(segments, onset, duration).tolist() == [False, True, True, False, True, False]


@pytest.mark.parametrize(
    ("true", "segments", "expected"),
    [
        (1, [(0.0, 0.5)], 1.0),
        (1, [(5.0, 0.5), (0.0, 0.5)], 0.0),  # only the first counts
        (2, [(0.0, 0.5)], 0.5),  # one is lacking
        (2, [(0.0, 0.5), (0.1, 0.2), (10.0, 0.1)], 1.0),
        (3, [], 0.0),
        (12, [(10.0 * i, 0.1) for i in range(12)], 1.0),
        (12, [(10.0 * i + 5 * (i > 4), 0.1) for i in range(12)], 0.5),  # of ten, not of twelve
    ],
)
def test_precision_at_r_by_hand(true: int, segments: list[tuple[float, float]], expected: float) -> None:
    assert precision_at_r(segments, 10.0 * np.arange(true), np.full(true, 0.2)) == expected


def test_precision_at_r_needs_a_discharge() -> None:
    with pytest.raises(ValueError, match="at least one"):
        precision_at_r([(0.0, 1.0)], np.array([]), np.array([]))


@given(
    st.lists(st.tuples(st.floats(0, 29), st.floats(0, 2)), min_size=1, max_size=6),
    st.floats(0.05, 1.0),
)
@settings(max_examples=30)
def test_chance_is_that_of_segments_thrown_at_random(
    events: list[tuple[float, float]], length: float
) -> None:
    onset, duration = np.array(events).T
    thrown = np.linspace(0, 30 - length, 20_001)
    share = hits([(start, length) for start in thrown], onset, duration).mean()
    assert chance(length, 30.0, onset, duration) == pytest.approx(share, abs=0.002)


def test_precision_of_a_recording_is_beside_amplitude_and_chance(detector: Detector, tmp_path: Path) -> None:
    detector, x = planted(detector)
    events = tmp_path / "events.tsv"
    rows = [f"{at / RATE}\t{20 / RATE}\tdischarge" for at in (200, 700, 1100)]
    events.write_text("\n".join(["onset\tduration\ttrial_type", *rows, "3\t1\tblink"]) + "\n")
    windows = Windows(x, np.arange(6) * 2.0, 2.0, 1, None)
    scored = Scored(Entry(Path("a.edf"), "a", 1, events=events), "held out", windows, detector.logits(x))
    found = precision(detector, scored, "occlusion")
    assert found is not None
    assert found.explanation == 1
    assert found.amplitude == pytest.approx(2 / 3)  # its first is where the network does not look
    lengths = [length for _, length in spans(explain(detector, x, most=MOST).segments)]
    covered = [3 * (20 / RATE + 2 * WIDENED + length) / (12 - length) for length in lengths]
    assert found.chance == pytest.approx(np.mean(covered), rel=0.05)
    assert f"{found.explanation:.3f}" in found.describe("occlusion")
    events.write_text("onset\tduration\ttrial_type\n3\t1\tblink\n")
    assert precision(detector, scored, "occlusion") is None
    assert precision(detector, replace(scored, entry=replace(scored.entry, events=None)), "occlusion") is None
