"""Segments of networks whose logit is known by hand, and explanations that fail their own check."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.special import expit
from scipy.stats import kurtosis
from torch import Tensor, nn

from eeg import large_arrays
from eeg.detector.detector import Detector
from eeg.detector.novelty import fit_novelty, statistics
from eeg.evaluation.localization import hits, largest_deflections
from eeg.explanation.attribution import METHODS, Montage, attribute, cell_mask, group_numbers, region
from eeg.explanation.baselines import BASELINES, control_baseline, phase
from eeg.explanation.explain import Check, SpanRemoval, explain
from eeg.explanation.options import ExplanationOptions
from eeg.explanation.segments import evidence_over_time, find_peaks, remove_spans
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.windows import Windows
from tests.test_eeg.helpers import adjoining, explain_windows
from trainers.comparison.process import peak_memory, run_in_process

CHANNELS = ("Fp1", "T7", "Cz", "O2")
RATE = 128


class WeightedSum(nn.Module):
    """The logit of a window is the sum of its samples times known weights (C, T)."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit."""
        return (x * self.weights).sum((1, 2))[:, None]


def with_network(detector: Detector, network: nn.Module) -> Detector:
    return replace(
        detector, network=network, preprocessing=Preprocessing(CHANNELS), window=2.0, aggregation="mean"
    )


def noise(windows: int, seed: int, scale: float = 1.0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(scale=scale, size=(windows, len(CHANNELS), 2 * RATE))
    return x.astype(np.float32)


# --- baselines, and the parts of a window


def test_surrogates_keep_all_spectra_and_no_transient() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 256)).astype(np.float32)
    x[:, 1, 100:110] += 30
    found = phase(x, np.random.default_rng(1))
    assert found.dtype == x.dtype
    before, after = np.fft.rfft(x), np.fft.rfft(found)
    for a, b in ((0, 0), (0, 1), (1, 3)):
        np.testing.assert_allclose(
            after[:, a] * after[:, b].conj(), before[:, a] * before[:, b].conj(), rtol=1e-2, atol=3
        )
    np.testing.assert_allclose(found.mean(-1), x.mean(-1), atol=1e-5)
    assert kurtosis(x[:, 1], axis=1).min() > 10
    assert kurtosis(found[:, 1], axis=1).max() < 2


@pytest.mark.parametrize("samples", [255, 256])
def test_baselines_have_the_shape_of_the_windows_and_leave_them(samples: int) -> None:
    x = 1 + np.random.default_rng(0).normal(size=(3, 4, samples)).astype(np.float32)
    kept = x.copy()
    for fill in BASELINES.values():
        found = fill(x, np.random.default_rng(0))
        assert found.shape == x.shape
        assert found.dtype == x.dtype
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(BASELINES["zero"](x, np.random.default_rng(0)), 0)
    flat = BASELINES["mean"](x, np.random.default_rng(0))
    np.testing.assert_allclose(flat, np.repeat(x.mean(2, keepdims=True), samples, 2), rtol=1e-5)


def test_a_bank_accepts_windows_of_its_shape_only() -> None:
    healthy = np.random.default_rng(0).normal(size=(5, 4, 16))
    found = control_baseline(healthy)(np.zeros((40, 4, 16)), np.random.default_rng(1))
    rows = [int(np.flatnonzero((healthy == window).all((1, 2)))[0]) for window in found]
    assert set(rows) == set(range(5))
    with pytest.raises(ValueError, match=r"healthy windows are \(4, 16\)"):
        control_baseline(healthy)(np.zeros((1, 4, 17)), np.random.default_rng(0))


def test_cells_number_every_stretch_of_every_group() -> None:
    mask = cell_mask([0, 1, 0], 10, 4)
    assert mask.tolist() == [
        [[0, 0, 0, 0, 1, 1, 1, 1, 2, 2], [3, 3, 3, 3, 4, 4, 4, 4, 5, 5], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]]
    ]


