"""Flaws of a recording are simulated, then detected at the simulated place."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, strategies as st
from mne.preprocessing import annotate_muscle_zscore, find_eog_events
from scipy.signal import welch

from eeg.datasets.seizures import Annotated, find_seizures
from eeg.io.electrodes import TEN_TWENTY
from eeg.preprocessing import quality
from eeg.preprocessing.loading import unusable_windows
from eeg.preprocessing.pipeline import Preprocessing
from eeg.preprocessing.quality import (
    EXCLUDED,
    Flaw,
    Quality,
    _eog_peaks,
    _line_fraction,
    _muscle,
    _outlying,
    _spectrum,
    examine,
    find_clipped,
    mark_bad,
)
from eeg.preprocessing.recording import Recording
from eeg.simulation.cohort import simulate_subject
from tests.test_eeg.helpers import windows_from
from trainers.errors import DataError
from trainers.provenance import from_plain, to_plain

RATE = 256
SETTINGS = Preprocessing(TEN_TWENTY)


def background(seconds: float = 60.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Pink noise that is correlated between neighbours, (19, T) V."""
    rng = np.random.default_rng(seed)
    size = round(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal((19, size))) / np.sqrt(np.maximum(np.fft.rfftfreq(size), 1e-3))
    volts = np.fft.irfft(spectrum, size)
    volts += 2 * volts.mean(axis=0) * np.sqrt(19)
    return 1e-5 * volts / volts.std()


def recording(volts: np.ndarray, rate: float = RATE) -> mne.io.BaseRaw:
    raw = mne.io.RawArray(volts, mne.create_info(list(TEN_TWENTY), rate, "eeg"), verbose="error")
    return raw.set_montage("colin27_1020", verbose="error")


def found(raw: mne.io.BaseRaw) -> Quality:
    return examine(Recording.scan(raw), TEN_TWENTY)


def covers(quality: Quality, kind: str, start: float, stop: float) -> bool:
    """Whether flaws of a kind cover at least half of a span, and extend beyond it by at most a second."""
    spans = [(f.onset, f.onset + f.duration) for f in quality.flaws if f.kind == kind]
    inside = sum(max(0.0, min(b, stop) - max(a, start)) for a, b in spans)
    return inside >= (stop - start) / 2 and all(start - 1 <= a and b <= stop + 1 for a, b in spans)


def test_nothing_is_found_in_noise() -> None:
    quality = found(recording(background()))
    assert (quality.flat, quality.outlying) == ((), ())
    assert quality.flaws == ()
    assert quality.looked_for == ("flat", "clipped", "artefact", "muscle", "blink")


def test_a_flat_channel_and_a_flat_span() -> None:
    volts = background()
    volts[4] = 2e-5
    volts[7, 20 * RATE : 23 * RATE] = volts[7, 20 * RATE]
    quality = found(recording(volts))
    assert quality.flat == (TEN_TWENTY[4],)
    assert covers(quality, "flat", 20, 23)


def test_a_channel_that_is_flat_for_most_of_the_time_is_flat() -> None:
    volts = background()
    volts[4, 10 * RATE :] = 0
    assert found(recording(volts)).flat == (TEN_TWENTY[4],)


def test_clipping_is_where_the_range_ends() -> None:
    volts = background()
    swing = 4e-4 * np.sin(2 * np.pi * 2 * np.arange(10 * RATE) / RATE)
    volts[2, 30 * RATE : 40 * RATE] += swing
    quality = found(recording(np.clip(volts, -3e-4, 3e-4)))
    chosen = [f for f in quality.flaws if f.kind == "clipped"]
    assert len(chosen) == 40  # both ends of 20 swings
    assert all(f.onset >= 30 and f.onset + f.duration <= 40 for f in chosen)
    assert not any(f.kind == "clipped" for f in found(recording(volts)).flaws)