def test_regions_of_the_ten_twenty_system() -> None:
    expected = {
        "frontal": {"Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8"},
        "temporal left": {"T7", "P7"},
        "temporal right": {"T8", "P8"},
        "central": {"C3", "Cz", "C4"},
        "parietal": {"P3", "Pz", "P4"},
        "occipital": {"O1", "O2"},
    }
    assert {name: {c for c in TEN_TWENTY if region(c) == name} for name in expected} == expected
    assert region("EKG") == region("A1") == "other"
    assert group_numbers(["x", "y", "x", "z"]) == [0, 1, 0, 2]


# --- segments


@given(st.lists(st.integers(-5, 20), min_size=1, max_size=120), st.integers(2, 30), st.integers(1, 20))
def test_peaks_are_short_apart_and_in_order(values: list[int], longest: int, most: int) -> None:
    relevance = np.array(values, float)
    before = relevance.copy()
    found = find_peaks(relevance, longest, most)
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
    if len(found) < most:  # no evidence for epilepsy remains outside the segments
        tops = [a + int(relevance[a:b].argmax()) for a, b in found]
        for i in np.flatnonzero(relevance > 0):
            assert min(abs(i - top) for top in tops) <= longest // 2


def test_a_peak_reaches_as_far_as_half_of_it() -> None:
    relevance = np.array([0, 1, 2, 4, 8, 5, 3, 0, 0, 0], float)
    assert find_peaks(relevance, 8, 1) == [(3, 6)]
    assert find_peaks(relevance, 2, 1) == [(3, 5)]


@given(st.integers(1, 4), st.data())
@settings(max_examples=50)
def test_without_replaces_the_spans_and_nothing_else(windows: int, data: st.DataObject) -> None:
    length = 7
    rng = np.random.default_rng(0)
    x, other = rng.random((2, windows, 2, length)).astype(np.float32)
    starts = data.draw(st.lists(st.integers(0, windows * length - 1), min_size=1, max_size=3))
    spans = [(start, data.draw(st.integers(start + 1, windows * length))) for start in starts]
    kept = x.copy()
    index, emptied = remove_spans(x, other, spans)
    np.testing.assert_array_equal(x, kept)
    whole = x.copy()
    whole[index] = emptied
    for i in range(windows):
        for t in range(length):
            inside = any(start <= i * length + t < stop for start, stop in spans)
            np.testing.assert_array_equal(whole[i, :, t], (other if inside else x)[i, :, t])
            assert not inside or i in index


def test_evidence_over_time_is_what_125_ms_around_add() -> None:
    evidence = np.random.default_rng(0).normal(size=(2, 3, 40))
    together = np.concatenate(evidence.sum(1))
    expected = [together[max(0, t - 7) : t + 8].sum() for t in range(80)]
    np.testing.assert_allclose(evidence_over_time(evidence, 120.0), expected, atol=1e-12)


def planted(detector: Detector) -> tuple[Detector, np.ndarray]:
    """Return a network that sums the squares at T7 and, more weakly, at Cz, and three transients for it."""

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
    found = explain_windows(detector, x, max_segments=3)
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
    x = np.zeros((6, 4, 256), np.float32)
    x[2, :, 100:120] = 1
    found = explain_windows(with_network(detector, WeightedSum(weights)), x, max_segments=1)
    assert found.segments[0].channels == ("T7", "O2")


@pytest.mark.parametrize("aggregation", ["mean", "mean-probability", "top"])
@pytest.mark.parametrize("prevalence", [None, 0.02])
def test_change_and_attribution_are_those_of_a_recording_without_the_segment(
    detector: Detector, aggregation: str, prevalence: float | None
) -> None:
    detector, x = planted(detector)
    detector = replace(detector, aggregation=aggregation)
    segments = explain_windows(detector, x, max_segments=5, prevalence=prevalence).segments
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


def test_a_segment_across_two_windows_counts_in_both(detector: Detector) -> None:
    x = np.full((2, 4, 256), 0.0, np.float32)
    x[0, 1, 236:] = x[1, 1, :20] = 1.0
    found = explain_windows(with_network(detector, WeightedSum(torch.ones(4, 256))), x, max_segments=1)
    assert found.segments[0].attribution == pytest.approx(40, abs=2)


@pytest.mark.parametrize("method", METHODS)
def test_evidence_against_epilepsy_is_not_a_segment(detector: Detector, method: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 19, 256)).astype(np.float32)
    for segment in explain_windows(detector, x, method=method, max_segments=4).segments:
        assert segment.attribution > 0
    against = with_network(detector, WeightedSum(-torch.ones(4, 256)))
    assert explain_windows(against, np.ones((2, 4, 256), np.float32)).segments == ()


# --- an explanation's own check


@pytest.mark.parametrize("method", [name for name in METHODS if not METHODS[name].gradients])
def test_the_check_of_planted_transients_passes(detector: Detector, method: str) -> None:
    detector, x = planted(detector)
    found = explain_windows(detector, x, method=method, max_segments=3)
    assert found.check is not None
    assert found.check.passed
    assert not found.refused
    assert found.check.baseline == "phase"


class Spiky(nn.Module):
    """A network that responds to flat stretches only: a baseline of zero lowers its logit."""

    def forward(self, x: Tensor) -> Tensor:
        return -(x == 0).float().sum((1, 2))[:, None]


def test_segments_that_only_the_flat_line_makes_are_refused(detector: Detector) -> None:
    found = explain_windows(with_network(detector, Spiky()), noise(6, 0))
    assert found.refused
    assert found.segments == ()
    assert "failed its check" in str(found.check)


def test_the_check_refuses_what_a_randomised_network_points_at(detector: Detector) -> None:
    detector, x = planted(detector)
    x = np.concatenate([x, noise(60, 4, scale=0.01)])
    own = [
        (round(s.onset * RATE), round((s.onset + s.duration) * RATE))
        for s in explain_windows(detector, x).segments
    ]
    montage, windows = Montage(CHANNELS, RATE), torch.from_numpy(x)

    def stranger(x: Tensor) -> Tensor:  # its weights shuffled over the channels
        return (torch.tensor([0.0, 0.0, 0.0, 0.02])[:, None] * x**2).sum((1, 2))[:, None]

    foreign = attribute(stranger, windows, torch.zeros_like(windows), montage)
    other = find_peaks(evidence_over_time(foreign.numpy(), RATE), RATE, len(own))
    removal = SpanRemoval(detector, x, detector.logits(x), batch=64)
    assert removal.check(own, "zero", np.random.default_rng(0)).passed
    assert not removal.check(other, "zero", np.random.default_rng(0)).passed


def test_a_check_needs_more_than_chance() -> None:
    assert Check(1.0, 0.5, "phase").passed
    assert not Check(0.0, 0.0, "phase").passed
    assert "failed" in str(Check(0.0, 0.0, "phase"))
    assert "failed" not in str(Check(1.0, 0.5, "phase"))


def test_stability_is_high_for_distinct_segments_and_low_among_equals(detector: Detector) -> None:
    detector, x = planted(detector)
    assert [s.stability for s in explain_windows(detector, x, max_segments=3).segments] == [1.0, 1.0, 1.0]
    equal = noise(6, 3, scale=0.01)
    equal[:, 1, 100:120] += 1
    stable = [s.stability for s in explain_windows(detector, equal, max_segments=3).segments]
    assert len(stable) == 3
    assert min(stable) < 1