def test_line_noise_has_the_simulated_fraction() -> None:
    volts = background()
    low = np.abs(np.fft.rfftfreq(volts.shape[1], 1 / RATE)) < 1
    spectrum = np.fft.rfft(volts)
    spectrum[:, low] = 0
    volts = np.fft.irfft(spectrum)
    hum = np.sin(2 * np.pi * 60 * np.arange(volts.shape[1]) / RATE)
    power = volts.var(axis=1, keepdims=True)
    loud = found(recording(volts + np.sqrt(2 * power / 3) * hum)).line  # a third of the signal's power
    assert loud == pytest.approx(0.25, abs=0.03)


def test_line_noise_of_a_long_recording_is_the_mean_over_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    time = np.arange(120 * RATE) / RATE
    volts = background(120)
    whole = found(recording(volts + 2e-5 * np.sin(2 * np.pi * 50 * time))).line
    monkeypatch.setattr(quality, "BLOCK", 40.0)
    assert found(recording(volts + 2e-5 * np.sin(2 * np.pi * 50 * time))).line == pytest.approx(
        whole, abs=0.02
    )


def test_line_noise_of_a_few_channels_is_not_that_of_the_median_channel() -> None:
    volts = background()
    volts[:5] += 1e-4 * np.sin(2 * np.pi * 50 * np.arange(volts.shape[1]) / RATE)
    assert found(recording(volts)).line == pytest.approx(found(recording(background())).line, abs=0.01)


def test_the_line_is_unknown_where_the_rate_is_too_low() -> None:
    assert found(recording(background(rate=100), 100)).line is None


def test_muscle_is_detected_except_at_low_rates() -> None:
    volts = background()
    rng = np.random.default_rng(1)
    burst = mne.filter.filter_data(rng.standard_normal((19, 2 * RATE)), RATE, 60, 120, verbose="error")
    volts[:, 30 * RATE : 32 * RATE] += 3e-5 * burst
    assert covers(found(recording(volts)), "muscle", 30, 32)
    assert "muscle" not in found(recording(background(rate=128), 128)).looked_for


@pytest.mark.parametrize("rate", [200, 256, 500])
def test_muscle_is_where_mne_finds_it(rate: int) -> None:
    """Bursts of every strength, some of which only just pass the threshold."""
    volts, rng = background(120, rate), np.random.default_rng(2)
    top = min(115.0, 0.45 * rate)
    muscle = mne.filter.filter_data(rng.standard_normal(volts.shape), rate, 70, top, verbose="error")
    for i, start in enumerate(range(5, 115, 10)):
        span = slice(start * rate, round((start + 0.3 + 0.1 * i) * rate))
        volts[:, span] += (0.2 + 0.2 * i) * 1e-5 * muscle[:, span]
    raw = recording(volts - volts.mean(axis=0), rate)
    expected, _ = annotate_muscle_zscore(raw, 4.0, "eeg", filter_freq=(70.0, top))
    grid = np.arange(0, 120, 0.01)
    masks = [
        np.any([(start <= grid) & (grid < stop) for start, stop in spans], axis=0)
        for spans in (
            [(a["onset"], a["onset"] + a["duration"]) for a in expected],
            [(f.onset, f.onset + f.duration) for f in found(raw).flaws if f.kind == "muscle"],
        )
    ]
    assert masks[0].mean() > 0.03
    assert (masks[0] & masks[1]).sum() > 0.95 * (masks[0] | masks[1]).sum()


@pytest.mark.parametrize("seconds", [1.0, 1.5, 7.0, 60.0, 70.0])
def test_the_spectrum_is_that_of_welch(seconds: float) -> None:
    volts = background(seconds)
    first = volts[:, : 60 * RATE]
    expected = welch(first, RATE, nperseg=min(2 * RATE, first.shape[1]))[1]
    np.testing.assert_allclose(_spectrum(volts, RATE), expected, rtol=1e-6, atol=1e-20)