def test_an_explanation_can_be_repeated(detector: Detector) -> None:
    x = np.random.default_rng(0).normal(size=(4, 19, 256)).astype(np.float32)
    one, other = (
        explain_windows(detector, x, method="gradient-shap", baseline="phase", seed=5) for _ in range(2)
    )
    assert one.segments == other.segments
    assert one.check == other.check
    np.testing.assert_array_equal(one.relevance, other.relevance)


@pytest.mark.parametrize("baseline", BASELINES)
def test_an_explanation_is_the_same_for_windows_on_disk(
    detector: Detector, baseline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, x = planted(detector)
    small = explain_windows(detector, x, baseline=baseline, max_segments=3, batch=4)
    monkeypatch.setattr("eeg.large_arrays.LARGE", 1000)
    spooled = large_arrays.zeros(x.shape, x.dtype)
    spooled[:] = x
    large = explain_windows(detector, spooled, baseline=baseline, max_segments=3, batch=4)
    assert large.segments == small.segments
    assert large.check == small.check
    np.testing.assert_array_equal(large.relevance, small.relevance)


def test_evidence_is_that_of_all_windows_at_once(detector: Detector) -> None:
    x = np.random.default_rng(0).normal(size=(10, 19, 256)).astype(np.float32)
    windows, montage = torch.from_numpy(x), Montage(TEN_TWENTY, RATE)
    found = explain_windows(detector, x, method="gradient-shap", batch=4, seed=3)
    whole = attribute(
        detector.network, windows, 0 * windows, montage, method="gradient-shap", batch=4, seed=3
    )
    np.testing.assert_allclose(found.relevance, evidence_over_time(whole.double().numpy(), RATE), rtol=1e-9)


def test_times_are_those_of_the_recording_where_windows_are_left_out(detector: Detector) -> None:
    detector, x = planted(detector)
    onset = np.array([0.0, 2.0, 7.5, 9.5, 20.0, 22.0])
    windows = Windows(x, onset, 2.0, None, None)
    found = explain(detector, windows, detector.logits(x), ExplanationOptions(max_segments=3))
    expected = [start + i / RATE for start in onset for i in range(256)]
    np.testing.assert_allclose(found.times, expected, atol=1e-9)
    for segment, (start, stop) in zip(found.segments, found.spans, strict=True):
        assert segment.onset == pytest.approx(expected[start])
        assert segment.duration == pytest.approx((stop - start) / RATE)


def test_explaining_leaves_the_network_as_it_was(detector: Detector) -> None:
    before = {k: v.clone() for k, v in detector.network.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(2, 19, 256)).astype(np.float32)
    logits = detector.logits(x)
    explain_windows(detector, x, max_segments=2)
    assert all(torch.equal(value, before[name]) for name, value in detector.network.state_dict().items())
    np.testing.assert_array_equal(detector.logits(x), logits)


class Loudness(nn.Module):
    """The logit is the mean square."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit."""
        return x.square().mean((1, 2))[:, None]


def measure_peak(detector: Detector, hours: float) -> float:
    """Score and explain hours of 19 channels at 128 Hz; return the peak memory of this process, MiB."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    windows = large_arrays.zeros((round(1800 * hours), 19, 256), np.float32)
    for some in large_arrays.row_blocks(windows):
        some[:] = rng.standard_normal(some.shape, np.float32)
    logits = detector.logits(windows)
    detector.decide(adjoining(windows), logits)
    explain(detector, adjoining(windows), logits, ExplanationOptions(baseline="mean", max_segments=3))
    return peak_memory()


@pytest.mark.slow
def test_memory_hardly_grows_with_the_length(detector: Detector) -> None:
    """What an hour more takes leaves room for a day in a gigabyte."""
    gate = fit_novelty([statistics(np.random.default_rng(0).normal(size=(2, 19, 256)), RATE)])
    detector = replace(detector, network=Loudness(), gate=gate)
    short, long = (run_in_process(measure_peak, detector, hours) for hours in (2, 6))
    assert long + 18 / 4 * (long - short) < 1000e6 / 2**20