@pytest.mark.parametrize(("rate", "known"), [(101.0, False), (102.0, True)])
def test_the_line_is_known_where_its_band_is_below_half_the_rate(rate: float, known: bool) -> None:
    assert (_line_fraction(np.ones((2, 205)), rate) is not None) is known


def test_spans_of_muscle_are_at_least_a_tenth_of_a_second_apart() -> None:
    """Two bursts become two spans as the pause between them grows."""
    volts, rng = background(20), np.random.default_rng(3)
    muscle = mne.filter.filter_data(rng.standard_normal(volts.shape), RATE, 70, 115, verbose="error")
    pauses = []
    for gap in range(RATE // 10, RATE, 6):
        burst = np.zeros(volts.shape[1])
        burst[8 * RATE : 8 * RATE + 100] = burst[8 * RATE + 100 + gap : 8 * RATE + 200 + gap] = 3e-5
        spans = [(f.onset, f.onset + f.duration) for f in _muscle(volts + burst * muscle, RATE)]
        pauses += [later[0] - former[1] for former, later in pairwise(spans)]
    assert 0.1 <= min(pauses) < 0.2
    assert len(pauses) < len(range(RATE // 10, RATE, 6))


def test_blinks_are_where_mne_finds_them() -> None:
    """At MNE's own threshold, which is ours here: a quarter of the range.  MNE also finds rebounds."""
    volts, rng = background(), np.random.default_rng(4)
    lid, tops = np.hanning(round(0.3 * RATE)), np.cumsum(rng.uniform(1, 5, 14))
    for top in tops:
        start = round((top - 0.15) * RATE)
        volts[:2, start : start + len(lid)] += rng.uniform(1.5, 3) * 1e-4 * lid
    raw = recording(volts)
    eyes = list(TEN_TWENTY[:2])
    peaks = mne.preprocessing.find_eog_events(raw, ch_name=eyes, verbose="error")[:, 0] / RATE
    blinks = [f for f in found(raw).flaws if f.kind == "blink"]
    assert {f.duration for f in blinks} == {0.5}
    middle = np.array([f.onset + 0.25 for f in blinks])
    np.testing.assert_allclose(middle, tops, atol=0.05)
    assert np.abs(middle[:, None] - peaks).min(axis=1).max() < 0.02


@pytest.mark.parametrize("rate", [128, 256, 512])
@pytest.mark.parametrize("sign", [1, -1])
def test_peaks_at_the_eyes_are_those_of_mne(rate: int, sign: int) -> None:
    volts, lid = background(40, rate)[:2], np.hanning(round(0.3 * rate))
    for second in (5, 11, 12, 30):
        volts[1, second * rate :][: len(lid)] += sign * 1e-4 * lid
    raw = mne.io.RawArray(volts, mne.create_info(["Fp1", "Fp2"], rate, "eeg"), verbose="error")
    eyes = {"ch_name": ["Fp1", "Fp2"], "filter_length": 10 * rate}
    expected = find_eog_events(raw, **eyes, thresh=4e-5, verbose="error")[:, 0]
    assert len(expected) >= 4
    np.testing.assert_array_equal(_eog_peaks(volts, rate, 4e-5), expected)


def test_equal_channels_have_no_muscle() -> None:
    """Their envelope is zero, so that no standardised one exists."""
    assert _muscle(np.zeros((4, 20 * RATE), np.float32), RATE) == []


def test_a_blink_at_the_start_starts_with_the_recording() -> None:
    volts = background()
    volts[:2, : RATE // 4] += 1e-4 * np.hanning(RATE // 4)
    assert [f.onset for f in found(recording(volts)).flaws if f.kind == "blink"] == [0.0]


def test_blinks_are_found_at_the_eyes() -> None:
    volts = background()
    lid = np.hanning(round(0.3 * RATE))
    for second in (10, 25, 40):
        for eye in ("Fp1", "Fp2"):
            volts[TEN_TWENTY.index(eye), second * RATE : second * RATE + len(lid)] += 1e-4 * lid
    blinks = [f.onset for f in found(recording(volts)).flaws if f.kind == "blink"]
    np.testing.assert_allclose(blinks, [9.9, 24.9, 39.9], atol=0.05)  # a quarter of a second before the peak
    short = recording(volts[:, 7 * RATE : 14 * RATE])  # shorter than MNE's filter, of which it would warn
    assert [f.onset for f in found(short).flaws if f.kind == "blink"] == pytest.approx([2.9], abs=0.05)


def test_a_channel_unlike_all_others() -> None:
    volts = background()
    volts[9] += 5e-4 * np.sin(2 * np.pi * 0.2 * np.arange(volts.shape[1]) / RATE)
    assert found(recording(volts)).outlying == (TEN_TWENTY[9],)


def test_equal_channels_are_one() -> None:
    """Beside more equal channels than neighbours the factor is infinite, and scikit-learn warns."""
    volts = background()
    volts[9:11] = volts[9] + 5e-4 * np.sin(2 * np.pi * 0.2 * np.arange(volts.shape[1]) / RATE)
    assert _outlying(Recording.scan(recording(volts)), list(TEN_TWENTY)) == list(TEN_TWENTY[9:11])
    volts[:12] = volts[0]
    assert _outlying(Recording.scan(recording(volts)), list(TEN_TWENTY)) == []


def test_blocks_find_what_the_whole_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    volts = background(120)
    volts[4] = 0
    volts[7, 70 * RATE : 72 * RATE] = 0
    whole = found(recording(volts))
    monkeypatch.setattr("eeg.preprocessing.quality.BLOCK", 40.0)
    parts = found(recording(volts))
    assert parts.flat == whole.flat == (TEN_TWENTY[4],)
    assert covers(parts, "flat", 70, 72)
    assert covers(whole, "flat", 70, 72)


def test_nothing_but_flat_channels() -> None:
    assert found(recording(np.zeros((19, 20 * RATE)))).flat == TEN_TWENTY


def test_what_was_written_down_reads_the_same() -> None:
    volts = background(20)
    volts[3, 1000:2000] = 0
    volts[5, 7] = np.nan
    quality = found(recording(volts))
    assert quality.flaws
    assert from_plain(Quality, to_plain(quality)) == quality
    older = to_plain(quality)
    del older["not_finite"]
    assert from_plain(Quality, older) == replace(quality, not_finite=())


@pytest.mark.slow
def test_discharges_are_kept_and_muscle_is_found() -> None:
    """On simulated subjects: what may be excluded by each policy, by what truly happens in windows of 2 s.

    A blink has 4 to 12 times the background's rms, and is found from 8 robust deviations: the large ones.
    """
    counts: Counter[tuple[str, str, bool]] = Counter()
    onset = np.arange(0, 300, 2.0)
    for index in range(8):
        subject = simulate_subject(index, int(index % 2 == 0), seed=9002)
        quality = found(recording(subject.data.astype(float)))
        inside = {
            kind: np.isin(onset, [e.onset // 2 * 2 for e in subject.events if e.kind == kind])
            for kind in ("discharge", "muscle", "blink")
        }
        large = np.isin(
            onset, [e.onset // 2 * 2 for e in subject.events if e.kind == "blink" and e.amplitude >= 9]
        )
        pure = inside["discharge"] & ~inside["muscle"] & ~inside["blink"]
        for policy in ("exclude", "strict"):
            gone, _ = unusable_windows(onset, 2.0, quality, Annotated(), policy=policy)
            for name, chosen in (("discharge", pure), ("blink", large)):
                for window in gone[chosen]:
                    counts[policy, name, bool(window)] += 1
    assert counts["exclude", "discharge", True] == 0
    assert counts["strict", "discharge", True] < 0.15 * counts["strict", "discharge", False]
    assert counts["strict", "blink", True] > 9 * counts["strict", "blink", False]


# --- what becomes of it


def test_a_few_flat_channels_are_interpolated_and_more_are_refused() -> None:
    volts = background(20)
    volts[[4, 8]] = 0
    raw = recording(volts)
    marked = mark_bad(Recording.scan(raw), found(raw), TEN_TWENTY)
    assert marked.raw.info["bads"] == [TEN_TWENTY[4], TEN_TWENTY[8]]
    assert windows_from(raw, SETTINGS, 2.0).data.shape == (10, 19, 256)
    volts[12] = 0
    with pytest.raises(
        DataError, match=f"flat signal in {TEN_TWENTY[4]}, {TEN_TWENTY[8]}, {TEN_TWENTY[12]};"
    ):
        windows_from(recording(volts), SETTINGS, 2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [slice(700, 701), slice(None)])
def test_a_channel_that_is_not_finite_is_as_good_as_missing(value: float, where: slice) -> None:
    volts = background(20)
    whole = recording(volts.copy())
    volts[4, where] = volts[8, where] = value
    raw = recording(volts)
    lost = [TEN_TWENTY[4], TEN_TWENTY[8]]
    expected = windows_from(whole.drop_channels(lost), SETTINGS, 2.0)
    windows = windows_from(raw, SETTINGS, 2.0)
    np.testing.assert_allclose(windows.data, expected.data, rtol=1e-5)
    assert windows.account()["quality"]["not_finite"] == lost
    assert windows.quality is not None
    assert windows.quality.flagged == f"not finite: {', '.join(lost)}"
    volts[12] = 0  # with which it is one too many
    with pytest.raises(DataError, match=f"not finite signal in {', '.join(lost)};"):
        windows_from(recording(volts), SETTINGS, 2.0)


@pytest.mark.parametrize("change", [lambda volts: 50 * volts, lambda volts: np.full_like(volts, np.nan)])
def test_no_other_electrode_is_interpolated_from(change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Those that the model does not use are not examined."""
    volts = background(20)
    model = Preprocessing((*TEN_TWENTY[:9], *TEN_TWENTY[10:]))
    without = recording(volts).drop_channels([TEN_TWENTY[4], TEN_TWENTY[9]])
    volts[9] = change(volts[9])
    beside = recording(volts).drop_channels([TEN_TWENTY[4]])
    windows, expected = (windows_from(raw, model, 2.0) for raw in (beside, without))
    np.testing.assert_array_equal(windows.data, expected.data)


def with_ears(change: Callable[[np.ndarray], object]) -> mne.io.BaseRaw:
    volts = np.concatenate([background(40), background(40, seed=1)[:2]])
    change(volts[19])
    names = [*TEN_TWENTY, "A1", "A2"]
    return mne.io.RawArray(volts, mne.create_info(names, RATE, "eeg"), verbose="error")


LINKED = Preprocessing(TEN_TWENTY, reference="mastoids")


@pytest.mark.parametrize(
    "change",
    [
        lambda ear: ear.fill(0.0),
        lambda ear: ear[: 25 * RATE].fill(0.0),
        lambda ear: np.multiply(ear, 50, out=ear),
    ],
)
def test_an_ear_that_is_no_signal_is_no_reference(change: Callable[[np.ndarray], object]) -> None:
    with pytest.raises(DataError, match="neither A1 and A2 nor M1 and M2 among its good channels"):
        windows_from(with_ears(change), LINKED, 2.0)


def test_an_artefact_at_the_ear_excludes_windows_where_it_is_the_reference() -> None:
    def strike(ear: np.ndarray) -> None:
        ear[10 * RATE : 11 * RATE] += 5e-3

    raw = with_ears(strike)
    assert 10.0 not in windows_from(raw.copy(), LINKED, 2.0).onset
    assert 10.0 in windows_from(raw, SETTINGS, 2.0).onset


def test_a_channel_that_the_model_does_not_use_may_be_anything() -> None:
    """Also where another is interpolated, of which it would be a neighbour."""
    volts = background(20)
    marked = recording(volts.copy()).drop_channels([TEN_TWENTY[0]])
    marked.info["bads"] = [TEN_TWENTY[3]]
    volts[3, 7] = np.inf
    found_out = recording(volts).drop_channels([TEN_TWENTY[0]])
    few = Preprocessing((*TEN_TWENTY[:3], *TEN_TWENTY[4:]))
    windows, expected = (windows_from(raw, few, 2.0) for raw in (found_out, marked))
    np.testing.assert_allclose(windows.data, expected.data, rtol=1e-5)
    assert windows.quality is not None
    assert windows.quality.not_finite == (TEN_TWENTY[3],)


def test_windows_with_flat_signal_are_excluded_unless_quality_is_keep() -> None:
    volts = background(20)
    volts[7, round(7.9 * RATE) : round(8.3 * RATE)] = 0
    raw = recording(volts)
    windows = windows_from(raw, SETTINGS, 2.0)
    kept = windows_from(raw, SETTINGS, 2.0, policy="keep")
    assert (windows.flawed, kept.flawed) == (2, 0)  # on either side of 8 s
    assert windows.onset.tolist() == [0, 2, 4, 10, 12, 14, 16, 18]
    np.testing.assert_array_equal(windows.data, kept.data[[0, 1, 2, 5, 6, 7, 8, 9]])
    np.testing.assert_allclose(windows.in_recording(np.array([0, 5.5, 6, 7.9])), [0, 5.5, 10, 11.9])


def test_too_little_clean_signal() -> None:
    quality = Quality(20, (), (), None, ("flat",), (Flaw("flat", 0, 12.5),))
    half, nowhere = replace(quality, flaws=(Flaw("flat", 0, 9.5),)), Annotated()
    assert unusable_windows(np.arange(0, 20, 2.0), 2.0, half, nowhere)[0].sum() == 5
    with pytest.raises(DataError, match="too little clean signal: 7 of 10 windows touch flat, clipped"):
        unusable_windows(np.arange(0, 20, 2.0), 2.0, quality, nowhere)
    assert not np.any(unusable_windows(np.arange(0, 20, 2.0), 2.0, quality, nowhere, policy="keep"))


@given(
    st.lists(
        st.tuples(st.sampled_from(EXCLUDED["strict"]), st.integers(0, 19), st.integers(1, 5)), max_size=3
    )
)
def test_a_stricter_policy_leaves_out_no_less(spans: list[tuple[str, int, int]]) -> None:
    flaws = tuple(Flaw(kind, onset, duration) for kind, onset, duration in spans)  # type: ignore[arg-type]
    quality = Quality(60, (), (), None, (), flaws)
    keep, exclude, strict = (
        unusable_windows(np.arange(0, 60, 2.0), 2.0, quality, Annotated(), policy=policy)[0]
        for policy in EXCLUDED
    )
    assert not keep.any()
    assert not (exclude & ~strict).any()


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 20)), max_size=6))
def test_time_that_is_flawed_on_two_channels_counts_once(spans: list[tuple[int, int]]) -> None:
    flaws = tuple(Flaw("clipped", float(onset), float(duration)) for onset, duration in spans)
    covered = {second for onset, duration in spans for second in range(onset, onset + duration)}
    found = Quality(100.0, (), (), None, ("clipped",), (*flaws, Flaw("flat", 0.0, 50.0)))
    assert found.fraction("clipped") == pytest.approx(len(covered) / 100)


# --- seizures


def annotated(*annotations: tuple[float, float, str]) -> mne.io.BaseRaw:
    raw = recording(background(30))
    onset, duration, text = zip(*annotations, strict=True)
    return raw.set_annotations(mne.Annotations(onset, duration, text))


@pytest.mark.parametrize("text", ["seizure", "Seizure 3", "ICTAL", "sz", "FNSZ", "seiz", "EEG seizure F7"])
def test_annotations_of_seizures(text: str) -> None:
    onset, duration = find_seizures(annotated((4.0, 3.0, text))).spans
    assert (onset.tolist(), duration.tolist()) == ([4.0], [3.0])


@pytest.mark.parametrize(
    "text", ["interictal", "Inter-ictal spike", "no seizure", "postictal slowing", "tics"]
)
def test_who_does_not(text: str) -> None:
    assert len(find_seizures(annotated((4.0, 3.0, text))).seizures) == 0


@pytest.mark.parametrize("date", [None, datetime(2020, 1, 1, tzinfo=UTC)])
def test_time_counts_from_the_start_of_the_crop(date: datetime | None) -> None:
    """MNE lets a recording begin at any sample, and annotations count from before it."""
    raw = recording(background(30)).set_meas_date(date)
    raw.set_annotations(mne.Annotations(14.0, 3.0, "seizure")).crop(10)
    onset, duration = find_seizures(raw).spans
    assert (onset.tolist(), duration.tolist()) == ([4.0], [3.0])


def test_a_start_lasts_until_its_end_or_the_recordings() -> None:
    raw = annotated((4, 0, "seizure onset"), (9, 0, "seizure end"), (20, 0, "Seizure start"))
    onset, duration = find_seizures(raw).spans
    assert (onset.tolist(), duration.tolist()) == ([4, 20], [5, 10])


def test_windows_in_a_seizure_are_not_interictal(tmp_path: Path) -> None:
    table = tmp_path / "seizures.csv_bi"
    table.write_text(
        "channel,start_time,stop_time,label,confidence\nTERM,25.0,25.5,seiz,1\nTERM,0,9,bckg,1\n"
    )
    windows = windows_from(annotated((4.0, 3.0, "seizure")), SETTINGS, 2.0, table=table, policy="keep")
    assert windows.ictal == 3
    assert windows.onset.tolist() == [0, 2, 8, 10, 12, 14, 16, 18, 20, 22, 26, 28]


def test_nothing_but_seizure() -> None:
    with pytest.raises(DataError, match="within a seizure from beginning to end"):
        windows_from(annotated((0.0, 30.0, "status, ictal")), SETTINGS, 2.0)


# --- limits


@pytest.mark.parametrize(("times", "samples", "clipped"), [(3, 3, True), (2, 3, False), (3, 2, False)])
def test_a_range_ends_where_it_is_held_three_times_for_three_samples(
    times: int, samples: int, clipped: bool
) -> None:
    volts = 1e-5 * np.random.default_rng(0).standard_normal((1, 2000))
    for i in range(times):
        volts[0, 400 * (i + 1) :][:samples] = 8e-5
    spans = [(flaw.onset, flaw.duration) for flaw in find_clipped(volts, 100.0)]
    expected = [pytest.approx((4.0 * (i + 1), samples / 100)) for i in range(times)]
    assert spans == (expected if clipped else [])


@pytest.mark.parametrize(("blocks", "dead"), [(1, ()), (2, ("Cz",))])
def test_a_channel_is_flat_that_is_flat_in_more_than_half_of_the_blocks(
    blocks: int, dead: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "BLOCK", 20.0)
    volts = background(40.0 if blocks == 1 else 60.0)
    volts[TEN_TWENTY.index("Cz"), : round(20 * blocks * RATE)] = 0
    assert found(recording(volts)).flat == dead


def test_few_channels_have_no_outlier() -> None:
    volts = background()
    volts[3] *= 30
    whole = Recording.scan(recording(volts))
    assert _outlying(whole, list(TEN_TWENTY[:10])) == []
    assert _outlying(whole, list(TEN_TWENTY)) == [TEN_TWENTY[3]]
